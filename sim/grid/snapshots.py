"""A run's state after some of its epochs: what it takes to go on with the same bits."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import engine
from byzsim.engine import Data, DynamicConfig, EpochMetrics, StaticConfig, StepMetrics, TrainState
from byzsim.grid.placement import fetch, put


class Snapshot(NamedTuple):
    """One run after some of its epochs, in the host's memory: all that it takes to go on with the same bits."""

    state: TrainState
    measured: EpochMetrics
    """of each epoch done, all (epochs,)"""

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self.measured.loss)


def snapshot_spec(static: StaticConfig, dynamic: DynamicConfig, train: Data, epochs: int) -> Snapshot:
    """Shapes and dtypes of a snapshot after so many epochs; nothing is computed."""

    def snapshot() -> Snapshot:
        series = jnp.zeros(epochs, jnp.float32)
        measured = EpochMetrics(
            series, series, StepMetrics(*[series] * len(StepMetrics._fields)), jnp.zeros(epochs, bool)
        )
        return Snapshot(engine.start(static, dynamic, train), measured)

    return jax.eval_shape(snapshot)


def take(state: TrainState, measured: Sequence[EpochMetrics], n: int) -> list[Snapshot]:
    """Of the first n runs. Copies, as the state's own memory is given to the next epoch."""
    history = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *measured)
    whole = fetch(state), history
    return [Snapshot(*jax.tree.map(lambda leaf, i=i: np.array(leaf[i]), whole)) for i in range(n)]


def restore(snapshots: Sequence[Snapshot], shardings: TrainState) -> tuple[TrainState, list[EpochMetrics]]:
    """State on the devices, as `start` leaves it there, and measurements, of runs side by side."""
    state, history = jax.tree.map(lambda *leaves: np.stack(leaves), *snapshots)
    measured = [jax.tree.map(lambda leaf, e=e: leaf[:, e], history) for e in range(snapshots[0].epochs)]
    return jax.tree.map(put, state, shardings), measured
