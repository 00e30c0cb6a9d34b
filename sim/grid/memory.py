"""How many runs fit into a device's memory, by XLA's own memory plan."""

from collections.abc import Callable, Sequence

import jax
from byzsim.engine import Data, DynamicConfig, StaticConfig
from byzsim.grid import programs
from byzsim.grid.placement import mesh_of, place
from jax.sharding import Mesh


def planned_runs_per_device(
    static: StaticConfig,
    dynamic: Sequence[DynamicConfig],
    train: Data,
    test: Data,
    *,
    devices: Sequence[jax.Device],
    limit: int,
    devices_per_run: int = 1,
) -> int:
    """How many of these runs each device should train at once under `vmap`, within `limit` bytes of its memory.

    XLA plans the memory when it compiles the program, before anything is executed. The result is the largest number
    that fits, evened out over the batches: if 8 of 12 runs fit, the batches are 6 and 6.

    Raises:
        ValueError: one run does not fit.
    """
    mesh = mesh_of(devices, devices_per_run)
    most = -(-len(dynamic) // (len(devices) // devices_per_run))
    fits = largest_fitting(
        lambda runs_per_device: need(static, dynamic[0], train, test, mesh, runs_per_device), most, limit
    )
    return -(-most // -(-most // fits))


def largest_fitting(need: Callable[[int], int], most: int, limit: int) -> int:
    """The largest k from 1 to `most` with need(k) <= limit.

    Each call of `need` compiles a program. As need(k) is nearly linear, few calls are enough: k = most and k = 1 give a
    line, and the search starts from where that line meets the limit.

    Raises:
        ValueError: need(1) is above the limit.
    """
    if most > 1 and (all_of_them := need(most)) <= limit:
        return most
    one = need(1)
    if one > limit:
        raise ValueError(
            f"one run needs {one / 1e9:.2f} GB of the device's memory, and {limit / 1e9:.2f} GB are available"
        )
    if most == 1:
        return 1
    slope = max((all_of_them - one) / (most - 1), 1)
    k = min(1 + int((limit - one) / slope), most - 1)
    while k > 1 and need(k) > limit:
        k -= 1
    return k


def need(
    static: StaticConfig, dynamic: DynamicConfig, train: Data, test: Data, mesh: Mesh, runs_per_device: int
) -> int:
    """Bytes on each device during an epoch of `runs_per_device` runs: data, states, results and temporary arrays."""
    start, _, compiled = programs.programs(static, mesh, runs_per_device)
    stack = place(programs.stack([dynamic] * (mesh.shape["runs"] * runs_per_device)), mesh, "runs")
    train, test = place((train, test), mesh)
    state = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        jax.eval_shape(start, stack, train),
        programs.state_shardings(static, mesh, stack, train),
    )
    plans = [program.memory_analysis() for program in compiled(stack, state, train, test)]
    sizes = [plan.argument_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes for plan in plans]
    most = max(size + plan.temp_size_in_bytes for size, plan in zip(sizes, plans, strict=True))
    return most + (sum(leaf.nbytes for leaf in jax.tree.leaves(test)) if len(plans) > 1 else 0)
