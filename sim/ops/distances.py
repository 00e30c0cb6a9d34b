"""Rows beside rows: products and distances of all pairs."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops.rows import HIGHEST, blocked
from jaxtyping import Array, Float


def gram(
    grads: Float[Array, "m d"], prepared: Callable[[Float[Array, "m w"]], Float[Array, "m w"]] = lambda rows: rows
) -> Float[Array, "m m"]:
    """P P^T for P = prepared(G), a function that treats columns alike, each by itself.

    On a CPU in blocks of columns that stay in the cache: one product over all of d is much slower there. And of what is
    prepared there is never more than a block.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> print(gram(grads))
    [[ 26.  37.  39.]
     [ 37.  53.  60.]
     [ 39.  60. 117.]]
    """

    def at_once(grads):
        rows = prepared(grads)
        return jnp.einsum("id,jd->ij", rows, rows, precision=HIGHEST)

    def in_blocks(grads):
        d = grads.shape[1]
        width = min(d, GRAM_BLOCK_COLUMNS)

        def add(total, start):
            return total + at_once(jax.lax.dynamic_slice_in_dim(grads, start, width, axis=1)), None

        return jax.lax.scan(add, at_once(grads[:, d - d % width :]), jnp.arange(0, d - d % width, width))[0]

    return blocked(in_blocks, at_once, grads)


GRAM_BLOCK_COLUMNS = 2048  # of a block


def sq_distances(grads: Float[Array, "m d"]) -> Float[Array, "m m"]:
    """Squared Euclidean distances between rows, through the Gram matrix; +inf to and from rows that are not usable.

    |a - b|^2 = |a|^2 + |b|^2 - 2 a.b loses up to eps * (|a|^2 + |b|^2) to rounding, so it is clamped at 0; the
    diagonal is exactly 0 for usable rows.

    >>> print(sq_distances(jnp.array([[0.0, 0.0], [3.0, 4.0]])))
    [[ 0. 25.]
     [25.  0.]]
    """
    inner = gram(grads)
    norms = jnp.diagonal(inner)
    usable = jnp.isfinite(norms)
    squared = jnp.maximum(norms[:, None] + norms[None, :] - 2 * inner, 0.0)
    squared = jnp.where(jnp.eye(len(grads), dtype=bool), 0.0, squared)
    return jnp.where(usable[:, None] & usable[None, :], squared, jnp.inf)


def pow_from_squared(squared: Float[Array, "*n"], power: Literal[1, 2, 4]) -> Float[Array, "*n"]:
    """Distances to a power, from squared ones; beyond float32 +inf. Derivative 0, not NaN, where a distance is 0."""
    if power == 1:
        return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
    return squared if power == 2 else squared * squared
