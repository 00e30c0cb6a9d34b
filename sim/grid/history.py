"""What a run has measured, as a curve with a digest of its bits."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from byzsim.engine import EpochMetrics, StepMetrics


class History(NamedTuple):
    """A run's measurements after each epoch, all (epochs,): `engine.EpochMetrics` and `engine.StepMetrics`."""

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
    """the first epoch, from 1, after which the parameters or the test loss were not finite; nothing later counts"""
    digest: str
    """of the exact bits: SHA-256 (16 hex digits) of the numbers from accuracy to byz_kept as float32, and, unless it
    diverged, of the parameters"""


def history(measured: Sequence[EpochMetrics], params: np.ndarray, i: int, epochs: int) -> History:
    """Run i's history, NaN from its first diverged epoch on, and for epochs that were not worth running."""
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
    digested = [values for name, values in own.items() if name != "clipped"]  # which older records do not have
    return History(**own, diverged=end is not None, diverged_epoch=end, digest=digest(digested, params, end))


def digest(series: Sequence[np.ndarray], params: np.ndarray, diverged_epoch: int | None) -> str:
    """A NaN is a NaN, whatever its bits; parameters count only where no batch mate could have ended the run."""
    total = hashlib.sha256(f"{diverged_epoch};".encode())
    for values in series if diverged_epoch else [*series, params]:
        total.update(np.where(np.isnan(values), np.nan, values).astype("<f4").tobytes())
    return total.hexdigest()[:16]
