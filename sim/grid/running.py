"""Batches of runs, as many side by side as the devices hold, epoch after epoch."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from byzsim.engine import Data, DynamicConfig, EpochMetrics, StaticConfig
from byzsim.grid import programs
from byzsim.grid.history import History, history
from byzsim.grid.placement import fetch, fetch_numbers, mesh_of, place
from byzsim.grid.snapshots import Snapshot, restore, take
from byzsim.process import non_finite, not_forked


@non_finite()
def run(
    static: StaticConfig,
    dynamic: Sequence[DynamicConfig],
    train: Data,
    test: Data,
    *,
    epochs: int,
    devices: Sequence[jax.Device] | None = None,
    devices_per_run: int = 1,
    runs_per_device: int | None = None,
    on_epoch: Callable[[int], None] = lambda done: None,
    resume: Sequence[Snapshot] = (),
    on_state: Callable[[int, Callable[[], list[Snapshot]]], object] = lambda done, snapshots: None,
) -> list[History]:
    """Train the runs of one program, as many side by side as the devices hold.

    Args:
        dynamic: one for each run; the last is repeated where devices would have nothing to do.
        devices: where to run; default all of them. Several CPU devices, however many, give the same bits, but not those
            of one: XLA fuses a program that is sharded otherwise. Of several processes: those of all of them; every
            process calls this with the same arguments and gets all curves.
        devices_per_run: devices that share one run (`byzsim.worker_sharding`), a divisor of m and of the number of
            devices. With more than one, sums are taken in another order, so bits differ from those of one device.
        runs_per_device: how many a device runs at once under `vmap`. None: one, with the same bits as the run alone;
            the right choice on a CPU. `planned_runs_per_device` finds a number for an accelerator.
        on_epoch: called after each epoch of a batch of runs, with the number of epochs done.
        resume: where to go on, one for each run, all of them after equally many epochs; default: from the start.
        on_state: called after `on_epoch` with the number of epochs done and a function that fetches the batch's
            snapshots, which is to be called before `on_state` returns or not at all.

    Raises:
        ValueError: for counts below 1, data that do not go together or are too few, and if `resume` does not fit the
            runs.
        RuntimeError: in a process that was forked after JAX had started.
    """
    not_forked()
    if epochs < 1 or devices_per_run < 1 or (runs_per_device is not None and runs_per_device < 1):
        raise ValueError(
            f"epochs={epochs}, runs_per_device={runs_per_device}, devices_per_run={devices_per_run}: "
            "expected at least 1 of each"
        )
    if len(train.labels) < static.m * static.batch:
        raise ValueError(f"{len(train.labels)} images are too few for m={static.m} batches of {static.batch}")
    if train.images.shape[1:] != test.images.shape[1:] or not len(test.labels):
        raise ValueError(f"images differ, or there are none: train {train.images.shape}, test {test.images.shape}")
    if resume and (len(resume) != len(dynamic) or len({each.epochs for each in resume}) > 1):
        raise ValueError(
            f"{len(resume)} snapshots for {len(dynamic)} runs, expected one each, all after the same epoch"
        )
    devices = devices or jax.devices()
    if static.m % devices_per_run or len(devices) % devices_per_run:
        raise ValueError(
            f"devices_per_run={devices_per_run} has to divide m={static.m} and the number of devices, {len(devices)}"
        )
    mesh = mesh_of(devices, devices_per_run)
    at_once = mesh.shape["runs"] * (runs_per_device or 1)
    start, epoch = programs.compiled(static, mesh, runs_per_device)
    train, test = place((train, test), mesh)
    histories: list[History] = []
    for first in range(0, len(dynamic), at_once):
        part = slice(first, first + at_once)
        batch, before = dynamic[part], resume[part]
        stack = place(programs.stack(_pad_to(batch, at_once)), mesh, "runs")
        if before:
            state, measured = restore(_pad_to(before, at_once), programs.state_shardings(start, mesh, stack, train))
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


def _all_diverged(measured: Sequence[EpochMetrics]) -> bool:
    """Nothing that counts can follow."""
    return bool(np.any([m.diverged for m in measured], axis=0).all())


def _pad_to(given: Sequence[Any], size: int) -> list[Any]:
    return [*given, *[given[-1]] * (size - len(given))]
