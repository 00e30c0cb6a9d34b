"""One run over k devices: what workers compute is split by worker, what the server computes by coordinate.

On a mesh with the axis "workers" each device computes the gradients of m / k workers. One all-to-all then turns the
(m, d) matrix, so that each device holds all rows of d / k coordinates, and there every rule runs as it is written: what
looks along a column is local, and what sums over coordinates (norms, products, distances) adds up k small parts. So no
device ever holds the whole matrix. On any other mesh these functions do nothing at all.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

WORKERS = "workers"


def parts() -> int:
    """How many devices share the run that is being traced."""
    return jax.sharding.get_abstract_mesh().shape.get(WORKERS, 1)


def map_workers(f: Callable[..., Any], shared: Any, *arrays: Array) -> Any:
    """f(shared, a, b, ...), each device for its own m / k of the leading axis of a, b, ...; f must not mix workers."""
    if parts() == 1:
        return f(shared, *arrays)
    own = PartitionSpec(WORKERS)
    specs = (PartitionSpec(), *[own] * len(arrays))
    return jax.shard_map(f, in_specs=specs, out_specs=own, axis_names={WORKERS}, check_vma=False)(shared, *arrays)


def rows(matrix: Array) -> Array:
    """The same values, with each device holding m / k rows (the last axis but one)."""
    return matrix if parts() == 1 else jax.lax.with_sharding_constraint(matrix, _last(matrix.ndim, WORKERS, None))


def by_coordinate(matrix: Float[Array, "*n m d"]) -> Float[Array, "*n m d"]:
    """From rows to columns: each device holds d / k coordinates of all workers; d need not be a multiple of k."""
    k, d = parts(), matrix.shape[-1]
    if k == 1:
        return matrix
    wide = _all_to_all(_pad_columns(matrix, k), axis=-1, into=-2)
    return jax.lax.with_sharding_constraint(wide[..., :d], _last(matrix.ndim, None, WORKERS))


def by_worker(matrix: Float[Array, "*n m d"]) -> Float[Array, "*n m d"]:
    """Back from columns to rows."""
    k, d = parts(), matrix.shape[-1]
    return matrix if k == 1 else rows(_all_to_all(_pad_columns(matrix, k), axis=-2, into=-1)[..., :d])


def _all_to_all(matrix: Array, *, axis: int, into: int) -> Array:
    """All-to-all: whole along `axis` and split along `into` before, the other way round after."""
    n = matrix.ndim
    by_row, by_column = _last(n, WORKERS, None), _last(n, None, WORKERS)
    before, after = (by_row, by_column) if into == -2 else (by_column, by_row)

    def exchange(part):
        return jax.lax.all_to_all(part, WORKERS, n + axis, n + into, tiled=True)

    return jax.shard_map(exchange, in_specs=before, out_specs=after, axis_names={WORKERS}, check_vma=False)(matrix)


def _pad_columns(matrix: Array, k: int) -> Array:
    """With zero columns up to a multiple of k."""
    return jnp.pad(matrix, [(0, 0)] * (matrix.ndim - 1) + [(0, -matrix.shape[-1] % k)])


def _last(ndim: int, *axes: str | None) -> PartitionSpec:
    return PartitionSpec(*[None] * (ndim - 2), *axes)
