"""Batches of cells on the devices that there are: from their checkpoints on, and with checkpoints on the way."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import Cell, Curve, Data, engine, grid
from byzsim.experiments import records
from byzsim.experiments.datasets import Dataset
from byzsim.experiments.run import devices, hosts, interrupt
from byzsim.experiments.run.checkpoints import Checkpoints, Saved

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """A cell with what its program is given."""

    id: str
    cell: Cell
    knobs: grid.Knobs


class Executor:
    """Runs what it is told, of one data set, and knows nothing of what else there is to run."""

    def __init__(self, data: Dataset, per_cell: int, checkpoints: Checkpoints):
        self.train = _placed(data.train_images, data.train_labels, per_cell)
        self.test = _placed(data.test_images, data.test_labels, per_cell)
        self.per_cell, self.checkpoints = per_cell, checkpoints

    def lanes(self) -> int:
        """Cells that run side by side."""
        return len(jax.devices()) // self.per_cell

    def chunk(self, group: grid.Group) -> int | None:
        """Cells at once in each lane; see `devices.planned_chunk`."""
        plan = devices.planned_chunk
        return _apart(lambda check: plan(group, self.train, self.test, jax.devices(), self.per_cell))

    def next(
        self, program: engine.Program, jobs: Sequence[Job], choose: Callable[[Mapping[str, int]], list[str]]
    ) -> tuple[list[Job], list[Saved]]:
        """The batch that `choose` makes of the epochs at which cells stand, and their checkpoints if they have any.

        All as the first process finds them.
        """
        return _apart(lambda check: self._next(program, jobs, choose))

    def _next(
        self, program: engine.Program, jobs: Sequence[Job], choose: Callable[[Mapping[str, int]], list[str]]
    ) -> tuple[list[Job], list[Saved]]:
        saved: dict[str, Saved] = {}

        def chosen() -> tuple[list[str], bool]:
            saved.update({job.id: one for job in jobs if (one := self._load(program, job))})
            batch = choose({id: one.snapshot.epochs for id, one in saved.items()})
            return batch, batch[0] in saved

        ids, begun = hosts.told(chosen)
        batch = [job for job in jobs if job.id in ids]
        return batch, [self._told(program, job, saved) for job in batch] if begun else []

    def _template(self, program: engine.Program, job: Job) -> Callable[[int], grid.Snapshot]:
        return lambda epochs: grid.template(program, job.knobs, self.train, epochs)

    def _load(self, program: engine.Program, job: Job) -> Saved | None:
        known = job.id in self.checkpoints.epochs()
        return self.checkpoints.load(job.id, self._template(program, job)) if known else None

    def _told(self, program: engine.Program, job: Job, saved: Mapping[str, Saved]) -> Saved:
        """The first process's checkpoint of a cell, on all."""
        return hosts.sent(
            lambda: saved[job.id],
            lambda one: self.checkpoints.packed(job.id, one),
            lambda content: self.checkpoints.unpacked(job.id, content, self._template(program, job)),
        )

    def train_batch(
        self,
        program: engine.Program,
        batch: Sequence[Job],
        saved: Sequence[Saved],
        chunk: int | None,
        on_epoch: Callable[[int], None],
    ) -> tuple[list[Curve], list[float]]:
        """(curves, seconds of each cell)"""
        began, due, epochs = time.monotonic(), self.checkpoints.clock(), batch[0].cell.epochs

        def seconds() -> list[float]:
            spent = (time.monotonic() - began) / len(batch)
            return [before.seconds + spent for before in saved] or [spent] * len(batch)

        def work(check: Callable[[], None]) -> list[Curve]:
            def on_state(done: int, snapshots: Callable[[], list[grid.Snapshot]]) -> None:
                check()
                if done < epochs and hosts.told(due):
                    for job, snapshot, spent in zip(batch, snapshots(), seconds(), strict=True):
                        if hosts.first():
                            self.checkpoints.save(job.id, Saved(snapshot, spent))

            return grid.run(
                program,
                [job.knobs for job in batch],
                self.train,
                self.test,
                epochs=epochs,
                devices=jax.devices(),
                per_cell=self.per_cell,
                chunk=chunk,
                on_epoch=on_epoch,
                resume=[one.snapshot for one in saved],
                on_state=on_state,
            )

        return _apart(work), seconds()


def _placed(images: np.ndarray, labels: np.ndarray, per_cell: int) -> Data:
    return grid.everywhere(Data(jnp.asarray(images), jnp.asarray(labels)), jax.devices(), per_cell)


def _apart(work: Callable[[Callable[[], None]], T]) -> T:
    """`interrupt.apart`, with full precision, which is a setting of each thread."""

    def precisely(check: Callable[[], None]) -> T:
        with jax.default_matmul_precision(records.MATMUL):  # an accelerator would take TF32 or bf16 without being asked
            return work(check)

    return interrupt.apart(precisely)
