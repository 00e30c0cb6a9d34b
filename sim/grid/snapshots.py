"""Snapshots: the state of a run between two epochs, from which it can be resumed bit for bit."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import engine
from byzsim.engine import DynamicConfig, EpochMetrics, StaticConfig, TrainState
from byzsim.grid.placement import fetch, put
from byzsim.task import Examples


class Snapshot(NamedTuple):
    """The state of one run after some of its epochs, in the host's memory. A resumed run gives the same bits."""

    state: TrainState
    measured: EpochMetrics
    """the measurements after each epoch done; all arrays are (epochs,)"""

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self.measured.diverged)


def snapshot_spec(
    static: StaticConfig, dynamic: DynamicConfig, train: Examples, test: Examples, epochs: int
) -> Snapshot:
    """Shapes and dtypes of a snapshot after so many measurements; nothing is computed."""

    def snapshot() -> Snapshot:
        state = engine.start(static, dynamic, train)
        _, measured = engine.epoch(static, dynamic, state, train, test)
        return Snapshot(state, jax.tree.map(lambda leaf: jnp.zeros((epochs, *leaf.shape), leaf.dtype), measured))

    return jax.eval_shape(snapshot)


def take(state: TrainState, measured: Sequence[EpochMetrics], n: int) -> list[Snapshot]:
    """Snapshots of the first n runs of a batch. They are copies: the next epoch reuses the memory of the state."""
    history = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *measured)
    whole = fetch(state), history
    return [Snapshot(*jax.tree.map(lambda leaf, i=i: np.array(leaf[i]), whole)) for i in range(n)]


def restore(snapshots: Sequence[Snapshot], shardings: TrainState) -> tuple[TrainState, list[EpochMetrics]]:
    """The state of a batch on the devices, with the shardings that `start` would give it, and its measurements."""
    state, history = jax.tree.map(lambda *leaves: np.stack(leaves), *snapshots)
    measured = [jax.tree.map(lambda leaf, e=e: leaf[:, e], history) for e in range(snapshots[0].epochs)]
    return jax.tree.map(put, state, shardings), measured
