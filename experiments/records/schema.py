"""The fields of a record: what each is, making a line for a finished or failed run, and checking a line."""

import dataclasses
import traceback
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from byzsim import History, RunConfig, grid
from byzsim.engine import StepMetrics
from byzsim.experiments.meanings import meanings
from byzsim.experiments.records import traces
from byzsim.experiments.records.identities import Record, identifier
from byzsim.experiments.records.provenance import now
from byzsim.run_config import later_fields

VERSION = 2
"""of the fields below; 1: records of byzsim 0.1 and 0.2, which have no field `schema`"""


class Kind(NamedTuple):
    """What values a field takes."""

    words: str
    """as printed"""
    fits: Callable[[Any], bool]


class Field(NamedTuple):
    """A field of a record."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    since: int = 1
    """the first version of the schema that has it"""
    required: bool = False


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()  # excludes lone surrogates, which no file can hold


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def _is_series(value: Any) -> bool:
    return isinstance(value, list) and all(x is None or _is_number(x) for x in value)


def _is_object_of_text(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, [*value, *value.values()]))


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _or_null(kind: Kind) -> Kind:
    return Kind(f"{kind.words} or null", lambda value: value is None or kind.fits(value))


TEXT = Kind("text", _is_text)
LINES = Kind("text of several lines", lambda value: isinstance(value, str))
WHOLE = Kind("whole number", _is_whole)
NUMBER = Kind("number", _is_number)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
OBJECT = Kind("object", lambda value: isinstance(value, dict))
OBJECT_OF_TEXT = Kind("object of text", _is_object_of_text)
TEXTS = Kind("list of text", _list_of(_is_text))
WHOLES = Kind("list of whole numbers", _list_of(_is_whole))
SERIES = Kind("list of numbers", _is_series)
"""a number for each measurement; null once the run has diverged"""
MEASURED = Kind("list of numbers, not empty", lambda value: _is_series(value) and bool(value))
NAMES = Kind("list of text, not empty", lambda value: _list_of(_is_text)(value) and bool(value))


def _kind_of(hint: Any) -> Kind:
    """The kind of a field of `RunConfig`, from its annotation."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return Kind("text: " + ", ".join(map(str, parts)), _is_text)
    if isinstance(hint, types.UnionType):
        return _or_null(_kind_of(next(part for part in parts if part is not type(None))))
    if typing.get_origin(hint) is tuple:
        return WHOLES
    return {bool: FLAG, int: WHOLE, float: NUMBER, str: TEXT}.get(hint, OBJECT)


def _of_the_run() -> list[Field]:
    """The fields of `RunConfig`, of which a `later` one is there only if it differs from its default."""
    hints, said, later = typing.get_type_hints(RunConfig), meanings(RunConfig), later_fields(RunConfig)
    required = ("rule", "attack", "n_byz", "seed")
    return [
        Field(name, _kind_of(hints[name]), said.get(name, ""), since=1 + (name in later), required=name in required)
        for name in (field.name for field in dataclasses.fields(RunConfig))
    ]


def _of_the_steps() -> list[Field]:
    """The diagnostics, means over the steps between two measurements."""
    units = {"train_loss": "nats for classification", "variance": "squared norm"}
    units |= dict.fromkeys(("byz_weight",), "0 to 1") | dict.fromkeys(("cosine",), "-1 to 1")
    units |= dict.fromkeys(("honest_dropped", "byz_kept"), "workers") | {"clipped": "rows"}
    return [Field(name, SERIES, said, units.get(name, "")) for name, said in meanings(StepMetrics).items()]


PARTS: dict[str, tuple[Field, ...]] = {
    "Which record": (
        Field("schema", WHOLE, "the version of these fields; without it: 1", since=2),
        Field("table", TEXT, "the table that the run was a part of"),
        Field("quick", FLAG, "shortened by --quick, so no result", required=True),
        Field("id", TEXT, "a hash of all that decides the result: the two sections below", required=True),
    ),
    "The run": tuple(_of_the_run()),
    "What else decides the result": (
        Field("alpha", NUMBER, "n_byz / m", "0 to 1", required=True),
        Field("sources", OBJECT_OF_TEXT, "SHA-256 of the source of each member that is a user's own"),
        Field("revisions", OBJECT, "of members that gave other numbers in an earlier version"),
        Field("data", TEXT, "name of the data set; none: the task makes its own examples", required=True),
        Field("data_digest", TEXT, "SHA-256 of the data"),
        Field("numerics", WHOLE, "version of the engine's arithmetic"),
        Field("jax", OBJECT, "settings of JAX that move results"),
    ),
    "Its bound": (
        Field("max_f", WHOLE, "the most Byzantine workers that the rule's guarantee covers", "workers"),
        Field("beyond_bound", FLAG, "there are more, real or declared", required=True),
    ),
    "What was measured": (
        Field("metrics", NAMES, "what the task measures; each has a list under its own name", since=2),
        Field("accuracy", MEASURED, "on the test set, for tasks with classes", "0 to 1"),
        Field("loss", SERIES, "mean on the test set", "nats for classification"),
        *_of_the_steps(),
        Field("final_accuracy", _or_null(NUMBER), "after the last measurement; null: the run diverged", "0 to 1"),
        Field("best_accuracy", _or_null(NUMBER), "the largest of any measurement; never reported", "0 to 1"),
        Field("diverged", FLAG, "parameters or a metric became infinite or NaN", required=True),
        Field("diverged_epoch", _or_null(WHOLE), "the first measurement, from 1, at which they were", required=True),
        Field("digest", TEXT, "of the bits of all that was measured, and of the parameters at the end"),
        Field("trace", TEXT, "the file with every worker of every step, from the folder of the records", since=2),
    ),
    "How it was run": (
        Field("mode", TEXT, "how runs shared the devices; bits are promised within one mode"),
        Field("commit", TEXT, "of byzsim; unknown: it was an installed package", required=True),
        Field("dirty", _or_null(FLAG), "the code differed from that commit", required=True),
        Field("versions", OBJECT_OF_TEXT, "of Python and of packages", required=True),
        Field("device", TEXT, "number and kind of devices", required=True),
        Field("seconds", NUMBER, "its share of the time of its batch", "seconds", required=True),
        Field("time", TEXT, "when it was recorded, in UTC, for people to read"),
    ),
}
"""of runs.jsonl, in order"""
FAILURE: tuple[Field, ...] = (
    Field("failed", LINES, "the error in one line", required=True),
    Field("traceback", LINES, "the whole of it"),
)
"""of failures.jsonl, instead of what was measured"""
FIELDS = {field.name: field for part in (*PARTS.values(), FAILURE) for field in part}
RUN_FIELDS = frozenset(field.name for part in PARTS.values() for field in part if field.required)
FAILURE_FIELDS = frozenset({"id", "failed"})
STEP_METRICS = StepMetrics._fields


def metrics_of(found: Mapping[str, Any]) -> list[str]:
    """What the task of a record measures."""
    return list(found.get("metrics") or [name for name in ("accuracy", "loss") if name in found])


def series_of(found: Mapping[str, Any]) -> list[str]:
    """The fields of a record that have a number for each measurement."""
    return [*metrics_of(found), *(name for name in STEP_METRICS if name in found)]


def wrong(parsed: Any, fields: frozenset[str]) -> str:
    """What is wrong with a parsed line; "" if it is a record."""
    if not isinstance(parsed, dict):
        return "not a JSON object"
    version = parsed.get("schema", 1)
    if _is_whole(version) and version > VERSION:
        return f"of version {version} of the schema; this byzsim knows {VERSION}"
    is_run = fields >= RUN_FIELDS
    odd = [name for name in sorted(parsed.keys() & FIELDS.keys()) if not FIELDS[name].kind.fits(parsed[name])]
    measured = parsed.get("metrics", ("accuracy",)) if is_run and "metrics" not in odd else ()
    expected = {*fields, *measured, *(["final_accuracy"] if "accuracy" in measured else [])}
    if missing := sorted(expected - parsed.keys()):
        return f"without {', '.join(missing)}"
    odd += [name for name in measured if name not in odd and not MEASURED.fits(parsed[name])]
    if "final_accuracy" in expected and not odd and parsed["diverged"] != (parsed["final_accuracy"] is None):
        odd = ["final_accuracy"]
    return f"{', '.join(odd)} of another type" if odd else ""


def record(
    run: grid.Run,
    history: History,
    *,
    table: str,
    quick: bool,
    decides: Mapping[str, Any],
    origin: Mapping[str, Any],
    seconds: float,
    runs_per_device: int | None = None,
    n_halvings: int = 0,
    devices_per_run: int = 1,
) -> Record:
    """One line of runs.jsonl. Accuracies are fractions, losses are in nats, lists have an entry for each measurement.

    null: the run had diverged.

    Args:
        runs_per_device: runs at once under vmap on each device; None: one after another.
        n_halvings: how often runs_per_device was halved because memory ran out.
        devices_per_run: devices that shared the run.
    """
    id = identifier(decides)
    return {
        "schema": VERSION,
        "table": table,
        "quick": quick,
        "id": id,
        **decides,
        "max_f": run.config.max_f,
        "beyond_bound": run.config.beyond_bound,
        "metrics": sorted(history.metrics),
        **{name: _plain(values) for name, values in _series(run, history).items()},
        **_summary(history),
        "diverged": history.diverged,
        "diverged_epoch": history.diverged_epoch,
        "digest": history.digest,
        **({} if history.trace is None else {"trace": traces.name_of(id)}),
        "mode": _mode(runs_per_device, n_halvings, devices_per_run),
        **origin,
        "seconds": round(seconds, 2),
        "time": now(),
    }


def failure(
    decides: Mapping[str, Any],
    error: Exception,
    *,
    origin: Mapping[str, Any],
    runs_per_device: int | None,
    n_halvings: int,
    devices_per_run: int = 1,
) -> Record:
    """One line of failures.jsonl: the run as in runs.jsonl, and the error instead of a result."""
    return {
        "schema": VERSION,
        "id": identifier(decides),
        **decides,
        "failed": reason(error),
        "traceback": "".join(traceback.format_exception(error)),
        "mode": _mode(runs_per_device, n_halvings, devices_per_run),
        **origin,
        "time": now(),
    }


def _mode(runs_per_device: int | None, n_halvings: int, devices_per_run: int) -> str:
    """How runs shared the devices, in the words of all records: bits are promised within one mode."""
    how = "run by run" if runs_per_device is None else f"{runs_per_device} runs under vmap"
    how += f", each over {devices_per_run} devices" if devices_per_run > 1 else ""
    return f"{how}, halved {n_halvings} times as memory ran out" if n_halvings else how


def reason(error: Exception) -> str:
    """An error as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _series(run: grid.Run, history: History) -> dict[str, np.ndarray]:
    """The measurements of a history; those of dropped and clipped workers only for rules that drop or clip."""
    series = {**history.metrics, **{name: getattr(history, name) for name in STEP_METRICS}}
    if "filter" not in run.rule.traits:
        del series["honest_dropped"], series["byz_kept"]
    if "clips" not in run.rule.traits:
        del series["clipped"]
    return series


def _summary(history: History) -> Record:
    """The accuracy at the end and at its best, of tasks that measure it."""
    if "accuracy" not in history.metrics:
        return {}
    finite = history.accuracy[np.isfinite(history.accuracy)]
    return {
        "final_accuracy": None if history.diverged else _plain(history.accuracy)[-1],
        "best_accuracy": _plain(finite.max(keepdims=True))[0] if len(finite) else None,
    }


def _plain(values: np.ndarray | Sequence[float]) -> list[float | None]:
    return [round(float(value), 6) if np.isfinite(value) else None for value in values]
