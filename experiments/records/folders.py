"""Folders of results: how they are called, and config.json, from which a folder knows what it holds."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from byzsim.experiments import records
from byzsim.experiments.errors import UserError, unknown
from byzsim.experiments.files import write_whole
from byzsim.experiments.plan import AXES, SHARED, Config, Table
from byzsim.experiments.tables import TABLES

FILE = "config.json"
LONGEST = 80  # bytes of a folder's name
SHORTENED = re.compile(r".+\+more-[0-9a-f]{8}")
FIELDS = tuple(field.name for field in dataclasses.fields(Config))


def place(results: Path, table: Table, base: Config, config: Config, *, quick: bool) -> Path:
    """The folder of these settings: the table's name, and what was changed about it behind; more seeds change nothing.

    Where that is more than `LONGEST` bytes, its first words and a hash of the changes stand for it, as file systems
    take no more than 255. A folder of an earlier version, which has the whole name, stays in use.
    """
    pairs = [(name, getattr(config, name)) for name in FIELDS if name != "seeds"]
    changed = [(name, value) for name, value in pairs if value != getattr(base, name)]
    whole = "+".join([table.name, *["quick"] * quick, *(_word(name, value) for name, value in changed)])
    if len(os.fsencode(whole)) <= LONGEST or os.path.exists(results / whole):
        return results / whole
    digest = hashlib.sha256(json.dumps([quick, changed]).encode()).hexdigest()[:8]
    return results / f"{_first_words(whole, LONGEST - 14)}+more-{digest}"


def _word(name: str, value: Any) -> str:
    text = "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"{name}={text}".replace("/", "_")


def _first_words(text: str, size: int) -> str:
    """Such as fit into so many bytes, numbers whole; there is one at least, the table's name."""
    ends = [found.start() for found in re.finditer(r"\+|-(?=[^\W\d])", text)]
    return text[: max(end for end in ends if end == ends[0] or len(os.fsencode(text[:end])) <= size)]


def write(folder: Path, table: Table, config: Config, *, quick: bool, words: Mapping[str, Any]) -> None:
    """config.json: the table, all its settings, and `words`: title, labels and plugins.

    Words that are not given, and further seeds, stay as they were: all of their records are here.

    Raises:
        UserError: if it cannot be written.
    """
    before = read(folder) or {"config": {}}
    seeds = sorted({*config.seeds, *before["config"].get("seeds", [])})
    said = {name: value or before.get(name) or value for name, value in words.items()}
    known = {"table": table.name, "quick": quick, **said, "config": dataclasses.asdict(config) | {"seeds": seeds}}
    try:
        write_whole(folder / FILE, (json.dumps(known, indent=2) + "\n").encode())
    except OSError as error:
        raise UserError(f"cannot write {folder / FILE}: {error.strerror}") from None


def read(folder: Path) -> dict[str, Any] | None:
    """What config.json says; None if there is none, as in folders of earlier versions.

    Raises:
        UserError: for a file that is none of ours, or of another version.
    """
    path = folder / FILE
    if not os.path.exists(path):  # nor where the name is too long for a file system, of which others speak
        return None
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        known = None
    if wrong := _wrong(known):
        raise UserError(f"{path} {wrong}. Remove it and name the table with its options, as if it had not been there.")
    return known


def _wrong(known: Any) -> str:
    if not isinstance(known, dict) or not all(kind(known.get(name)) for name, kind in KINDS.items()):
        return "is not what `byzsim run` writes"
    further = sorted(known["config"].keys() - set(FIELDS))
    return f"is of another version, with the settings {', '.join(further)}" if further else ""


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_config(value: Any) -> bool:
    seeds = value.get("seeds", []) if isinstance(value, dict) else None
    return isinstance(seeds, list) and all(isinstance(each, int) for each in seeds)


KINDS: dict[str, Callable[[Any], bool]] = {
    "table": lambda value: isinstance(value, str),
    "quick": lambda value: isinstance(value, bool),
    "title": lambda value: value is None or isinstance(value, str),
    "labels": _is_texts,
    "plugins": _is_texts,
    "config": _is_config,
}


def remembered(folder: Path) -> tuple[Table, list[str]]:
    """The table of a folder, and its settings as on the command line.

    Raises:
        UserError: if neither config.json nor the folder's name tell them.
    """
    known = read(folder) or _by_name(folder)
    if known["table"] not in TABLES:
        raise unknown(f"table in {folder / FILE}", known["table"], TABLES)
    args = [_argument(name, value) for name, value in known["config"].items()]
    args += [["--plugins", *known["plugins"]], ["--quick"] * known["quick"]]
    return TABLES[known["table"]], [part for arg in args for part in arg]


def _argument(name: str, value: Any) -> list[str]:
    option = f"--{name}".replace("_", "-")
    return [option, *map(str, value)] if isinstance(value, list) else [f"{option}={value}"]


def _by_name(folder: Path) -> dict[str, Any]:
    """From TABLE, TABLE+quick, TABLE+batch=32 and so on."""
    if SHORTENED.fullmatch(folder.resolve().name):
        raise UserError(f"{folder} has no {FILE}, and its name has a part of its settings: name the table instead")
    name, *parts = re.split(rf"\+(?=quick(?:\+|$)|(?:{'|'.join(FIELDS)})=)", folder.resolve().name)
    if name not in TABLES:
        raise UserError(f"{folder} has no {FILE}, and its name does not begin with a table's: name the table instead")
    config: dict[str, Any] = {}
    for field, _, text in (part.partition("=") for part in parts if part != "quick"):
        config[field] = text.split("-") if isinstance(getattr(TABLES[name].config, field), tuple) else text
    return {"table": name, "quick": "quick" in parts, "plugins": [], "config": config}


def check_name(name: str) -> None:
    """Raises UserError for what is no name of a folder, or that of one which other commands or tables write to."""
    if not re.fullmatch(r"\w[\w. =-]*", name) or name in {*TABLES, "rules", "bench"} or len(os.fsencode(name)) > 255:
        taken = ", ".join([*TABLES, "rules", "bench"])
        raise UserError(
            f"--name {name!r}: expected letters, digits, spaces and any of . - _ = for a folder, at most 255 bytes, "
            f"and none of {taken}"
        )


def refuse_other(folder: Path, table: Table, config: Config, *, quick: bool) -> None:
    """A folder with a name of its own has records of one setting.

    Raises:
        UserError: if it has others, which it names.
    """
    asked = {**dataclasses.asdict(config), "table": table.name, "quick": quick}
    known = read(folder)
    held = [known["config"] | known] if known else records.read(folder / "runs.jsonl", lambda line: None)
    names = [name for name in asked if name not in AXES and (known or name in (*SHARED, "data", "table", "quick"))]
    pairs = [(name, each[name], asked[name]) for each in held for name in names if name in each]
    differ = dict.fromkeys(f"{name} {a} -> {b}" for name, a, b in pairs if _plain(a) != _plain(b))
    if differ:
        raise UserError(
            f"{folder} holds records of other settings than these: {', '.join(differ)}. Choose another --name, or name "
            "the folder in place of the table."
        )


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list | tuple) else value
