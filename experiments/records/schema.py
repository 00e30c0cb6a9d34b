"""The fields of a record: making a line for a finished or failed run, and checking a line."""

import traceback
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from byzsim import History, grid
from byzsim.engine import StepMetrics
from byzsim.experiments.records.identities import Record, identifier
from byzsim.experiments.records.provenance import now


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
    """One line of runs.jsonl. Accuracies are fractions, losses are in nats, lists have one entry for each epoch.

    null: the run had diverged.

    Args:
        runs_per_device: runs at once under vmap on each device; None: one after another.
        n_halvings: how often runs_per_device was halved because memory ran out.
        devices_per_run: devices that shared the run.
    """
    return {
        "table": table,
        "quick": quick,
        "id": identifier(decides),
        **decides,
        "max_f": run.config.max_f,
        "beyond_bound": run.config.beyond_bound,
        **{name: _plain(values) for name, values in _series(run, history).items()},
        **_summary(history),
        "diverged": history.diverged,
        "diverged_epoch": history.diverged_epoch,
        "digest": history.digest,
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
    of_steps = {name: getattr(history, name) for name in StepMetrics._fields}
    series = {**history.metrics, **of_steps}
    if "filter" not in run.rule.traits:
        del series["honest_dropped"], series["byz_kept"]
    if "clips" not in run.rule.traits:
        del series["clipped"]
    return series


def _summary(history: History) -> Record:
    """The accuracy at the end and at its best; for a task without accuracy, the names of its metrics."""
    if "accuracy" not in history.metrics:
        return {"metrics": sorted(history.metrics)}
    finite = history.accuracy[np.isfinite(history.accuracy)]
    return {
        "final_accuracy": None if history.diverged else _plain(history.accuracy)[-1],
        "best_accuracy": _plain(finite.max(keepdims=True))[0] if len(finite) else None,
    }


def _plain(values: np.ndarray) -> list[float | None]:
    return [round(float(value), 6) if np.isfinite(value) else None for value in values]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()  # excludes lone surrogates, which no file can hold


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_series(value: Any) -> bool:
    return isinstance(value, list) and all(x is None or _is_number(x) for x in value)


RUN_KINDS: dict[str, Callable[[Any], object]] = {
    "id": _is_text,
    "rule": _is_text,
    "attack": _is_text,
    "alpha": _is_number,
    "n_byz": _is_whole,
    "seed": _is_whole,
    "beyond_bound": _is_flag,
    "quick": _is_flag,
    "diverged": _is_flag,
    "diverged_epoch": lambda value: value is None or _is_whole(value),
    "accuracy": lambda value: _is_series(value) and value,
    "final_accuracy": lambda value: value is None or _is_number(value),
    "data": _is_text,
    "seconds": _is_number,
    "commit": _is_text,
    "dirty": lambda value: value is None or _is_flag(value),
    "device": _is_text,
    "versions": lambda value: isinstance(value, dict) and all(map(_is_text, [*value, *value.values()])),
}
RUN_FIELDS = frozenset(RUN_KINDS)
KINDS = {
    **dict.fromkeys(StepMetrics._fields, _is_series),
    "loss": _is_series,
    **RUN_KINDS,
    "mode": _is_text,
    "digest": _is_text,
    "failed": lambda value: isinstance(value, str),
}


def wrong(parsed: Any, fields: frozenset[str]) -> str:
    """What is wrong with a parsed line; "" if it is a record."""
    if not isinstance(parsed, dict):
        return "not a JSON object"
    missing = sorted(fields - parsed.keys())
    if missing:
        return f"without {', '.join(missing)}"
    odd = [name for name in sorted(parsed.keys() & KINDS.keys()) if not KINDS[name](parsed[name])]
    if fields >= RUN_FIELDS and not odd and parsed["diverged"] != (parsed["final_accuracy"] is None):
        odd = ["final_accuracy"]
    return f"{', '.join(odd)} of another type" if odd else ""
