"""Batches of cells, as many side by side as the devices hold, epoch after epoch."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from byzsim.engine import Data, Knobs, Measured, Program
from byzsim.grid import programs
from byzsim.grid.history import Curve, curve
from byzsim.grid.placement import fetched, fetched_numbers, mesh_of, placed
from byzsim.grid.snapshots import Snapshot, restored, taken
from byzsim.process import non_finite, not_forked


@non_finite()
def run(
    program: Program,
    knobs: Sequence[Knobs],
    train: Data,
    test: Data,
    *,
    epochs: int,
    devices: Sequence[jax.Device] | None = None,
    per_cell: int = 1,
    chunk: int | None = None,
    on_epoch: Callable[[int], None] = lambda done: None,
    resume: Sequence[Snapshot] = (),
    on_state: Callable[[int, Callable[[], list[Snapshot]]], object] = lambda done, snapshots: None,
) -> list[Curve]:
    """Run cells of one program, as many side by side as the devices hold.

    Args:
        knobs: one for each cell; the last is repeated where devices would have nothing to do.
        devices: where to run; default all of them. Several CPU devices, however many, give the same bits, but not those
            of one: XLA fuses a program that is sharded otherwise. Of several processes: those of all of them; every
            process calls this with the same arguments and gets all curves.
        per_cell: devices that share one cell (`byzsim.spread`), a divisor of m and of the number of devices. With more
            than one, sums are taken in another order, so bits differ from those of a cell on one device.
        chunk: cells that a device runs at once under `vmap`. None: one, which gives the same bits as the cell alone;
            the right choice on a CPU. `chunk_within` finds a number for an accelerator.
        on_epoch: called after each epoch of a batch of cells, with the number of epochs done.
        resume: where to go on, one for each cell, all of them after equally many epochs; default: from the start.
        on_state: called after `on_epoch` with the number of epochs done and a function that fetches the batch's
            snapshots, which is to be called before `on_state` returns or not at all.

    Raises:
        ValueError: for counts below 1, data that do not go together or are too few, and if `resume` does not fit the
            cells.
        RuntimeError: in a process that was forked after JAX had started.
    """
    not_forked()
    if epochs < 1 or per_cell < 1 or (chunk is not None and chunk < 1):
        raise ValueError(f"epochs={epochs}, chunk={chunk}, per_cell={per_cell}: expected at least 1 of each")
    if len(train.labels) < program.m * program.batch:
        raise ValueError(f"{len(train.labels)} images are too few for m={program.m} batches of {program.batch}")
    if train.images.shape[1:] != test.images.shape[1:] or not len(test.labels):
        raise ValueError(f"images differ, or there are none: train {train.images.shape}, test {test.images.shape}")
    if resume and (len(resume) != len(knobs) or len({each.epochs for each in resume}) > 1):
        raise ValueError(f"{len(resume)} snapshots for {len(knobs)} cells, expected one each, all after the same epoch")
    devices = devices or jax.devices()
    if program.m % per_cell or len(devices) % per_cell:
        raise ValueError(f"per_cell={per_cell} has to divide m={program.m} and the number of devices, {len(devices)}")
    mesh = mesh_of(devices, per_cell)
    at_once = mesh.shape["cells"] * (chunk or 1)
    start, epoch = programs.compiled(program, mesh, chunk)
    train, test = placed((train, test), mesh)
    curves: list[Curve] = []
    for first in range(0, len(knobs), at_once):
        part = slice(first, first + at_once)
        batch, before = knobs[part], resume[part]
        stacked = placed(programs.stacked(_filled(batch, at_once)), mesh, "cells")
        if before:
            state, measured = restored(_filled(before, at_once), programs.state_shardings(start, mesh, stacked, train))
        else:
            state, measured = start(stacked, train), []
        while len(measured) < epochs and not _all_diverged(measured):
            state, now = epoch(stacked, state, train, test)
            measured.append(fetched_numbers(now))
            on_epoch(len(measured))
            on_state(len(measured), functools.partial(taken, state, measured, len(batch)))
        params = fetched(state.params)
        curves += [curve(measured, params[i], i, epochs) for i in range(len(batch))]
    return curves


def _all_diverged(measured: Sequence[Measured]) -> bool:
    """Nothing that counts can follow."""
    return bool(np.any([m.diverged for m in measured], axis=0).all())


def _filled(given: Sequence[Any], size: int) -> list[Any]:
    return [*given, *[given[-1]] * (size - len(given))]
