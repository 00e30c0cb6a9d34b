"""Inner products and distances between all pairs of rows."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from byzsim import blocks
from byzsim.ops.order import order_statistics
from byzsim.ops.rows import HIGHEST, blocked, computed_once
from jaxtyping import Array, Float, Int


def gram(
    grads: Float[Array, "m d"],
    prepared: Callable[..., Float[Array, "m w"]] = lambda rows: rows,
    *vectors: Float[Array, " d"],
) -> Float[Array, "m m"]:
    """The Gram matrix P P^T of P = prepared(G, v, ...), which treats each column by itself; vectors come as (1, w).

    On a CPU the product is a sum over blocks of columns that fit into the cache, which is much faster than one product
    over all columns; then P never exists as a whole.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> print(gram(grads))
    [[ 26.  37.  39.]
     [ 37.  53.  60.]
     [ 39.  60. 117.]]
    """
    known = [computed_once(v, grads)[None] for v in vectors]

    def product(rows: Float[Array, "m w"], *known: Float[Array, "1 w"]) -> Float[Array, "m m"]:
        rows = prepared(rows, *known)
        return jnp.einsum("id,jd->ij", rows, rows, precision=HIGHEST)

    def in_blocks(grads: Float[Array, "m d"]) -> Float[Array, "m m"]:
        d = grads.shape[1]
        width = min(d, GRAM_BLOCK_COLUMNS)
        rest = d % width  # columns that fill no block

        def add(total: Float[Array, "m m"], start: Int[Array, ""]) -> tuple[Float[Array, "m m"], None]:
            block = [jax.lax.dynamic_slice_in_dim(a, start, width, axis=1) for a in (grads, *known)]
            return total + product(*block), None

        first = product(*(a[:, d - rest :] for a in (grads, *known)))
        return jax.lax.scan(add, first, jnp.arange(0, d - rest, width))[0]

    return blocks.added_up(blocked(in_blocks, lambda grads: product(grads, *known), grads))


GRAM_BLOCK_COLUMNS = 2048  # columns in a block


def sq_distances(grads: Float[Array, "m d"], centre: Float[Array, " d"] | None = None) -> Float[Array, "m m"]:
    """Squared Euclidean distances between rows; +inf to and from rows that are not usable.

    |a - b|^2 = |a|^2 + |b|^2 - 2 a.b for the differences a, b of the rows from a centre, by the Gram matrix; without a
    centre it is the rows' `middle_row`. So what the majority of the rows have in common costs no digits: the rounding
    error is up to eps * (|a|^2 + |b|^2), and negative values are set to 0. The diagonal is exactly 0 for usable rows. A
    row is usable here if its squared distance to the centre is finite.

    >>> print(sq_distances(jnp.array([[0.0, 0.0], [3.0, 4.0]])))
    [[ 0. 25.]
     [25.  0.]]
    """
    inner = gram(grads, jnp.subtract, middle_row(grads) if centre is None else centre)
    norms = jnp.diagonal(inner)
    usable = jnp.isfinite(norms)
    squared = jnp.maximum(norms[:, None] + norms[None, :] - 2 * inner, 0.0)
    squared = jnp.where(jnp.eye(len(grads), dtype=bool), 0.0, squared)
    return jnp.where(usable[:, None] & usable[None, :], squared, jnp.inf)


def middle_row(rows: Float[Array, "m d"]) -> Float[Array, " d"]:
    """The (lower) median of the rows by coordinate, 0 where it is not finite; a constant in derivatives."""
    lower = jax.lax.stop_gradient(order_statistics(rows, [(len(rows) - 1) // 2])[0])
    return jnp.where(jnp.isfinite(lower), lower, 0.0)


def pow_from_squared(squared: Float[Array, "*n"], power: Literal[1, 2, 4]) -> Float[Array, "*n"]:
    """Distances to this power, from squared distances; +inf if too large for float32.

    The derivative is 0, not NaN, where a distance is 0.
    """
    if power == 1:
        return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
    return squared if power == 2 else squared * squared
