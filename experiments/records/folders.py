"""Results folders: their names, and config.json with their settings."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from byzsim.experiments import records
from byzsim.experiments.errors import UserError, unknown
from byzsim.experiments.files import write_whole
from byzsim.experiments.plan import Axis, Table, changed, override, settings, shortened
from byzsim.experiments.plan.options import literal
from byzsim.experiments.plan.runs import further_fields
from byzsim.experiments.plan.settings import NAMES, PLURALS
from byzsim.experiments.plan.table import VIEW
from byzsim.experiments.records.migrations import SETTINGS, current_settings
from byzsim.experiments.tables import TABLES

FILE = "config.json"
LONGEST = 80  # bytes of a folder's name
SHORTENED = re.compile(r".+\+more-[0-9a-f]{8}")
LISTS = frozenset({*PLURALS.values(), "options"})
"""settings that were lists when all others were single values"""


class Known(NamedTuple):
    """What a folder knows of itself."""

    table: Table
    """with the folder's own settings and axes"""
    quick: bool
    title: str | None
    labels: list[str]
    plugins: list[str]


def place(results: Path, base: Table, table: Table, *, quick: bool) -> Path:
    """The folder of a table, named by the table and its changed settings other than seeds.

    A name of more than `LONGEST` bytes is shortened to its first words and a hash of the changes, since file systems
    allow at most 255. A folder of an earlier version stays in use: one with the full name, or with the same settings
    under the names of that version.

    Args:
        base: the table before anything was changed.
    """
    words = _changed(base, table)
    whole = "+".join([table.name, *["quick"] * quick, *words])
    digest = hashlib.sha256(json.dumps([quick, words]).encode()).hexdigest()[:8]
    short = whole if len(os.fsencode(whole)) <= LONGEST else f"{_first_words(whole, LONGEST - 14)}+more-{digest}"
    for name in (short, whole):
        if os.path.exists(results / name):
            return results / name
    others = results.glob(f"{table.name}+*") if os.path.isdir(results) else ()
    return next((path for path in others if _holds(path, base, quick, words)), results / short)


def _holds(folder: Path, base: Table, quick: bool, words: list[str]) -> bool:
    """Whether a folder has the same table with the same changes."""
    try:
        known = read(folder) or by_name(folder)
    except UserError:
        return False
    return (known.table.name, known.quick, _changed(base, known.table)) == (base.name, quick, words)


def _changed(base: Table, table: Table) -> list[str]:
    """The settings other than seeds that differ from those of `base`, as words of a folder's name."""
    ours, theirs = settings(base), settings(table)
    return [
        f"{name}={'-'.join(map(str, values)) or 'none'}".replace("/", "_")
        for name, values in theirs.items()
        if name != "seeds" and values != ours.get(name)
    ]


def _first_words(text: str, size: int) -> str:
    """The longest beginning of whole words and numbers that fits into `size` bytes; at least the table's name."""
    ends = [found.start() for found in re.finditer(r"\+|-(?=[^\W\d])", text)]
    return text[: max(end for end in ends if end == ends[0] or len(os.fsencode(text[:end])) <= size)]


def write(folder: Path, table: Table, *, quick: bool, words: Mapping[str, Any]) -> None:
    """Write config.json: the table's base and axes, and `words`: title, labels and plugins.

    Earlier words stay if none are given, and earlier seeds are kept, since the folder has their records.

    Raises:
        UserError: the file cannot be written.
    """
    before = read(folder)
    axes = {each.name: dict(each.settings) for each in table.axes}
    if before and (seeds := before.table.by_name.get("seed")):
        axes["seed"] = dict(sorted({**seeds.settings, **axes.get("seed", {})}.items(), key=lambda pair: str(pair[0])))
    said = {name: value or (getattr(before, name) if before else None) or value for name, value in words.items()}
    known = {
        "table": table.name,
        "quick": quick,
        **said,
        "base": dict(table.base),
        "axes": {name: [[label, dict(fields)] for label, fields in each.items()] for name, each in axes.items()},
        "view": {name: getattr(table, name) for name in VIEW},
        "fields": further_fields(table),
    }
    try:
        write_whole(folder / FILE, (json.dumps(known, indent=2) + "\n").encode())
    except OSError as error:
        raise UserError(f"cannot write {folder / FILE}: {error.strerror}") from None


def read(folder: Path) -> Known | None:
    """Read config.json under today's names; None if there is none, as in folders of early versions.

    Raises:
        UserError: the file was not written by byzsim, or by another version, or names a table that is not there.
    """
    known = content(folder)
    if known is None:
        return None
    if known["table"] not in TABLES:
        raise unknown(f"table in {folder / FILE}", known["table"], TABLES)
    return _known(known, TABLES[known["table"]], folder)


def axes(folder: Path) -> Table:
    """The base and the axes of a folder's table. Without the table's file these are all that is known of it.

    Raises:
        UserError: neither config.json nor the folder's name tells them.
    """
    known = content(folder)
    if known and known["table"] not in TABLES and known.get("axes") is not None:
        return _known(known, Table(name=known["table"], title="", source=""), folder).table
    return (read(folder) or by_name(folder)).table


def _known(known: dict[str, Any], table: Table, folder: Path) -> Known:
    said = {name: known[name] for name in ("quick", "title", "labels", "plugins")}
    if known.get("axes") is not None:
        axes = tuple(Axis(name, dict(each)) for name, each in known["axes"].items())
        said_view = (known.get("view") or {}).items()
        view = {name: tuple(value) if isinstance(value, list) else value for name, value in said_view if name in VIEW}
        return Known(dataclasses.replace(table, base=known.get("base") or {}, axes=axes, **view), **said)
    settings_then = current_settings(known.get("config") or {})
    return Known(_of_settings(table, settings_then, known["quick"], folder / FILE), **said)


def content(folder: Path) -> dict[str, Any] | None:
    """The content of config.json, as it was written.

    Raises:
        UserError: the file was not written by byzsim.
    """
    path = folder / FILE
    if not os.path.exists(path):  # False also for a name that is too long for the file system
        return None
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        known = None
    if not isinstance(known, dict) or not all(fits(known.get(name)) for name, fits in KINDS.items()):
        raise UserError(
            f"{path} was not written by `byzsim run`. Delete it, and name the table with its options instead of the "
            "folder."
        )
    return known


def _of_settings(table: Table, config: Mapping[str, Any], quick: bool, where: Path) -> Table:
    """The table with the settings of an earlier version, which had one value for all but four of them."""
    if further := sorted(config.keys() - {*NAMES, "options"}):
        raise UserError(
            f"{where} is of another version: it has the unknown settings {', '.join(further)}. Name the table instead "
            "of the folder."
        )
    table = shortened(table) if quick else table
    if "options" in config:
        table = dataclasses.replace(table, base={key: value for key, value in table.base.items() if "." not in key})
    given = {name: tuple(value) if name in LISTS else (value,) for name, value in config.items()}
    own = settings(table)
    return override(table, {name: values for name, values in given.items() if values != own[name]})


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_config(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(isinstance(value.get(name, []), list) for name in LISTS))


def _is_axes(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(map(_is_settings, value.values())))


def _is_settings(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, list)
        and len(each) == 2
        and isinstance(each[0], str | int | float)
        and isinstance(each[1], dict)
        for each in value
    )


KINDS: dict[str, Callable[[Any], bool]] = {
    "table": lambda value: isinstance(value, str),
    "quick": lambda value: isinstance(value, bool),
    "title": lambda value: value is None or isinstance(value, str),
    "labels": _is_texts,
    "plugins": _is_texts,
    "config": _is_config,
    "axes": _is_axes,
    "base": lambda value: value is None or isinstance(value, dict),
    "view": lambda value: value is None or isinstance(value, dict),
}


def by_name(folder: Path) -> Known:
    """The settings in a name such as TABLE, TABLE+quick or TABLE+batch=32.

    Raises:
        UserError: the name does not have them all.
    """
    if SHORTENED.fullmatch(folder.resolve().name):
        raise UserError(
            f"{folder} has no {FILE}, and its shortened name has only a part of its settings: name the table instead"
        )
    fields = "|".join([*NAMES, *SETTINGS, "options"])
    name, *parts = re.split(rf"\+(?=quick(?:\+|$)|(?:{fields})=)", folder.resolve().name)
    if name not in TABLES:
        raise UserError(
            f"{folder} has no {FILE}, and its name does not begin with a table's name: name the table instead"
        )
    config: dict[str, Any] = {}
    for field, _, text in (part.partition("=") for part in parts if part != "quick"):
        config[field] = _values(text, field) if field in LISTS else literal(text)
    quick = "quick" in parts
    return Known(_of_settings(TABLES[name], current_settings(config), quick, folder), quick, None, [], [])


def _values(text: str, field: str) -> list[Any]:
    """The values of a setting with several; an option has a dot before its =, and may have a - after it."""
    between = r"-(?=[\w+]+\.\w+=)" if field == "options" else "-"
    words = [] if text in ("", "none") and field == "options" else re.split(between, text)
    return [word if field in ("rules", "attacks", "options") else literal(word) for word in words]


def check_name(name: str) -> None:
    """Raises UserError for a name that a folder cannot have, or that another command or table uses."""
    if (
        not re.fullmatch(r"\w[\w. =-]*", name)
        or name in {*TABLES, "rules", "angles", "bench"}
        or len(os.fsencode(name)) > 255
    ):
        taken = ", ".join([*TABLES, "rules", "angles", "bench"])
        raise UserError(
            f"--name {name!r}: expected letters, digits, spaces and any of . - _ = for a folder, at most 255 bytes, "
            f"and none of {taken}"
        )


def refuse_other(folder: Path, table: Table, *, quick: bool) -> None:
    """Refuse to add runs of another table or base to a folder that the user has named.

    Raises:
        UserError: the folder has other settings, which the message names.
    """
    if known := read(folder):
        pairs = [("table", known.table.name, table.name), ("quick", known.quick, quick)]
        differ = [f"{name} {a} -> {b}" for name, a, b in pairs if a != b] + changed(known.table, table)
    else:
        asked = {"table": table.name, "quick": quick, **_fixed(table)}
        held = map(records.spelled_out, records.read(folder / "runs.jsonl", lambda line: None))
        differ = [
            f"{name} {each[name]} -> {asked[name]}"
            for each in held
            for name in asked
            if _differs(each, name, asked[name])
        ]
    if differ:
        raise UserError(
            f"{folder} has records with other settings: {', '.join(dict.fromkeys(differ))}. Choose another --name, or "
            "name the folder instead of the table."
        )


def _fixed(table: Table) -> dict[str, Any]:
    """What all runs of a table share, under the names of a record."""
    return {name: value for name, value in table.base.items() if name in RECORDED}


def _differs(found: Mapping[str, Any], name: str, value: Any) -> bool:
    return name in found and found[name] != value


RECORDED = frozenset(NAMES.values()) - {"rule", "attack", "alpha", "seed", "n_byz", "f", "declared_f", "byzantine"}
