"""The measurements of a run, and a digest of their bits."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from byzsim.engine import EpochMetrics, StepMetrics, Trace


class History(NamedTuple):
    """The measurements of a run. Arrays are (measurements,); see `engine.EpochMetrics` and `engine.StepMetrics`."""

    metrics: dict[str, np.ndarray]
    """what the task measures, such as accuracy and loss on the test set"""
    train_loss: np.ndarray
    byz_weight: np.ndarray
    cosine: np.ndarray
    error: np.ndarray
    variance: np.ndarray
    honest_dropped: np.ndarray
    byz_kept: np.ndarray
    clipped: np.ndarray
    diverged: bool
    diverged_epoch: int | None
    """the first epoch, counted from 1, after which the parameters or the test loss were not finite"""
    digest: str
    """first 16 hex digits of the SHA-256 of the bits: the metrics and the numbers from train_loss to byz_kept as
    float32, and the parameters unless the run diverged"""
    params: np.ndarray
    """the parameters at the end, flat"""
    trace: Trace | None = None
    """every worker of every step, all (steps, workers in a round), where that was asked for; up to the measurement at
    which the run had diverged"""

    @property
    def accuracy(self) -> np.ndarray:
        """`metrics["accuracy"]`: on the test set, 0 to 1."""
        return self.metrics["accuracy"]

    @property
    def loss(self) -> np.ndarray:
        """`metrics["loss"]`: the mean on the test set."""
        return self.metrics["loss"]


def history(measured: Sequence[EpochMetrics], params: np.ndarray, i: int, epochs: int) -> History:
    """The history of run i of a batch. NaN from its first diverged epoch on, and for epochs that were not computed."""
    diverged = [bool(m.diverged[i]) for m in measured]
    first = diverged.index(True) if any(diverged) else None

    def series(leaves: Sequence[Any]) -> np.ndarray:
        values = np.full(epochs, np.nan)
        values[: len(measured)] = [leaf[i] for leaf in leaves]
        values[first if first is not None else epochs :] = np.nan
        return values

    metrics = {name: series([m.metrics[name] for m in measured]) for name in measured[0].metrics}
    of_steps = {name: series([getattr(m.step_metrics, name) for m in measured]) for name in StepMetrics._fields}
    end = None if first is None else first + 1
    digested = [metrics[name] for name in sorted(metrics)]
    digested += [values for name, values in of_steps.items() if name != "clipped"]  # which older records do not have
    return History(
        metrics,
        **of_steps,
        diverged=end is not None,
        diverged_epoch=end,
        digest=digest(digested, params, end),
        params=params,
        trace=_trace([each.trace for each in measured[:end]], i) if measured[0].trace else None,
    )


def _trace(parts: Sequence[Any], i: int) -> Trace:
    """All steps of run i."""
    return jax.tree.map(lambda *leaves: np.concatenate([leaf[i] for leaf in leaves]), *parts)


def digest(series: Sequence[np.ndarray], params: np.ndarray, diverged_epoch: int | None) -> str:
    """First 16 hex digits of the SHA-256 of these numbers.

    All NaN have the same digest, whatever their bits. The parameters of a diverged run are left out: they depend on how
    many more epochs the other runs of its batch took.
    """
    total = hashlib.sha256(f"{diverged_epoch};".encode())
    for values in series if diverged_epoch else [*series, params]:
        total.update(np.where(np.isnan(values), np.nan, values).astype("<f4").tobytes())
    return total.hexdigest()[:16]
