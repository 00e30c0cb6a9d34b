"""Inner products and distances between all pairs of rows."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops.rows import HIGHEST, blocked
from jaxtyping import Array, Float, Int


def gram(
    grads: Float[Array, "m d"], prepared: Callable[[Float[Array, "m w"]], Float[Array, "m w"]] = lambda rows: rows
) -> Float[Array, "m m"]:
    """The Gram matrix P P^T of P = prepared(G).

    `prepared` has to treat each column by itself, and all columns alike. On a CPU the product is a sum over blocks of
    columns that fit into the cache, which is much faster than one product over all columns; then P never exists as a
    whole.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> print(gram(grads))
    [[ 26.  37.  39.]
     [ 37.  53.  60.]
     [ 39.  60. 117.]]
    """

    def at_once(grads: Float[Array, "m w"]) -> Float[Array, "m m"]:
        rows = prepared(grads)
        return jnp.einsum("id,jd->ij", rows, rows, precision=HIGHEST)

    def in_blocks(grads: Float[Array, "m d"]) -> Float[Array, "m m"]:
        d = grads.shape[1]
        width = min(d, GRAM_BLOCK_COLUMNS)

        def add(total: Float[Array, "m m"], start: Int[Array, ""]) -> tuple[Float[Array, "m m"], None]:
            return total + at_once(jax.lax.dynamic_slice_in_dim(grads, start, width, axis=1)), None

        # first the columns that fill no block, then the blocks
        return jax.lax.scan(add, at_once(grads[:, d - d % width :]), jnp.arange(0, d - d % width, width))[0]

    return blocked(in_blocks, at_once, grads)


GRAM_BLOCK_COLUMNS = 2048  # columns in a block


def sq_distances(grads: Float[Array, "m d"]) -> Float[Array, "m m"]:
    """Squared Euclidean distances between rows, from the Gram matrix; +inf to and from rows that are not usable.

    |a - b|^2 = |a|^2 + |b|^2 - 2 a.b has a rounding error of up to eps * (|a|^2 + |b|^2), so negative values are set
    to 0. The diagonal is exactly 0 for usable rows.

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
    """Distances to this power, from squared distances; +inf if too large for float32.

    The derivative is 0, not NaN, where a distance is 0.
    """
    if power == 1:
        return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
    return squared if power == 2 else squared * squared
