"""The compiled programs of a grid: `engine.start` and `engine.epoch` over a leading axis of runs."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from byzsim import engine, worker_sharding
from byzsim.engine import Data, DynamicConfig, EpochMetrics, StaticConfig, TrainState
from jax.sharding import Mesh, NamedSharding, PartitionSpec


@functools.lru_cache(maxsize=64)
def compiled(static: StaticConfig, mesh: Mesh, runs_per_device: int | None) -> tuple[Any, Any]:
    """(start, epoch), jitted over a leading axis of runs.

    The runs are sharded over the axis "runs" of the mesh, and the data is replicated. Where several devices share one
    run, `byzsim.worker_sharding` distributes its work. `epoch` reuses the memory of the state that it gets.
    """
    over_runs, replicated = PartitionSpec("runs"), PartitionSpec()

    def start(dynamic: DynamicConfig, train: Data) -> TrainState:
        return engine.start(static, dynamic, train)

    def epoch(dynamic: DynamicConfig, state: TrainState, train: Data, test: Data) -> tuple[TrainState, EpochMetrics]:
        return engine.epoch(static, dynamic, state, train, test)

    def sharded(f: Callable[..., Any], n_by_run: int, n_data: int) -> Callable[..., Any]:
        """f for many runs: its first `n_by_run` arguments have the axis of runs, the others are data."""
        in_axes = (0,) * n_by_run + (None,) * n_data
        local = jax.vmap(f, in_axes=in_axes) if runs_per_device else _for_single_run(f, n_by_run)
        specs = (over_runs,) * n_by_run + (replicated,) * n_data
        return jax.shard_map(
            local, mesh=mesh, in_specs=specs, out_specs=over_runs, axis_names={"runs"}, check_vma=False
        )

    return jax.jit(sharded(start, 1, 1)), jax.jit(sharded(epoch, 2, 2), donate_argnums=1)


def _for_single_run(f: Callable[..., Any], n_by_run: int) -> Callable[..., Any]:
    """f for a leading axis of length 1 in its first `n_by_run` arguments: the same bits as without that axis."""

    def local(*args: Any) -> Any:
        one = jax.tree.map(lambda leaf: leaf[0], args[:n_by_run])
        return jax.tree.map(lambda leaf: leaf[None], f(*one, *args[n_by_run:]))

    return local


def stack(dynamic: Sequence[DynamicConfig]) -> DynamicConfig:
    """The dynamic configurations of several runs, stacked along the leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *dynamic)


def state_shardings(start: Any, mesh: Mesh, dynamic: DynamicConfig, train: Data) -> TrainState:
    """The shardings of the state that `start` returns. Where several devices share one run, XLA chooses them."""
    if worker_sharding.WORKERS in mesh.axis_names:
        return start.lower(dynamic, train).compile().output_shardings
    return jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec("runs")), jax.eval_shape(start, dynamic, train))
