"""The programs of a grid, compiled once: start and epoch over a leading axis of runs."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from byzsim import engine, worker_sharding
from byzsim.engine import Data, DynamicConfig, EpochMetrics, StaticConfig, TrainState
from jax.sharding import Mesh, NamedSharding, PartitionSpec


@functools.lru_cache(maxsize=64)
def compiled(static: StaticConfig, mesh: Mesh, runs_per_device: int | None):
    """(start, epoch) over a leading axis of runs, sharded over the mesh; data is replicated, state is donated.

    What devices share one run do within it is up to `byzsim.worker_sharding` and XLA.
    """
    runs, replicate = PartitionSpec("runs"), PartitionSpec()

    def start(dynamic: DynamicConfig, train: Data) -> TrainState:
        return engine.start(static, dynamic, train)

    def epoch(dynamic: DynamicConfig, state: TrainState, train: Data, test: Data) -> tuple[TrainState, EpochMetrics]:
        return engine.epoch(static, dynamic, state, train, test)

    def sharded(f, n_cells: int, n_data: int):
        local = (
            jax.vmap(f, in_axes=(0,) * n_cells + (None,) * n_data) if runs_per_device else _for_single_run(f, n_cells)
        )
        specs = (runs,) * n_cells + (replicate,) * n_data
        return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=runs, axis_names={"runs"}, check_vma=False)

    return jax.jit(sharded(start, 1, 1)), jax.jit(sharded(epoch, 2, 2), donate_argnums=1)


def _for_single_run(f: Callable[..., Any], n_cells: int) -> Callable[..., Any]:
    """f of the only run along the leading axis of its first `n_cells` arguments."""

    def local(*args: Any) -> Any:
        one = jax.tree.map(lambda leaf: leaf[0], args[:n_cells])
        return jax.tree.map(lambda leaf: leaf[None], f(*one, *args[n_cells:]))

    return local


def stack(dynamic: Sequence[DynamicConfig]) -> DynamicConfig:
    """The dynamic configs of several runs, as the programs take them."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *dynamic)


def state_shardings(start: Any, mesh: Mesh, dynamic: DynamicConfig, train: Data) -> TrainState:
    """How `start` leaves a state on the devices; where several share a run it is up to XLA."""
    if worker_sharding.WORKERS in mesh.axis_names:
        return start.lower(dynamic, train).compile().output_shardings
    return jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec("runs")), jax.eval_shape(start, dynamic, train))
