"""Arrays on the devices of all processes, and back on their hosts."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import spread
from byzsim.engine import Data, Measured
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int


def everywhere(data: Data, devices: Sequence[jax.Device], per_cell: int = 1) -> Data:
    """Data on all of these devices, of all processes, from arrays that each process has; `run` copies it no more."""
    return placed(data, mesh_of(devices, per_cell))


def mesh_of(devices: Sequence[jax.Device], per_cell: int) -> Mesh:
    """Cells over the devices, or over groups of `per_cell` of them."""
    if per_cell == 1:
        return Mesh(np.array(devices), ("cells",))
    return Mesh(np.array(devices).reshape(-1, per_cell), ("cells", spread.WORKERS))


def placed(tree: Any, mesh: Mesh, *axes: str) -> Any:
    """Arrays that each process has, each putting its own devices' part there."""
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.tree.map(lambda leaf: put(leaf, sharding), tree)


def put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """One such array."""
    if sharding.is_fully_addressable or (isinstance(leaf, jax.Array) and leaf.sharding == sharding):
        return jax.device_put(leaf, sharding)
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def fetched(tree: Any) -> Any:
    """Arrays on the host of every process."""
    return jax.tree.map(_whole, jax.block_until_ready(tree))  # a collective would not wait for ever


def _whole(leaf: jax.Array) -> np.ndarray:
    """Gathered in parts of at most `GATHERED` bytes, unless one entry of the leading axis has more."""
    if leaf.is_fully_addressable:
        return jax.device_get(leaf)
    count = min(max(GATHERED * len(leaf) // max(leaf.nbytes, 1), 1), len(leaf))
    whole = np.empty(leaf.shape, leaf.dtype)
    for start in range(0, len(leaf), count):
        first = min(start, len(leaf) - count)
        part = _part(leaf, jnp.int32(first), count)
        whole[first : first + count] = multihost_utils.process_allgather(part, tiled=True)
    return whole


@functools.partial(jax.jit, static_argnums=2)
def _part(leaf: jax.Array, first: Int[Array, ""], count: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(leaf, first, count)


def fetched_numbers(measured: Measured) -> Measured:
    """The same for numbers, one for each cell, in one collective."""
    leaves, form = jax.tree.flatten(measured)
    if leaves[0].is_fully_addressable:
        return jax.device_get(measured)
    rows = zip(leaves, fetched(_side_by_side(leaves)), strict=True)
    return form.unflatten([row.astype(leaf.dtype) for leaf, row in rows])


@jax.jit
def _side_by_side(leaves: Sequence[jax.Array]) -> jax.Array:
    return jnp.stack([leaf.astype(jnp.float32) for leaf in leaves])


GATHERED = 2**26  # bytes that a collective puts on every device
