"""Batches of runs on the devices that there are: from their checkpoints on, and with checkpoints on the way."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import Data, History, RunConfig, engine, grid
from byzsim.experiments import records
from byzsim.experiments.datasets import Dataset
from byzsim.experiments.run import devices, hosts, interrupt
from byzsim.experiments.run.checkpoints import Checkpoints, Saved

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """A run with what its program is given."""

    id: str
    run_config: RunConfig
    dynamic: grid.DynamicConfig


class Executor:
    """Runs what it is told, of one data set, and knows nothing of what else there is to run."""

    def __init__(self, data: Dataset, devices_per_run: int, checkpoints: Checkpoints):
        self.train = _placed(data.train_images, data.train_labels, devices_per_run)
        self.test = _placed(data.test_images, data.test_labels, devices_per_run)
        self.devices_per_run, self.checkpoints = devices_per_run, checkpoints

    def lanes(self) -> int:
        """Runs that run side by side."""
        return len(jax.devices()) // self.devices_per_run

    def runs_per_device(self, group: grid.Group) -> int | None:
        """Runs at once in each lane; see `devices.planned_chunk`."""
        plan = devices.planned_runs_per_device
        return _apart(lambda check: plan(group, self.train, self.test, jax.devices(), self.devices_per_run))

    def next(
        self, static: engine.StaticConfig, jobs: Sequence[Job], choose: Callable[[Mapping[str, int]], list[str]]
    ) -> tuple[list[Job], list[Saved]]:
        """The batch that `choose` makes of the epochs at which runs stand, and their checkpoints if they have any.

        All as the first process finds them.
        """
        return _apart(lambda check: self._next(static, jobs, choose))

    def _next(
        self, static: engine.StaticConfig, jobs: Sequence[Job], choose: Callable[[Mapping[str, int]], list[str]]
    ) -> tuple[list[Job], list[Saved]]:
        saved: dict[str, Saved] = {}

        def chosen() -> tuple[list[str], bool]:
            saved.update({job.id: one for job in jobs if (one := self._load(static, job))})
            batch = choose({id: one.snapshot.epochs for id, one in saved.items()})
            return batch, batch[0] in saved

        ids, begun = hosts.told(chosen)
        batch = [job for job in jobs if job.id in ids]
        return batch, [self._told(static, job, saved) for job in batch] if begun else []

    def _template(self, static: engine.StaticConfig, job: Job) -> Callable[[int], grid.Snapshot]:
        return lambda epochs: grid.snapshot_spec(static, job.dynamic, self.train, epochs)

    def _load(self, static: engine.StaticConfig, job: Job) -> Saved | None:
        known = job.id in self.checkpoints.epochs()
        return self.checkpoints.load(job.id, self._template(static, job)) if known else None

    def _told(self, static: engine.StaticConfig, job: Job, saved: Mapping[str, Saved]) -> Saved:
        """The first process's checkpoint of a run, on all."""
        return hosts.sent(
            lambda: saved[job.id],
            lambda one: self.checkpoints.packed(job.id, one),
            lambda content: self.checkpoints.unpacked(job.id, content, self._template(static, job)),
        )

    def train_batch(
        self,
        static: engine.StaticConfig,
        batch: Sequence[Job],
        saved: Sequence[Saved],
        runs_per_device: int | None,
        on_epoch: Callable[[int], None],
    ) -> tuple[list[History], list[float]]:
        """(curves, seconds of each run)"""
        began, due, epochs = time.monotonic(), self.checkpoints.clock(), batch[0].run_config.epochs

        def seconds() -> list[float]:
            spent = (time.monotonic() - began) / len(batch)
            return [before.seconds + spent for before in saved] or [spent] * len(batch)

        def work(check: Callable[[], None]) -> list[History]:
            def on_state(done: int, snapshots: Callable[[], list[grid.Snapshot]]) -> None:
                check()
                if done < epochs and hosts.told(due):
                    for job, snapshot, spent in zip(batch, snapshots(), seconds(), strict=True):
                        if hosts.first():
                            self.checkpoints.save(job.id, Saved(snapshot, spent))

            return grid.run(
                static,
                [job.dynamic for job in batch],
                self.train,
                self.test,
                epochs=epochs,
                devices=jax.devices(),
                devices_per_run=self.devices_per_run,
                runs_per_device=runs_per_device,
                on_epoch=on_epoch,
                resume=[one.snapshot for one in saved],
                on_state=on_state,
            )

        return _apart(work), seconds()


def _placed(images: np.ndarray, labels: np.ndarray, devices_per_run: int) -> Data:
    return grid.replicate(Data(jnp.asarray(images), jnp.asarray(labels)), jax.devices(), devices_per_run)


def _apart(work: Callable[[Callable[[], None]], T]) -> T:
    """`interrupt.apart`, with full precision, which is a setting of each thread."""

    def precisely(check: Callable[[], None]) -> T:
        with jax.default_matmul_precision(records.MATMUL):  # an accelerator would take TF32 or bf16 without being asked
            return work(check)

    return interrupt.apart(precisely)
