"""What is done, failed, stale and missing, and why, before anything is run."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from byzsim import AGGREGATORS, ATTACKS, MODIFIERS, PREAGGREGATORS
from byzsim.experiments import records
from byzsim.experiments.datasets import Fingerprint, fingerprint
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan import runs
from byzsim.experiments.records import Record, folders
from byzsim.experiments.tables import TABLES

STATES = ("done", "failed", "stale", "missing")
Digests = dict[str, Fingerprint | str]  # of data sets; text: why there is none
SHOWN = 40  # rows; above that, rows in which all is done are left out


def survey(asked: Sequence[Mapping[str, Any]], found: Sequence[Record], failures: Sequence[Record]) -> pd.DataFrame:
    """A row for each run: rule, attack, alpha, seed, its state and why.

    done: there is a record. failed: there is none, and it has failed. stale: there is a record of the same rule,
    attack, alpha and seed, but something else that decides results has changed. missing: there is nothing.

    Args:
        asked: what `records.identity` gives of each run.
        found, failures: records as they were written.
    """
    done = {each["id"] for each in found}
    failed = {each["id"]: each["failed"] for each in failures}
    there = {records.place(each): each for each in found}

    def state(decides: Mapping[str, Any]) -> tuple[str, str]:
        name, twin = records.identifier(decides), there.get(records.place(decides))
        if name in done:
            return "done", ""
        if name in failed:
            return "failed", failed[name]
        if twin is None:
            return "missing", ""
        return "stale", ", ".join(records.changes(twin, decides)) or "its fields do not give its id: was it edited?"

    rows = [(*records.place(decides), *state(decides)) for decides in asked]
    return pd.DataFrame(rows, columns=["rule", "attack", "alpha", "seed", "state", "why"])


def pivot(runs: pd.DataFrame) -> pd.DataFrame:
    """Rule and attack down, alpha across: seeds done / asked for, and what else there is."""

    def text(states: pd.Series) -> str:
        others = " ".join(state for state in STATES[1:3] if (states == state).any())
        return f"{(states == 'done').sum()}/{len(states)} {others}".rstrip()

    table = runs.groupby(["rule", "attack", "alpha"], sort=False)["state"].agg(text).unstack("alpha")
    columns = sorted(table.columns)
    table = table[columns].fillna("")
    return table.rename(columns={alpha: f"{100 * alpha:.3g} %" for alpha in columns})


def lines(
    title: str, asked: Sequence[Mapping[str, Any]], found: Sequence[Record], failures: Sequence[Record]
) -> Iterable[str]:
    """What `byzsim status TABLE` prints."""
    rows = survey(asked, found, failures)
    count = Counter(rows["state"])
    yield f"{title}: {len(rows)} runs: " + ", ".join(f"{count[state]} {state}" for state in STATES)
    left = len(rows) - count["done"]
    yield f"a run would run {left} of them" + _time(found, left) if left else "a run would run nothing"
    yield from _shown(rows)
    for why, n in Counter(rows.loc[rows["state"] == "stale", "why"]).most_common():
        yield f"stale: {n} runs: {why}"
    for row in rows[rows["state"] == "failed"].itertuples():
        yield f"failed: {records.label((row.rule, row.attack, row.alpha, row.seed))}: {row.why}"
    yield from _others(found, asked)


def _time(found: Sequence[Record], left: int) -> str:
    if not found:
        return ""
    minutes = left * sum(each["seconds"] for each in found) / len(found) / 60
    return f", about {minutes:.0f} min if they take as long as those recorded did"


def _shown(rows: pd.DataFrame) -> Iterable[str]:
    undone = rows.groupby(["rule", "attack"])["state"].transform(lambda states: (states != "done").any())
    few = rows.groupby(["rule", "attack"]).ngroups <= SHOWN
    if few or undone.any():
        yield pivot(rows if few else rows[undone]).to_string()
    if not few:
        yield "rules and attacks of which all is done are not shown"


def _others(found: Sequence[Record], asked: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Records that belong to no run that is asked for, or that a newer one has taken the place of."""
    names = {records.identifier(decides) for decides in asked}
    places = {records.place(decides) for decides in asked}
    in_table = {where[:3] for where in places}
    done = {records.place(each) for each in found if each["id"] in names}
    foreign = [where for each in found if (where := records.place(each)) not in places]
    if seeds := sorted({where[3] for where in foreign if where[:3] in in_table}):
        yield f"foreign: records of these runs under other seeds: {', '.join(map(str, seeds))}"
    if others := [where for where in foreign if where[:3] not in in_table]:
        yield f"foreign: {len(others)} records of runs that are not asked for, such as {records.label(others[0])}"
    if old := sum(each["id"] not in names and records.place(each) in done for each in found):
        yield f"{old} older records beside newer ones of the same rule, attack, alpha and seed"


def read_failures(folder: Path) -> list[Record]:
    """What failed in this folder, or nothing."""
    path = folder / "failures.jsonl"
    return records.read(path, lambda line: None, fields=frozenset({"id", "failed"}))


def overview(results: Path) -> Iterable[str]:
    """A line for each folder of records: how many, and of how many something that decides them has changed since.

    Raises:
        UserError: if there is no such folder.
    """
    if not results.is_dir():
        raise UserError(f"no folder {results}: give one with --results FOLDER, or run a table first")
    paths = sorted(results.glob("*/runs.jsonl"))
    digests: Digests = {}
    for path in paths:
        try:
            yield f"{path.parent}: {_folder_line(path, digests)}"
        except UserError as error:  # the next folders are as they were
            yield f"{path.parent}: {error}"
    if not paths:
        yield f"no records in {results}"


def _folder_line(path: Path, digests: Digests) -> str:
    found = list({records.place(each): each for each in records.read(path)}.values())
    known = folders.read(path.parent) or {"plugins": []}
    why = Counter(_stale(each, digests, known["plugins"]) for each in found)
    stale = "; ".join(f"{n} {text}" for text, n in why.most_common() if text)
    failed = len({each["id"] for each in read_failures(path.parent)} - {each["id"] for each in found})
    parts = [f"{len(found)} runs recorded", f"{why['']} up to date", stale, f"{failed} failed" * bool(failed)]
    return ", ".join(filter(None, [*parts, *_asked(path.parent.name, found)]))


def _stale(found: Record, digests: Digests, modules: Sequence[str]) -> str:
    """What has changed since, by the record's own run, or why that cannot be told."""
    if absent := sorted(set(found.get("sources") or ()) - {*AGGREGATORS, *PREAGGREGATORS, *ATTACKS, *MODIFIERS}):
        return f"not compared ({', '.join(absent)} of a plugin: give --plugins {' '.join(modules or absent)})"
    run_config, data = records.run_config_of(found), found["data"]
    if run_config is None:
        return "stale (there is no such run any more)"
    if data not in digests:
        digests[data] = _digest(data)
    digest = digests[data]
    if isinstance(digest, str):
        return f"not compared ({digest})"
    now = records.identity(run_config, data, digest)
    if records.identifier(now) == found["id"]:
        return ""
    return f"stale ({', '.join(records.changes(found, now)) or 'its fields do not give its id: was it edited?'})"


def _digest(data: str) -> Fingerprint | str:
    """Of a data set, or why there is none."""
    try:
        return fingerprint(data, say=lambda line: None)
    except UserError as error:
        return str(error).partition("\n")[0].rstrip(".")


def _asked(name: str, found: Collection[Record]) -> list[str]:
    """How many runs of a table, with the seeds that there are, have no record."""
    if name not in TABLES:
        return []
    seeds = tuple({each["seed"]: None for each in found})
    there = {records.place(each) for each in found}
    asked = runs(dataclasses.replace(TABLES[name].config, seeds=seeds)) if seeds else []
    return [f"{sum(records.place(run_config.as_dict()) not in there for run_config in asked)} missing"]
