"""How many runs a device can hold, by XLA's own plan."""

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
    """How many of these runs each device should run at once under `vmap`, in `limit` bytes of its memory.

    The largest number that fits by XLA's own plan, made when the program is compiled and before anything runs; then
    evenly over the batches: of 12 runs of which 8 fit, 6 and 6.

    Raises:
        ValueError: if not even one run fits.
    """
    mesh = mesh_of(devices, devices_per_run)
    most = -(-len(dynamic) // (len(devices) // devices_per_run))
    fits = largest_fitting(
        lambda runs_per_device: need(static, dynamic[0], train, test, mesh, runs_per_device), most, limit
    )
    return -(-most // -(-most // fits))


def largest_fitting(need: Callable[[int], int], most: int, limit: int) -> int:
    """The largest k from 1 to `most` with need(k) <= limit, need being close to a line; few calls, as each compiles.

    Raises:
        ValueError: if need(1) is above the limit.
    """
    if most > 1 and (all_of_them := need(most)) <= limit:
        return most
    one = need(1)
    if one > limit:
        raise ValueError(f"one run needs {one / 1e9:.2f} GB of the device's memory, and {limit / 1e9:.2f} GB are there")
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
    """Bytes on each device in an epoch of `runs_per_device` runs: data, state, results and temporaries."""
    start, epoch = programs.compiled(static, mesh, runs_per_device)
    stack = place(programs.stack([dynamic] * (mesh.shape["runs"] * runs_per_device)), mesh, "runs")
    train, test = place((train, test), mesh)
    state = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        jax.eval_shape(start, stack, train),
        programs.state_shardings(start, mesh, stack, train),
    )
    planned = epoch.lower(stack, state, train, test).compile().memory_analysis()
    held = planned.argument_size_in_bytes + planned.output_size_in_bytes - planned.alias_size_in_bytes
    return held + planned.temp_size_in_bytes
