"""Results folders: their names, and config.json with their settings."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from byzsim.experiments import plugins, records
from byzsim.experiments.errors import UserError, unknown
from byzsim.experiments.files import write_whole
from byzsim.experiments.plan import AXES, SHARED, Config, Table, canonical_options
from byzsim.experiments.records.migrations import SETTINGS, current_settings
from byzsim.experiments.tables import TABLES

FILE = "config.json"
LONGEST = 80  # bytes of a folder's name
SHORTENED = re.compile(r".+\+more-[0-9a-f]{8}")
FIELDS = tuple(field.name for field in dataclasses.fields(Config))


def place(results: Path, table: Table, base: Config, config: Config, *, quick: bool) -> Path:
    """The folder of these settings, named by the table and its changed settings other than seeds.

    A name of more than `LONGEST` bytes is shortened to its first words and a hash of the changes, since file systems
    allow at most 255. A folder of an earlier version stays in use: one with the full name, or with the same settings
    under the names of that version.
    """
    words = _changed(base, dataclasses.asdict(config))
    whole = "+".join([table.name, *["quick"] * quick, *words])
    digest = hashlib.sha256(json.dumps([quick, words]).encode()).hexdigest()[:8]
    short = whole if len(os.fsencode(whole)) <= LONGEST else f"{_first_words(whole, LONGEST - 14)}+more-{digest}"
    for name in (short, whole):
        if os.path.exists(results / name):
            return results / name
    wanted = {"table": table.name, "quick": quick, "words": words}
    others = results.glob(f"{table.name}+*") if os.path.isdir(results) else ()
    return next((path for path in others if _held(path, base) == wanted), results / short)


def _held(folder: Path, base: Config) -> dict[str, Any] | None:
    """The table of a folder and its changed settings; None if the folder does not tell them."""
    try:
        known = read(folder) or _by_name(folder)
    except UserError:
        return None
    return {"table": known["table"], "quick": known["quick"], "words": _changed(base, known["config"])}


def _changed(base: Config, settings: Mapping[str, Any]) -> list[str]:
    """The settings other than seeds that differ from those of `base`, as words of a folder's name."""
    names = [name for name in FIELDS if name in settings and name != "seeds"]
    pairs = [(_word(name, settings[name]), _word(name, getattr(base, name))) for name in names]
    return [word for word, of_base in pairs if word != of_base]


def _word(name: str, value: Any) -> str:
    value = canonical_options(value) if name == "options" else value
    text = "-".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return f"{name}={text or 'none'}".replace("/", "_")


def _first_words(text: str, size: int) -> str:
    """The longest beginning of whole words and numbers that fits into `size` bytes; at least the table's name."""
    ends = [found.start() for found in re.finditer(r"\+|-(?=[^\W\d])", text)]
    return text[: max(end for end in ends if end == ends[0] or len(os.fsencode(text[:end])) <= size)]


def write(folder: Path, table: Table, config: Config, *, quick: bool, words: Mapping[str, Any]) -> None:
    """Write config.json: the table, all its settings, and `words`: title, labels and plugins.

    Earlier words stay if none are given, and earlier seeds are kept, since the folder has their records.

    Raises:
        UserError: the file cannot be written.
    """
    before = read(folder) or {"config": {}}
    seeds = sorted({*config.seeds, *before["config"].get("seeds", [])})
    words = {name: value or before.get(name) or value for name, value in words.items()}
    known = {"table": table.name, "quick": quick, **words, "config": dataclasses.asdict(config) | {"seeds": seeds}}
    try:
        write_whole(folder / FILE, (json.dumps(known, indent=2) + "\n").encode())
    except OSError as error:
        raise UserError(f"cannot write {folder / FILE}: {error.strerror}") from None


def read(folder: Path) -> dict[str, Any] | None:
    """Read config.json under today's names; None if there is none, as in folders of early versions.

    Raises:
        UserError: the file was not written by byzsim, or by another version.
    """
    path = folder / FILE
    if not os.path.exists(path):  # False also for a name that is too long for the file system
        return None
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        known = None
    if isinstance(known, dict) and isinstance(known.get("config"), dict):
        known["config"] = current_settings(known["config"])
    if wrong := _wrong(known):
        raise UserError(f"{path} {wrong}. Delete it, and name the table with its options instead of the folder.")
    return known


def _wrong(known: Any) -> str:
    if not isinstance(known, dict) or not all(kind(known.get(name)) for name, kind in KINDS.items()):
        return "was not written by `byzsim run`"
    further = sorted(known["config"].keys() - set(FIELDS))
    return f"is of another version: it has the unknown settings {', '.join(further)}" if further else ""


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
    """The table of a folder, and its settings as arguments of a command line.

    Raises:
        UserError: neither config.json nor the folder's name has them.
    """
    known = read(folder) or _by_name(folder)
    plugins.load([each for each in known["plugins"] if each.endswith(".py")])  # the table may be in one of them
    if known["table"] not in TABLES:
        raise unknown(f"table in {folder / FILE}", known["table"], TABLES)
    args = [_argument(name, value) for name, value in known["config"].items()]
    args += [["--plugins", *known["plugins"]], ["--quick"] * known["quick"]]
    return TABLES[known["table"]], [part for arg in args for part in arg]


def _argument(name: str, value: Any) -> list[str]:
    option = f"--{name}".replace("_", "-")
    return [option, *map(str, value)] if isinstance(value, list) else [f"{option}={value}"]


def _by_name(folder: Path) -> dict[str, Any]:
    """The settings in a name such as TABLE, TABLE+quick or TABLE+batch=32."""
    if SHORTENED.fullmatch(folder.resolve().name):
        raise UserError(
            f"{folder} has no {FILE}, and its shortened name has only a part of its settings: name the table instead"
        )
    fields = "|".join([*FIELDS, *SETTINGS])
    name, *parts = re.split(rf"\+(?=quick(?:\+|$)|(?:{fields})=)", folder.resolve().name)
    if name not in TABLES:
        raise UserError(
            f"{folder} has no {FILE}, and its name does not begin with a table's name: name the table instead"
        )
    config: dict[str, Any] = {}
    for field, _, text in (part.partition("=") for part in parts if part != "quick"):
        config[field] = _values(text, field) if isinstance(getattr(TABLES[name].config, field, None), tuple) else text
    return {"table": name, "quick": "quick" in parts, "plugins": [], "config": current_settings(config)}


def _values(text: str, field: str) -> list[str]:
    """The values of a setting with several; an option has a dot before its =, and may have a - after it."""
    between = r"-(?=[\w+]+\.\w+=)" if field == "options" else "-"
    return [] if text in ("", "none") and field == "options" else re.split(between, text)


def check_name(name: str) -> None:
    """Raises UserError for a name that a folder cannot have, or that another command or table uses."""
    if not re.fullmatch(r"\w[\w. =-]*", name) or name in {*TABLES, "rules", "bench"} or len(os.fsencode(name)) > 255:
        taken = ", ".join([*TABLES, "rules", "bench"])
        raise UserError(
            f"--name {name!r}: expected letters, digits, spaces and any of . - _ = for a folder, at most 255 bytes, "
            f"and none of {taken}"
        )


def refuse_other(folder: Path, table: Table, config: Config, *, quick: bool) -> None:
    """Refuse to add runs with other settings to a folder that the user has named.

    Raises:
        UserError: the folder has other settings, which the message names.
    """
    asked = {**dataclasses.asdict(config), "table": table.name, "quick": quick}
    known = read(folder)
    held = [known["config"] | known] if known else records.read(folder / "runs.jsonl", lambda line: None)
    names = [name for name in asked if name not in AXES and (known or name in (*SHARED, "data", "table", "quick"))]
    pairs = [
        (name, each[name], asked[name]) for each in map(records.spelled_out, held) for name in names if name in each
    ]
    differ = dict.fromkeys(f"{name} {a} -> {b}" for name, a, b in pairs if _plain(name, a) != _plain(name, b))
    if differ:
        raise UserError(
            f"{folder} has records with other settings: {', '.join(differ)}. Choose another --name, or name the folder "
            "instead of the table."
        )


def _plain(name: str, value: Any) -> Any:
    value = canonical_options(value) if name == "options" else value
    return sorted(value) if isinstance(value, list | tuple) else value
