"""Traces: every worker of every step of a run, a file for each run beside the records.

`traces/ID.npz`, with ID as in the record: `weight`, `distance` and `norm` as float32 of shape (steps, workers in a
round), 12 bytes a worker and step before compression; `suspicion` (steps, tests, workers in a round), 4 bytes more for
each test, only of rules that say how near each worker is to being dropped; `worker`, with 1, 2 or 4 bytes more, only
where some workers take part in a round and others do not; `byzantine`, the indices of those that attack. NumPy reads it
without byzsim, and nothing in it is ever executed.
"""

import io
import os
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
from byzsim import History
from byzsim.engine import Trace
from byzsim.experiments.detection import frame_of
from byzsim.experiments.errors import UserError
from byzsim.experiments.files import write_whole

FOLDER = "traces"
MEASURED = ("weight", "distance", "norm")


def name_of(id: str) -> str:
    """The path of a run's trace, from the folder of its record."""
    return f"{FOLDER}/{id}.npz"


def write(folder: Path, id: str, trace: Trace, byzantine: Collection[int]) -> None:
    """Write the trace of a run, whole."""
    arrays = {name: getattr(trace, name).astype(np.float32) for name in MEASURED}
    if len(trace.suspicion):
        arrays["suspicion"] = trace.suspicion.astype(np.float32)
    arrays["byzantine"] = np.array(sorted(byzantine), np.int32)
    workers = trace.worker
    if (workers != np.arange(workers.shape[1])).any():
        arrays["worker"] = workers.astype(np.min_scalar_type(int(workers.max())))
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    (folder / FOLDER).mkdir(exist_ok=True)
    write_whole(folder / name_of(id), content.getvalue())


def load_trace(folder: str | os.PathLike[str], id: str) -> pd.DataFrame:
    """Every worker of every step of a run that `byzsim run --trace` recorded: a row for each step and worker.

    Columns: step, from 1; worker, its index; byzantine, whether it attacks; weight, its share in the aggregate;
    distance, ||what it sent - aggregate||; norm, ||what it sent||; of some rules suspicion_1, suspicion_2, ...:
    how near the worker is to being dropped by each test of the rule, which it is above 1.

    Args:
        folder: of results, such as results/smoke.
        id: of the record, the column `id` of `load_results`.
    Raises:
        UserError: there is no such file, or it is none of ours.
    """
    path = Path(folder) / name_of(id)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        shape = arrays["weight"].shape
        worker = arrays.get("worker", np.broadcast_to(np.arange(shape[1]), shape))
        measured = {name: arrays[name] for name in MEASURED}
        return frame_of(Trace(**measured, worker=worker, suspicion=arrays.get("suspicion", ())), arrays["byzantine"])
    except FileNotFoundError:
        raise UserError(
            f"no trace {path}: `byzsim run TABLE --trace` writes the traces of the runs that it does"
        ) from None
    except (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a trace of `byzsim run --trace` ({type(error).__name__})") from None


def trace_of(history: History, byzantine: Collection[int] = ()) -> pd.DataFrame:
    """The trace of `byzsim.simulate(..., trace=True)`, as `load_trace` gives it.

    Args:
        byzantine: the workers that attack, by index: range(n_byz), unless they were chosen.
    Raises:
        ValueError: the history has no trace.
    """
    if history.trace is None:
        raise ValueError("the history has no trace: byzsim.simulate(..., trace=True) makes one")
    return frame_of(history.trace, np.array(sorted(byzantine), int))
