"""Trains batches of runs on all devices: from their checkpoints on, and with checkpoints on the way."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
from byzsim import History, grid
from byzsim.engine import StaticConfig
from byzsim.experiments import records
from byzsim.experiments.datasets import Dataset
from byzsim.experiments.run import devices, interrupt
from byzsim.experiments.run.checkpoints import Checkpoint, Checkpoints
from byzsim.experiments.run.distributed import Processes

T = TypeVar("T")


class Executor:
    """Trains the batches that a schedule chooses, on one data set."""

    def __init__(self, data: Dataset, devices_per_run: int, checkpoints: Checkpoints, processes: Processes):
        train, test = (jax.tree.map(jnp.asarray, each) for each in (data.train, data.test))
        self.train = grid.replicate(train, jax.devices(), devices_per_run)
        self.test = grid.replicate(test, jax.devices(), devices_per_run)
        self.devices_per_run, self.checkpoints, self.processes = devices_per_run, checkpoints, processes

    def lanes(self) -> int:
        """Runs that the devices execute side by side."""
        return len(jax.devices()) // self.devices_per_run

    def runs_per_device(self, group: grid.Group) -> int | None:
        """Runs in each lane at once; see `devices.planned_runs_per_device`."""
        plan, every = devices.planned_runs_per_device, jax.devices()
        return _in_thread(lambda _: plan(group, self.train, self.test, every, self.devices_per_run, self.processes))

    def next(
        self, static: StaticConfig, runs: Mapping[str, grid.Run], choose: Callable[[Mapping[str, int]], list[str]]
    ) -> tuple[dict[str, grid.Run], list[Checkpoint]]:
        """The batch that `choose` selects, given the epoch of each run's checkpoint, and the batch's checkpoints.

        The primary process reads the checkpoints; every process gets the same batch.
        """
        return _in_thread(lambda _: self._next(static, runs, choose))

    def _next(
        self, static: StaticConfig, runs: Mapping[str, grid.Run], choose: Callable[[Mapping[str, int]], list[str]]
    ) -> tuple[dict[str, grid.Run], list[Checkpoint]]:
        found: dict[str, Checkpoint] = {}

        def chosen() -> tuple[list[str], bool]:
            there = self.checkpoints.epochs()
            for id, run in runs.items():
                if id in there and (one := self.checkpoints.load(id, self._snapshot_spec(static, run))):
                    found[id] = one
            batch = choose({id: one.snapshot.epochs for id, one in found.items()})
            return batch, batch[0] in found

        ids, resumed = self.processes.broadcast(chosen)
        batch = {id: run for id, run in runs.items() if id in ids}
        return batch, [self._broadcast_checkpoint(static, *each, found) for each in batch.items()] if resumed else []

    def _snapshot_spec(self, static: StaticConfig, run: grid.Run) -> Callable[[int], grid.Snapshot]:
        return lambda epochs: grid.snapshot_spec(static, run.dynamic, self.train, self.test, epochs)

    def _broadcast_checkpoint(
        self, static: StaticConfig, id: str, run: grid.Run, found: Mapping[str, Checkpoint]
    ) -> Checkpoint:
        return self.processes.broadcast_bytes(
            lambda: found[id],
            lambda one: self.checkpoints.to_bytes(id, one),
            lambda content: self.checkpoints.from_bytes(id, content, self._snapshot_spec(static, run)),
        )

    def train_batch(
        self,
        static: StaticConfig,
        batch: Mapping[str, grid.Run],
        resume: Sequence[Checkpoint],
        runs_per_device: int | None,
        on_epoch: Callable[[int], None],
    ) -> tuple[list[History], list[float]]:
        """Train a batch to its last epoch. Return (history, seconds) of each run."""
        began, is_due = time.monotonic(), self.checkpoints.make_timer()
        epochs = next(iter(batch.values())).measurements

        def seconds() -> list[float]:
            spent = (time.monotonic() - began) / len(batch)
            return [before.seconds + spent for before in resume] or [spent] * len(batch)

        def work(check: Callable[[], None]) -> list[History]:
            def on_state(done: int, snapshots: Callable[[], list[grid.Snapshot]]) -> None:
                check()
                if done < epochs and self.processes.broadcast(is_due):
                    for id, snapshot, spent in zip(batch, snapshots(), seconds(), strict=True):
                        if self.processes.is_primary:
                            self.checkpoints.save(id, Checkpoint(snapshot, spent))

            return grid.run(
                static,
                [run.dynamic for run in batch.values()],
                self.train,
                self.test,
                epochs=epochs,
                devices=jax.devices(),
                devices_per_run=self.devices_per_run,
                runs_per_device=runs_per_device,
                on_epoch=on_epoch,
                resume=[one.snapshot for one in resume],
                on_state=on_state,
            )

        return _in_thread(work), seconds()


def _in_thread(work: Callable[[Callable[[], None]], T]) -> T:
    """`interrupt.in_thread` with full precision, which JAX sets for each thread."""

    def precise(check: Callable[[], None]) -> T:
        with jax.default_matmul_precision(records.MATMUL):  # an accelerator's default is TF32 or bf16
            return work(check)

    return interrupt.in_thread(precise)
