"""A run's state after some of its epochs: what it takes to go on with the same bits."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import engine
from byzsim.engine import Data, Facts, Knobs, Measured, Program, TrainState
from byzsim.grid.placement import fetched, put


class Snapshot(NamedTuple):
    """One run after some of its epochs, in the host's memory: all that it takes to go on with the same bits."""

    state: TrainState
    measured: Measured
    """of each epoch done, all (epochs,)"""

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self.measured.loss)


def template(program: Program, knobs: Knobs, train: Data, epochs: int) -> Snapshot:
    """Shapes and dtypes of a snapshot after so many epochs; nothing is computed."""

    def snapshot() -> Snapshot:
        series = jnp.zeros(epochs, jnp.float32)
        measured = Measured(series, series, Facts(*[series] * len(Facts._fields)), jnp.zeros(epochs, bool))
        return Snapshot(engine.start(program, knobs, train), measured)

    return jax.eval_shape(snapshot)


def taken(state: TrainState, measured: Sequence[Measured], n: int) -> list[Snapshot]:
    """Of the first n cells. Copies, as the state's own memory is given to the next epoch."""
    history = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *measured)
    whole = fetched(state), history
    return [Snapshot(*jax.tree.map(lambda leaf, i=i: np.array(leaf[i]), whole)) for i in range(n)]


def restored(snapshots: Sequence[Snapshot], shardings: TrainState) -> tuple[TrainState, list[Measured]]:
    """State on the devices, as `start` leaves it there, and measurements, of cells side by side."""
    state, history = jax.tree.map(lambda *leaves: np.stack(leaves), *snapshots)
    measured = [jax.tree.map(lambda leaf, e=e: leaf[:, e], history) for e in range(snapshots[0].epochs)]
    return jax.tree.map(put, state, shardings), measured
