"""Trains batches of runs on all devices: from their checkpoints on, and with checkpoints on the way."""

import time
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from byzsim import History, grid
from byzsim.engine import StaticConfig
from byzsim.experiments.datasets import Dataset
from byzsim.experiments.run import devices
from byzsim.experiments.run.checkpoints import Checkpoint, Checkpoints
from byzsim.experiments.run.distributed import Processes


class Executor:
    """Trains batches of runs on one data set and these devices, also several batches at once."""

    def __init__(
        self,
        data: Dataset,
        its_devices: Sequence[jax.Device],
        devices_per_run: int,
        checkpoints: Checkpoints,
        processes: Processes,
    ):
        train, test = (jax.tree.map(jnp.asarray, each) for each in (data.train, data.test))
        self.train = grid.replicate(train, its_devices, devices_per_run)
        self.test = grid.replicate(test, its_devices, devices_per_run)
        self.devices, self.devices_per_run = its_devices, devices_per_run
        self.checkpoints, self.processes = checkpoints, processes

    @property
    def at_once(self) -> int:
        """Runs that the devices execute side by side."""
        return len(self.devices) // self.devices_per_run

    def runs_per_device(self, group: grid.Group) -> int | None:
        """Runs on each device at once; see `devices.planned_runs_per_device`."""
        return devices.planned_runs_per_device(
            group, self.train, self.test, self.devices, self.devices_per_run, self.processes
        )

    def next(
        self, static: StaticConfig, runs: Mapping[str, grid.Run], choose: Callable[[Mapping[str, int]], list[str]]
    ) -> tuple[dict[str, grid.Run], list[Checkpoint]]:
        """The batch that `choose` selects, given the epoch of each run's checkpoint, and the batch's checkpoints.

        The primary process reads the checkpoints; every process gets the same batch.
        """
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
        check: Callable[[], None],
    ) -> tuple[list[History], list[float]]:
        """Train a batch to its last epoch. Return (history, seconds) of each run.

        Args:
            check: called after each epoch; it raises where the batch should end.
        """
        began, is_due = time.monotonic(), self.checkpoints.make_timer()
        epochs = next(iter(batch.values())).measurements

        def seconds() -> list[float]:
            spent = (time.monotonic() - began) / len(batch)
            return [before.seconds + spent for before in resume] or [spent] * len(batch)

        def on_state(done: int, snapshots: Callable[[], list[grid.Snapshot]]) -> None:
            check()
            if done < epochs and self.processes.broadcast(is_due):
                for id, snapshot, spent in zip(batch, snapshots(), seconds(), strict=True):
                    if self.processes.is_primary:
                        self.checkpoints.save(id, Checkpoint(snapshot, spent))

        histories = grid.run(
            static,
            [run.dynamic for run in batch.values()],
            self.train,
            self.test,
            epochs=epochs,
            devices=self.devices,
            devices_per_run=self.devices_per_run,
            runs_per_device=runs_per_device,
            on_epoch=on_epoch,
            resume=[one.snapshot for one in resume],
            on_state=on_state,
        )
        return histories, seconds()
