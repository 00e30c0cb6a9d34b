"""One run on k devices: the workers' computations are split by worker, the server's by coordinate.

On a mesh with the axis `WORKERS` each device computes the gradients of m / k workers. Then one all-to-all exchange
redistributes the (m, d) matrix, so that each device has all m rows of d / k coordinates. Rules run on that distribution
without any change: operations along a column are local, and sums over coordinates (norms, products, distances) add up
one small part from each device. So no device holds the whole matrix. On a mesh without that axis the functions here
return their arguments as they are.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

WORKERS = "__byzsim_workers__"  # a user's own mesh may well have an axis "workers", which is none of ours


def parts() -> int:
    """The number of devices that share the run that is being traced."""
    return jax.sharding.get_abstract_mesh().shape.get(WORKERS, 1)


def map_workers(f: Callable[..., Any], shared: Any, *arrays: Any) -> Any:
    """f(shared, a, b, ...), where each device computes its m / k workers, the leading axis of a, b, ...

    Args:
        f: function that treats each worker by itself.
        shared: argument that all devices get as a whole.
        arrays: arguments with the workers as leading axis.
    """
    if parts() == 1:
        return f(shared, *arrays)
    split = PartitionSpec(WORKERS)
    specs = (PartitionSpec(), *[split] * len(arrays))
    return jax.shard_map(f, in_specs=specs, out_specs=split, axis_names={WORKERS}, check_vma=False)(shared, *arrays)


def rows(matrix: Array) -> Array:
    """The same values, distributed so that each device has m / k rows (the second to last axis)."""
    return matrix if parts() == 1 else jax.lax.with_sharding_constraint(matrix, _last(matrix.ndim, WORKERS, None))


def by_coordinate(matrix: Float[Array, "*n m d"]) -> Float[Array, "*n m d"]:
    """Redistribute from m / k rows on each device to d / k coordinates of all workers; k need not divide d."""
    k, d = parts(), matrix.shape[-1]
    if k == 1:
        return matrix
    wide = _all_to_all(_pad_columns(matrix, k), axis=-1, into=-2)
    return jax.lax.with_sharding_constraint(wide[..., :d], _last(matrix.ndim, None, WORKERS))


def by_worker(matrix: Float[Array, "*n m d"]) -> Float[Array, "*n m d"]:
    """Redistribute from d / k coordinates on each device to m / k rows: the inverse of `by_coordinate`."""
    k, d = parts(), matrix.shape[-1]
    return matrix if k == 1 else rows(_all_to_all(_pad_columns(matrix, k), axis=-2, into=-1)[..., :d])


def _all_to_all(matrix: Array, *, axis: int, into: int) -> Array:
    """Exchange parts between all devices: before, the matrix is split along `into`; afterwards, along `axis`."""
    n = matrix.ndim
    by_row, by_column = _last(n, WORKERS, None), _last(n, None, WORKERS)
    before, after = (by_row, by_column) if into == -2 else (by_column, by_row)

    def exchange(part: Array) -> Array:
        return jax.lax.all_to_all(part, WORKERS, n + axis, n + into, tiled=True)

    return jax.shard_map(exchange, in_specs=before, out_specs=after, axis_names={WORKERS}, check_vma=False)(matrix)


def _pad_columns(matrix: Array, k: int) -> Array:
    """The matrix with columns of zeros up to a multiple of k columns."""
    return jnp.pad(matrix, [(0, 0)] * (matrix.ndim - 1) + [(0, -matrix.shape[-1] % k)])


def _last(ndim: int, *axes: str | None) -> PartitionSpec:
    """The `PartitionSpec` that splits the last two axes like this, and no other."""
    return PartitionSpec(*[None] * (ndim - 2), *axes)
