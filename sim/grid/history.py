"""The measurements of a run, and a digest of their bits."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from byzsim.engine import EpochMetrics, StepMetrics


class History(NamedTuple):
    """A run's measurements after each epoch. Arrays are (epochs,); see `engine.EpochMetrics`, `engine.StepMetrics`."""

    accuracy: np.ndarray
    loss: np.ndarray
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
    """first 16 hex digits of the SHA-256 of the bits: the numbers from accuracy to byz_kept as float32, and the
    parameters unless the run diverged"""


def history(measured: Sequence[EpochMetrics], params: np.ndarray, i: int, epochs: int) -> History:
    """The history of run i of a batch. NaN from its first diverged epoch on, and for epochs that were not computed."""
    diverged = [bool(m.diverged[i]) for m in measured]
    first = diverged.index(True) if any(diverged) else None

    def series(leaves: Sequence[np.ndarray]) -> np.ndarray:
        values = np.full(epochs, np.nan)
        values[: len(measured)] = [leaf[i] for leaf in leaves]
        values[first if first is not None else epochs :] = np.nan
        return values

    own = {name: series([getattr(m, name) for m in measured]) for name in ("accuracy", "loss")}
    own |= {name: series([getattr(m.step_metrics, name) for m in measured]) for name in StepMetrics._fields}
    end = None if first is None else first + 1
    digested = [values for name, values in own.items() if name != "clipped"]  # older records do not have it
    return History(**own, diverged=end is not None, diverged_epoch=end, digest=digest(digested, params, end))


def digest(series: Sequence[np.ndarray], params: np.ndarray, diverged_epoch: int | None) -> str:
    """First 16 hex digits of the SHA-256 of these numbers.

    All NaN have the same digest, whatever their bits. The parameters of a diverged run are left out: they depend on how
    many more epochs the other runs of its batch took.
    """
    total = hashlib.sha256(f"{diverged_epoch};".encode())
    for values in series if diverged_epoch else [*series, params]:
        total.update(np.where(np.isnan(values), np.nan, values).astype("<f4").tobytes())
    return total.hexdigest()[:16]
