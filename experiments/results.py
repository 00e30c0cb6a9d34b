"""Results as tidy DataFrames: a row for each run, or for each run and measurement, with the axes as columns."""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from byzsim import History
from byzsim.experiments import records
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan import Position, expand
from byzsim.experiments.plan.table import NAMED
from byzsim.experiments.records import AXES, Record, folders
from byzsim.experiments.records.schema import PARTS, STEP_METRICS
from byzsim.experiments.report import choice

FOLLOWS = frozenset({"n_byz", "f", "byzantine", *(f"{name}_args" for name in NAMED)})
"""what follows from alpha and m unless it is set, and options, which are columns of their own"""
Per = Literal["run", "measurement"]


def load_results(
    folder: str | os.PathLike[str], *, per: Per = "run", log: Callable[[str], object] = print
) -> pd.DataFrame:
    """The valid records of a folder of results: those that no newer record has taken the place of.

    The first columns are the axes of the folder's table, with the names of its settings, and the seed. A run that
    stands at several settings of an axis, such as one without Byzantine workers, has one row, with its own value there
    (the attack none). Where the table is not known, the axes are rule, attack, alpha, seed and all else in which the
    runs differ, options by their names on the command line, such as safeguard.variant. `frame.attrs["axes"]` has
    them. What was measured follows, then all other fields of a record (docs/records.md), under today's names, but for
    those that are axes. `id` names a record; table.csv of the same folder has the `ids` of its cells.

    Args:
        folder: such as results/brsgd_table1, or its runs.jsonl.
        per: "run": a row for each run, with the last value of each metric as final_accuracy, final_loss and so on.
            "measurement": a row for each run and measurement, `measurement` from 1, with what was measured: metrics and
            diagnostics. NaN once the run has diverged.
        log: is told of a torn last line.
    Raises:
        UserError: if there are no records.
    """
    found = records.valid(Path(folder), log)
    placed = _positions(Path(folder), found)
    return _frame(found, _axes(found), per) if placed is None else _frame(*placed, per)


def from_histories(runs: Iterable[tuple[Mapping[str, Any], History]], *, per: Per = "run") -> pd.DataFrame:
    """What `byzsim.simulate` returns as a frame like that of `load_results`.

    Args:
        runs: for each run the values of its axes, such as {"rule": "krum", "seed": 0}, and its history.
        per: as in `load_results`.
    """
    pairs = [(dict(axes), history) for axes, history in runs]
    return _frame([_as_record(history) for _, history in pairs], pd.DataFrame([axes for axes, _ in pairs]), per)


def _as_record(history: History) -> Record:
    """The outcomes of a history, named as in a record."""
    steps = {name: list(getattr(history, name)) for name in STEP_METRICS}
    outcome = {name: getattr(history, name) for name in ("diverged", "diverged_epoch", "digest")}
    return {"metrics": sorted(history.metrics), **{k: list(v) for k, v in history.metrics.items()}, **steps, **outcome}


def _frame(found: Sequence[Record], axes: pd.DataFrame, per: Per) -> pd.DataFrame:
    """The axes first, then what was measured, then the other fields."""
    metrics = dict.fromkeys(name for each in found for name in records.metrics_of(each))
    series = dict.fromkeys(name for each in found for name in records.series_of(each))
    finals = {f"final_{name}": [each[name][-1] if name in each else None for each in found] for name in metrics}
    outcomes = ["diverged", "diverged_epoch"]
    others = pd.DataFrame(found).drop(columns=[*axes, *outcomes, *series, *finals, "metrics"], errors="ignore")
    rest = pd.concat([pd.DataFrame(found)[outcomes], others], axis=1)
    if per == "run":
        frame = pd.concat([axes, pd.DataFrame(finals, dtype=float), rest], axis=1)
    else:
        rows = [(number, row) for number, each in enumerate(found) for row in _measurements(each)]
        measured = pd.DataFrame([row for _, row in rows]).astype(dict.fromkeys(series, float))
        whose = [number for number, _ in rows]
        parts = (part.iloc[whose].reset_index(drop=True) for part in (axes, rest))
        frame = pd.concat([next(parts), measured, next(parts)], axis=1)
    frame.attrs["axes"] = list(axes)
    return frame


def _measurements(found: Record) -> list[dict[str, Any]]:
    """What was measured of a run, one measurement after another."""
    series, every = records.series_of(found), found.get("eval_every")
    return [
        {
            "measurement": i + 1,
            **({"step": (i + 1) * every} if every else {}),
            **{name: found[name][i] for name in series},
        }
        for i in range(len(found[series[0]]))
    ]


def _positions(folder: Path, found: Sequence[Record]) -> tuple[list[Record], pd.DataFrame] | None:
    """The records of the runs of the folder's table, and their settings; None if the table is not known."""
    try:
        table = folders.axes(folder if folder.is_dir() else folder.parent)
        planned = expand(table, chosen=choice.choose(table, found) if table.choose else None)
    except UserError:
        return None
    places: dict[str, list[Position]] = {}
    for position, data, config in planned:
        places.setdefault(records.run_id(data, config), []).append(position)
    keys = [records.run_id_of(each) or "" for each in found]
    pairs = [(each, places[key]) for each, key in zip(found, keys, strict=True) if key in places]
    axes = [axis.name for axis in table.axes if axis.name != "seed"]
    rows = [{name: _setting(name, at, each) for name in axes} | {"seed": each["seed"]} for each, at in pairs]
    return [each for each, _ in pairs], pd.DataFrame(rows, columns=[*axes, "seed"])


def _setting(axis: str, places: Sequence[Position], found: Record) -> Any:
    """The setting of a run on an axis; where it stands at several, what the record says."""
    settings = {place[axis] for place in places if axis in place}
    return settings.pop() if len(settings) == 1 else found.get(axis)


def _axes(found: Sequence[Record]) -> pd.DataFrame:
    """What tells the runs apart: the four axes of every table, and every field and option in which the runs differ."""
    spelled = [records.spelled_out(each) for each in found]
    fields = [field.name for field in PARTS["The run"]] + ["data"]
    differing = [
        name for name in fields if name not in (*AXES, *FOLLOWS) and _differ(each.get(name) for each in spelled)
    ]
    options = [_options(each) for each in spelled]
    named = dict.fromkeys(itertools.chain.from_iterable(options))
    differing_options = [name for name in named if _differ(each[name] for each in options if name in each)]
    rows = [
        {name: one.get(name) for name in (*AXES, *differing)} | {name: of.get(name) for name in differing_options}
        for one, of in zip(spelled, options, strict=True)
    ]
    return pd.DataFrame(rows)


def _options(found: Record) -> dict[str, Any]:
    """The options of all members of a run, as "krum.variant"."""
    return {
        f"{found[name]}.{option}": value
        for name in NAMED
        for option, value in (found.get(f"{name}_args") or {}).items()
        if name in found
    }


def _differ(values: Iterable[Any]) -> bool:
    return len({repr(value) for value in values}) > 1
