"""Training of runs in batches, as many at once as the devices take."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from byzsim.engine import DynamicConfig, EpochMetrics, StaticConfig
from byzsim.grid import programs
from byzsim.grid.history import History, history
from byzsim.grid.placement import fetch, fetch_numbers, mesh_of, place
from byzsim.grid.snapshots import Snapshot, restore, take
from byzsim.process import non_finite, not_forked
from byzsim.task import Examples, n_examples


@non_finite()
def run(
    static: StaticConfig,
    dynamic: Sequence[DynamicConfig],
    train: Examples,
    test: Examples,
    *,
    epochs: int,
    devices: Sequence[jax.Device] | None = None,
    devices_per_run: int = 1,
    runs_per_device: int | None = None,
    on_epoch: Callable[[int], None] = lambda done: None,
    resume: Sequence[Snapshot] = (),
    on_state: Callable[[int, Callable[[], list[Snapshot]]], object] = lambda done, snapshots: None,
) -> list[History]:
    """Train the runs of one program, as many at once as the devices take.

    Args:
        static: what shapes the program, the same for all runs.
        dynamic: what varies, one for each run. A batch that would leave devices without work repeats the last run.
        train: the training set; None for a task that makes its own examples.
        test: the test set; None likewise.
        epochs: how many measurements to make, one after each epoch or after each `eval_every` steps.
        devices: the devices to use; default all of them, of all processes. With several processes every process calls
            this function with the same arguments and gets all histories.
        devices_per_run: how many devices share one run (`byzsim.worker_sharding`); it has to divide m and the number of
            devices. With more than one, sums are taken in another order, so the last bits differ.
        runs_per_device: how many runs a device trains at once under `vmap`. None: one at a time, by the program of one
            device, so that a run has the same bits alone and beside other runs, on any number of devices; the right
            choice on a CPU. `planned_runs_per_device` computes it for an accelerator.
        on_epoch: function that is called after each epoch of a batch, with the number of epochs done.
        resume: snapshots from which to resume, one for each run, all after equally many epochs; default: none.
        on_state: function that is called after `on_epoch` with the number of epochs done and a function that fetches
            the batch's snapshots. The latter works only until `on_state` returns.

    Returns:
        The history of each run.

    Raises:
        ValueError: a count is below 1, the data are too few or of different sizes, or `resume` does not fit the runs.
        RuntimeError: the process was forked after JAX had started.
    """
    not_forked()
    if epochs < 1 or devices_per_run < 1 or (runs_per_device is not None and runs_per_device < 1):
        raise ValueError(
            f"epochs={epochs}, runs_per_device={runs_per_device}, devices_per_run={devices_per_run}: "
            "expected at least 1 of each"
        )
    if train is not None and test is not None:
        _check_data(static, train, test)
    if resume and (len(resume) != len(dynamic) or len({each.epochs for each in resume}) > 1):
        raise ValueError(
            f"{len(resume)} snapshots for {len(dynamic)} runs; expected one for each run, all after the same epoch"
        )
    devices = devices or jax.devices()
    if static.m % devices_per_run or len(devices) % devices_per_run:
        raise ValueError(
            f"devices_per_run={devices_per_run} does not divide m={static.m} and the number of devices, {len(devices)}"
        )
    if runs_per_device is None and devices_per_run == 1 and jax.process_count() == 1:
        devices = devices[: max(len(dynamic), 1)]  # no device repeats the run of another one
    if static.repetitions > 1 and devices_per_run > 1:
        raise ValueError(
            f"repetitions={static.repetitions} are side by side on one device: devices_per_run has to be 1"
        )
    mesh = mesh_of(devices, devices_per_run)
    at_once = mesh.shape["runs"] * (runs_per_device or 1)
    start, epoch, _ = programs.programs(static, mesh, runs_per_device)
    train, test = place((train, test), mesh)
    histories: list[History] = []
    for first in range(0, len(dynamic), at_once):
        part = slice(first, first + at_once)
        batch, before = dynamic[part], resume[part]
        # every batch has `at_once` runs, so that the program is compiled for one shape
        stack = place(programs.stack(_pad_to(batch, at_once)), mesh, "runs")
        if before:
            state, measured = restore(_pad_to(before, at_once), programs.state_shardings(static, mesh, stack, train))
        else:
            state, measured = start(stack, train), []
        while len(measured) < epochs and not _all_diverged(measured):
            state, now = epoch(stack, state, train, test)
            measured.append(fetch_numbers(now))
            on_epoch(len(measured))
            on_state(len(measured), functools.partial(take, state, measured, len(batch)))
        params = fetch(state.params)
        histories += [history(measured, params[i], i, epochs) for i in range(len(batch))]
    return histories


def _check_data(static: StaticConfig, train: Examples, test: Examples) -> None:
    least = (static.honest_data or static.m) * (static.batch or 1)
    if n_examples(train) < least:
        raise ValueError(
            f"{n_examples(train)} examples are too few for m={static.m} batches of {static.batch}: expected at least "
            f"{least}"
        )
    if static.n_test is not None and static.n_test > n_examples(test):
        raise ValueError(f"n_test={static.n_test} is more than the {n_examples(test)} test examples")
    shapes = [jax.tree.map(lambda leaf: leaf.shape[1:], data.inputs) for data in (train, test)]
    if shapes[0] != shapes[1] or not n_examples(test):
        raise ValueError(
            f"train examples have shape {shapes[0]}, test examples {shapes[1]}; expected the same, and at least one "
            "test example"
        )


def _all_diverged(measured: Sequence[EpochMetrics]) -> bool:
    """Whether every run of the batch has diverged, so that further epochs would not change any history."""
    return bool(np.any([m.diverged for m in measured], axis=0).all())


def _pad_to(given: Sequence[Any], size: int) -> list[Any]:
    """`given`, with the last entry repeated up to `size` entries."""
    return [*given, *[given[-1]] * (size - len(given))]
