"""The programs of a grid, compiled once: start and epoch over a leading axis of cells."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from byzsim import engine, spread
from byzsim.engine import Data, Knobs, Measured, Program, TrainState
from jax.sharding import Mesh, NamedSharding, PartitionSpec


@functools.lru_cache(maxsize=64)
def compiled(program: Program, mesh: Mesh, chunk: int | None):
    """(start, epoch) over a leading axis of cells, sharded over the mesh; data is replicated, state is donated.

    What devices share one cell do within it is up to `byzsim.spread` and XLA.
    """
    cells, everywhere = PartitionSpec("cells"), PartitionSpec()

    def start(knobs: Knobs, train: Data) -> TrainState:
        return engine.start(program, knobs, train)

    def epoch(knobs: Knobs, state: TrainState, train: Data, test: Data) -> tuple[TrainState, Measured]:
        return engine.epoch(program, knobs, state, train, test)

    def sharded(f, n_cells: int, n_data: int):
        local = jax.vmap(f, in_axes=(0,) * n_cells + (None,) * n_data) if chunk else _on_first(f, n_cells)
        specs = (cells,) * n_cells + (everywhere,) * n_data
        return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=cells, axis_names={"cells"}, check_vma=False)

    return jax.jit(sharded(start, 1, 1)), jax.jit(sharded(epoch, 2, 2), donate_argnums=1)


def _on_first(f: Callable[..., Any], n_cells: int) -> Callable[..., Any]:
    """f of the only cell along the leading axis of its first `n_cells` arguments."""

    def local(*args: Any) -> Any:
        one = jax.tree.map(lambda leaf: leaf[0], args[:n_cells])
        return jax.tree.map(lambda leaf: leaf[None], f(*one, *args[n_cells:]))

    return local


def stacked(knobs: Sequence[Knobs]) -> Knobs:
    """The knobs of several cells, as the programs take them."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *knobs)


def state_shardings(start: Any, mesh: Mesh, knobs: Knobs, train: Data) -> TrainState:
    """How `start` leaves a state on the devices; where several share a cell it is up to XLA."""
    if spread.WORKERS in mesh.axis_names:
        return start.lower(knobs, train).compile().output_shardings
    return jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec("cells")), jax.eval_shape(start, knobs, train))
