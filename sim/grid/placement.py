"""Moving arrays from the hosts of all processes to their devices, and back."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import worker_sharding
from byzsim.engine import Data, EpochMetrics
from byzsim.task import Examples
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int


def replicate(data: Examples, devices: Sequence[jax.Device], devices_per_run: int = 1) -> Data:
    """Copy the data to each of these devices, also of several processes; `run` then does not copy it again."""
    return place(data, mesh_of(devices, devices_per_run))


def mesh_of(devices: Sequence[jax.Device], devices_per_run: int) -> Mesh:
    """The mesh that distributes runs over the devices, or over groups of `devices_per_run` devices."""
    if devices_per_run == 1:
        return Mesh(np.array(devices), ("runs",))
    return Mesh(np.array(devices).reshape(-1, devices_per_run), ("runs", worker_sharding.WORKERS))


def place(tree: Any, mesh: Mesh, *axes: str) -> Any:
    """Distribute arrays over the mesh. Every process has the whole arrays, and copies its own devices' parts."""
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.tree.map(lambda leaf: put(leaf, sharding), tree)


def put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """`place` for one array."""
    if sharding.is_fully_addressable or (isinstance(leaf, jax.Array) and leaf.sharding == sharding):
        return jax.device_put(leaf, sharding)
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def fetch(tree: Any) -> Any:
    """Copy distributed arrays to the host of every process."""
    return jax.tree.map(_whole, jax.block_until_ready(tree))  # wait first: a collective has a time limit


def _whole(leaf: jax.Array) -> np.ndarray:
    """The array on the host, gathered in parts of at most `GATHER_CHUNK_BYTES`, and of one leading entry at least."""
    if leaf.is_fully_addressable:
        return jax.device_get(leaf)
    count = min(max(GATHER_CHUNK_BYTES * len(leaf) // max(leaf.nbytes, 1), 1), len(leaf))
    whole = np.empty(leaf.shape, leaf.dtype)
    for start in range(0, len(leaf), count):
        first = min(start, len(leaf) - count)
        part = _part(leaf, jnp.int32(first), count)
        whole[first : first + count] = multihost_utils.process_allgather(part, tiled=True)
    return whole


@functools.partial(jax.jit, static_argnums=2)
def _part(leaf: jax.Array, first: Int[Array, ""], count: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(leaf, first, count)


def fetch_numbers(measured: EpochMetrics) -> EpochMetrics:
    """`fetch` for measurements, one number for each run, with a single collective for all of them but the trace."""
    if measured.trace:
        return fetch_numbers(measured._replace(trace=()))._replace(trace=fetch(measured.trace))
    leaves, form = jax.tree.flatten(measured)
    if leaves[0].is_fully_addressable:
        return jax.device_get(measured)
    rows = zip(leaves, fetch(_stack_leaves(leaves)), strict=True)
    return form.unflatten([row.astype(leaf.dtype) for leaf, row in rows])


@jax.jit
def _stack_leaves(leaves: Sequence[jax.Array]) -> jax.Array:
    return jnp.stack([leaf.astype(jnp.float32) for leaf in leaves])


GATHER_CHUNK_BYTES = 2**26  # largest part that a collective copies to every device
