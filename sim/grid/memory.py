"""How many cells a device can hold, by XLA's own plan."""

from collections.abc import Callable, Sequence

import jax
from byzsim.engine import Data, Knobs, Program
from byzsim.grid import programs
from byzsim.grid.placement import mesh_of, placed
from jax.sharding import Mesh


def chunk_within(
    program: Program,
    knobs: Sequence[Knobs],
    train: Data,
    test: Data,
    *,
    devices: Sequence[jax.Device],
    limit: int,
    per_cell: int = 1,
) -> int:
    """How many of these cells each device should run at once under `vmap`, in `limit` bytes of its memory.

    The largest number that fits by XLA's own plan, made when the program is compiled and before anything runs; then
    evenly over the batches: of 12 cells of which 8 fit, 6 and 6.

    Raises:
        ValueError: if not even one cell fits.
    """
    mesh = mesh_of(devices, per_cell)
    most = -(-len(knobs) // (len(devices) // per_cell))
    fits = largest_fitting(lambda chunk: need(program, knobs[0], train, test, mesh, chunk), most, limit)
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
        raise ValueError(
            f"one cell needs {one / 1e9:.2f} GB of the device's memory, and {limit / 1e9:.2f} GB are there"
        )
    if most == 1:
        return 1
    slope = max((all_of_them - one) / (most - 1), 1)
    k = min(1 + int((limit - one) / slope), most - 1)
    while k > 1 and need(k) > limit:
        k -= 1
    return k


def need(program: Program, knobs: Knobs, train: Data, test: Data, mesh: Mesh, chunk: int) -> int:
    """Bytes on each device while an epoch of `chunk` cells runs: data, state, results and temporaries."""
    start, epoch = programs.compiled(program, mesh, chunk)
    stacked = placed(programs.stacked([knobs] * (mesh.shape["cells"] * chunk)), mesh, "cells")
    train, test = placed((train, test), mesh)
    state = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        jax.eval_shape(start, stacked, train),
        programs.state_shardings(start, mesh, stacked, train),
    )
    planned = epoch.lower(stacked, state, train, test).compile().memory_analysis()
    held = planned.argument_size_in_bytes + planned.output_size_in_bytes - planned.alias_size_in_bytes
    return held + planned.temp_size_in_bytes
