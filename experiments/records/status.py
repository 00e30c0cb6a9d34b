"""Which runs are done, failed, stale or missing, and why."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from byzsim import registration
from byzsim.experiments import records
from byzsim.experiments.datasets import DATASETS, HELD_OUT, NO_DATA, Fingerprint, fingerprint
from byzsim.experiments.errors import UserError, counted
from byzsim.experiments.plan import override, runs
from byzsim.experiments.plan.runs import further_fields
from byzsim.experiments.records import Record, folders
from byzsim.experiments.tables import TABLES

STATES = ("done", "failed", "stale", "missing")
Digests = dict[str, Fingerprint | str]  # of data sets; text: the reason why there is no digest
MAX_ROWS = 40  # of the printed table; a longer one omits rows in which all runs are done


def survey(
    asked: Sequence[Mapping[str, Any]],
    found: Sequence[Record],
    failures: Sequence[Record],
    further: Sequence[str] = (),
) -> pd.DataFrame:
    """A row for each run: rule, attack, alpha, seed, further fields, its state and why.

    done: the run has a record. failed: it has no record and has failed. stale: there is a record with the same of these
    fields, but another setting that decides results has changed. missing: there is no such record.

    Args:
        asked: what `records.identity` gives of each run.
        found, failures: records as they were written.
        further: the fields by which runs differ, beside rule, attack, alpha and seed.
    """
    done = {each["id"] for each in found}
    failed = {each["id"]: each["failed"] for each in failures}
    there = {records.key_of(each, further): each for each in found}

    def state(decides: Mapping[str, Any]) -> tuple[str, str]:
        id, same_key = records.identifier(decides), there.get(records.key_of(decides, further))
        if id in done:
            return "done", ""
        if id in failed:
            return "failed", failed[id]
        if same_key is None:
            return "missing", ""
        return "stale", ", ".join(
            records.changes(same_key, decides)
        ) or "its id does not match its fields; was it edited?"

    rows = [(*records.key_of(decides, further), *state(decides)) for decides in asked]
    return pd.DataFrame(rows, columns=[*records.AXES, *further, "state", "why"])


def pivot(runs: pd.DataFrame, further: Sequence[str] = ()) -> pd.DataFrame:
    """A row for each rule, attack and further fields, a column for each alpha: seeds done / asked for, other states."""

    def text(states: pd.Series) -> str:
        others = " ".join(state for state in STATES[1:3] if (states == state).any())
        return f"{(states == 'done').sum()}/{len(states)} {others}".rstrip()

    cells = ["rule", "attack", *further, "alpha"]
    table = runs.groupby(cells, sort=False, dropna=False)["state"].agg(text).unstack("alpha")
    columns = sorted(table.columns)
    table = table[columns].fillna("")
    return table.rename(columns={alpha: f"{100 * alpha:.3g} %" for alpha in columns})


def lines(
    title: str,
    asked: Sequence[Mapping[str, Any]],
    found: Sequence[Record],
    failures: Sequence[Record],
    further: Sequence[str] = (),
) -> Iterable[str]:
    """The lines that `byzsim status TABLE` prints."""
    rows = survey(asked, found, failures, further)
    count = Counter(rows["state"])
    yield f"{title}: {counted(len(rows), 'run')}: " + ", ".join(f"{count[state]} {state}" for state in STATES)
    left = len(rows) - count["done"]
    yield f"byzsim run would execute {left} of them" + _time(found, left) if left else "byzsim run would execute none"
    yield from _shown(rows, further)
    for why, n in Counter(rows.loc[rows["state"] == "stale", "why"]).most_common():
        yield f"stale: {counted(n, 'run')}: {why}"
    for *key, _, why in rows[rows["state"] == "failed"].itertuples(index=False, name=None):
        yield f"failed: {records.label(tuple(key), further)}: {why}"
    yield from _foreign(found, asked, further)


def _time(found: Sequence[Record], left: int) -> str:
    if not found:
        return ""
    minutes = left * sum(each["seconds"] for each in found) / len(found) / 60
    return f", about {minutes:.0f} min at the speed of the recorded runs"


def _shown(rows: pd.DataFrame, further: Sequence[str]) -> Iterable[str]:
    by_row = rows.groupby(["rule", "attack", *further], dropna=False)
    undone = by_row["state"].transform(lambda states: (states != "done").any())
    few = by_row.ngroups <= MAX_ROWS
    if few or undone.any():
        yield pivot(rows if few else rows[undone], further).to_string()
    if not few:
        yield "rules and attacks whose runs are all done are not shown"


def _foreign(found: Sequence[Record], asked: Sequence[Mapping[str, Any]], further: Sequence[str]) -> Iterable[str]:
    """Records of runs that are not asked for, and records that newer ones replace."""
    names = {records.identifier(decides) for decides in asked}
    keys = {records.key_of(decides, further) for decides in asked}
    cells = {_cell(key) for key in keys}
    done = {records.key_of(each, further) for each in found if each["id"] in names}
    foreign = [key for each in found if (key := records.key_of(each, further)) not in keys]
    if seeds := sorted({key[3] for key in foreign if _cell(key) in cells}):
        yield f"foreign: records of the same cells with other seeds: {', '.join(map(str, seeds))}"
    if elsewhere := [key for key in foreign if _cell(key) not in cells]:
        count = counted(len(elsewhere), "record")
        yield f"foreign: {count} of cells that are not asked for, such as {records.label(elsewhere[0], further)}"
    if old := sum(each["id"] not in names and records.key_of(each, further) in done for each in found):
        fields = ", ".join(("rule", "attack", "alpha", *further))
        yield f"{counted(old, 'record')} replaced by newer ones with the same {fields} and seed"


def _cell(key: records.RunKey) -> tuple[Any, ...]:
    """The key without its seed."""
    return (*key[:3], *key[4:])


def read_failures(folder: Path) -> list[Record]:
    """The failures recorded in this folder."""
    path = folder / "failures.jsonl"
    return records.read(path, lambda line: None, fields=records.FAILURE_FIELDS)


def overview(results: Path) -> Iterable[str]:
    """One line for each results folder: how many runs it has, and how many of them are stale and why.

    Raises:
        UserError: the folder does not exist.
    """
    if not results.is_dir():
        raise UserError(f"no folder {results}: choose one with --results FOLDER, or run a table first")
    paths = sorted(results.glob("*/runs.jsonl"))
    digests: Digests = {}
    for path in paths:
        try:
            yield f"{path.parent}: {_folder_line(path, digests)}"
        except UserError as error:  # the other folders are listed anyway
            yield f"{path.parent}: {error}"
    if not paths:
        yield f"no records in {results}"


def _folder_line(path: Path, digests: Digests) -> str:
    further = records.further_fields(path)
    found = list({records.key_of(each, further): each for each in records.read(path)}.values())
    known = folders.content(path.parent) or {"plugins": []}
    why = Counter(_stale(each, digests, known["plugins"]) for each in found)
    stale = "; ".join(f"{n} {text}" for text, n in why.most_common() if text)
    failed = len({each["id"] for each in read_failures(path.parent)} - {each["id"] for each in found})
    recorded = counted(len(found), "run")
    parts = [f"{recorded} recorded", f"{why['']} up to date", stale, f"{failed} failed" * bool(failed)]
    return ", ".join(filter(None, [*parts, *_asked(path.parent.name, found)]))


def _stale(found: Record, digests: Digests, modules: Sequence[str]) -> str:
    """What has changed since the record was written, or why that is unknown; "" if nothing has."""
    registered = {name for registry in registration.KINDS.values() for name in registry}
    absent = sorted(set(found.get("sources") or ()) - registered)
    if modules and found["data"].partition(HELD_OUT)[0] not in (*DATASETS, NO_DATA):
        absent.append(found["data"])
    if absent:
        return f"not compared ({', '.join(absent)} of a plugin: add --plugins {' '.join(modules or absent)})"
    run_config, data = records.config_of(found), found["data"]
    if run_config is None:
        return "stale (this version has no such run)"
    if data not in digests:
        digests[data] = _digest(data)
    digest = digests[data]
    if isinstance(digest, str):
        return f"not compared ({digest})"
    now = records.identity(run_config, data, digest)
    if records.identifier(now) == found["id"]:
        return ""
    return f"stale ({', '.join(records.changes(found, now)) or 'its id does not match its fields; was it edited?'})"


def _digest(data: str) -> Fingerprint | str:
    """The digest of a data set, or the reason why there is none."""
    try:
        return fingerprint(data, log=lambda line: None)
    except UserError as error:
        return str(error).partition("\n")[0].rstrip(".")


def _asked(name: str, found: Collection[Record]) -> list[str]:
    """How many runs of the table, with the recorded seeds, have no record."""
    if name not in TABLES or not found or TABLES[name].choose:
        return []
    seeds = tuple({each["seed"]: None for each in found})
    table = override(TABLES[name], {"seeds": seeds})
    further = further_fields(table)
    there = {records.key_of(each, further) for each in found}
    asked = (records.key_of(config.as_dict() | {"data": data}, further) for data, config in runs(table))
    return [f"{sum(key not in there for key in asked)} missing"]
