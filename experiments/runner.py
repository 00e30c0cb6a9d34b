"""From a table to its records: what is missing is run, in batches of cells, and recorded as soon as it is done."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments import records
from experiments.config import Config, Table, cells
from experiments.datasets import Dataset, cache_folder, load
from experiments.errors import UserError
from sim import Cell, Curve, Data, grid, trial

KEPT = 2 * 10**9
PLANNED = 0.9  # of the memory that JAX may take of an accelerator; the rest is for what XLA's plan does not count


def run(
    table: Table,
    config: Config,
    folder: Path,
    *,
    only: Sequence[str] = (),
    quick: bool = False,
    data_dir: Path | None = None,
    say: Callable[[str], object] = print,
) -> None:
    """Run every cell that `folder` has no record of, and record it there.

    Raises:
        UserError: for anything that cannot be run or written, before anything is compiled.
    """
    wanted = cells(config, only)
    _warn_beyond(wanted, say)
    records.check_writable(folder)
    path = folder / "runs.jsonl"
    done = {record["id"] for record in records.read(path, say)}
    data = load(config.data, data_dir=data_dir, say=say)
    _check_fit(wanted, data)
    missing = [cell for cell in wanted if records.identifier(records.identity(cell, config.data, data)) not in done]
    say(f"{table.name}: {len(wanted)} cells, {len(wanted) - len(missing)} recorded before, {len(missing)} to run")
    if missing:
        write = _writer(path, table, config, quick, data)
        with jax.default_matmul_precision("highest"):  # an accelerator would take TF32 or bf16 without being asked
            _run_all(missing, data, write, say)


def _writer(path: Path, table: Table, config: Config, quick: bool, data: Dataset) -> Callable[..., None]:
    origin = records.origin()

    def write(batch: Sequence[Cell], curves: Sequence[Curve], seconds: float) -> None:
        new = [
            records.record(
                cell,
                curve,
                table=table.name,
                quick=quick,
                decides=records.identity(cell, config.data, data),
                origin=origin,
                seconds=seconds / len(batch),
            )
            for cell, curve in zip(batch, curves, strict=True)
        ]
        records.append(path, new)

    return write


def _run_all(missing: Sequence[Cell], data: Dataset, write: Callable[..., None], say: Callable[[str], object]) -> None:
    """Batches of one program after another; a line for each cell, and a bar where somebody is watching."""
    devices = jax.devices()
    train = Data(jnp.asarray(data.train_images), jnp.asarray(data.train_labels))
    test = Data(jnp.asarray(data.test_images), jnp.asarray(data.test_labels))
    began, finished = time.monotonic(), 0
    with _progress() as bar:
        task = bar.add_task("cells", total=len(missing))
        for group in grid.plan(missing, data.n_classes):
            chunk = planned_chunk(group, train, test, devices)
            size = len(devices) * (chunk or 1)
            for first in range(0, len(group.cells), size):
                part = slice(first, first + size)
                start, done = time.monotonic(), finished
                batch = group.cells[part]
                share = len(batch) / batch[0].epochs
                curves = grid.run(
                    group.program,
                    group.knobs[part],
                    train,
                    test,
                    epochs=batch[0].epochs,
                    devices=devices,
                    chunk=chunk,
                    on_epoch=lambda epoch, done=done, share=share: bar.update(task, completed=done + epoch * share),
                )
                write(batch, curves, time.monotonic() - start)
                finished += len(batch)
                bar.update(task, completed=finished)
                left = (time.monotonic() - began) / finished * (len(missing) - finished)
                for cell, curve in zip(batch, curves, strict=True):
                    say(_line(cell, curve, finished, len(missing), left))


def planned_chunk(group: grid.Group, train: Data, test: Data, devices: Sequence[jax.Device]) -> int | None:
    """Cells that each device runs at once: as many as its memory holds; None, one after another, on a CPU.

    So too on a device that does not say how much memory it has.

    Raises:
        UserError: if not even one cell fits.
    """
    stats = None if devices[0].platform == "cpu" else devices[0].memory_stats()
    if not stats or "bytes_limit" not in stats:
        return None
    limit = int(PLANNED * stats["bytes_limit"])
    try:
        return grid.chunk_within(group.program, group.knobs, train, test, devices=devices, limit=limit)
    except ValueError as error:
        raise UserError(f"{group.cells[0].rule}: {error}. Try fewer workers or smaller batches.") from None


def _line(cell: Cell, curve: Curve, finished: int, total: int, left: float) -> str:
    result = f"diverged in epoch {curve.diverged_epoch}" if curve.diverged else f"{100 * curve.accuracy[-1]:.2f} %"
    name = f"{cell.rule}, {cell.attack}, alpha {cell.alpha:g}, seed {cell.seed}"
    return f"[{finished}/{total}] {name}: {result}; about {left / 60:.0f} min left"


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def _warn_beyond(wanted: Sequence[Cell], say: Callable[[str], object]) -> None:
    worst: dict[str, int] = {}
    for cell in wanted:
        if cell.beyond_bound:
            worst[cell.rule] = max(worst.get(cell.rule, 0), cell.n_byz, cell.f or 0)
    for rule, count in worst.items():
        bound = next(cell.max_f for cell in wanted if cell.rule == rule)
        say(
            f"warning: {rule} is guaranteed up to f = {bound} of m = {wanted[0].m} workers; cells up to {count} run "
            "all the same and are marked as beyond the bound"
        )


def _check_fit(wanted: Sequence[Cell], data: Dataset) -> None:
    """Do model, batch, rules and data go together, and into memory?"""
    try:
        wanted[0].steps_per_epoch(len(data.train_labels))
        trial.cells(wanted, data.train_images.shape[1:], data.n_classes)
    except ValueError as error:
        raise UserError(str(error)) from None


def use_all_cores() -> None:
    """Make every CPU core that this process may use a JAX device; to be called before JAX starts."""
    jax.config.update("jax_num_cpu_devices", cores())


def keep_compiled() -> None:
    """Keep compiled programs in the cache folder, so that a table's second start finds them; to be called before JAX
    compiles. The least used go where `KEPT` bytes are passed. Where JAX has been told a folder, nothing is changed.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
        jax.config.update("jax_compilation_cache_max_size", KEPT)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
