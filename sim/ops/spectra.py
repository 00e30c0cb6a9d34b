"""The direction in which rows differ the most, found in m dimensions; none of d is formed."""

import jax
import jax.numpy as jnp
from byzsim.ops.distances import gram
from byzsim.ops.order import order_statistics
from byzsim.ops.rows import HIGHEST, per_row
from jaxtyping import Array, Bool, Float

SHRINK = 2.0**-8
"""Deviations are multiplied by this before they are squared, so that sums over workers stay finite in float32."""


def deviation_gram(grads: Float[Array, "m d"], usable: Bool[Array, " m"]) -> Float[Array, "m m"]:
    """The products <g_i - r, g_j - r> * `SHRINK`^2 of `usable` rows, 0 for the others; r is their median by coordinate.

    All that depends on differences of rows follows from it, whatever r is. From a point amid the majority, the digits
    of ordinary rows survive next to rows of 1e10. One read, `order_statistics` and m^2 d.
    """

    def deviations(rows):
        known = jnp.where(usable[:, None], rows, jnp.nan)
        lower = jax.lax.stop_gradient(order_statistics(known, [(len(rows) - 1) // 2])[0])
        middle = jnp.where(jnp.isfinite(lower), lower, 0.0)
        return per_row(lambda counts, row: jnp.where(counts, (row - middle) * SHRINK, 0.0), usable, rows)

    return gram(grads, deviations)


def top_direction(gram: Float[Array, "m m"], weight: Float[Array, " m"]) -> tuple[Float[Array, ""], Float[Array, " m"]]:
    """The top eigenvalue of the weighted covariance, and tau_i = <g_i - mean, v>^2 for its unit eigenvector v.

    Of a `deviation_gram`, in its unit; weights >= 0, of any sum. Rows of weight 0 have a tau too. An exact eigenvector
    in m dimensions, O(m^3): none of d is formed. Derivatives take v as given, so they are always finite.
    """
    share = weight / jnp.where(weight.sum() > 0, weight.sum(), 1.0)
    pull = jnp.einsum("ij,j->i", gram, share, precision=HIGHEST)
    centred = gram - pull[:, None] - pull[None] + jnp.vdot(share, pull, precision=HIGHEST)
    root = jnp.sqrt(jax.lax.stop_gradient(share))
    values, vectors = _eigh(jax.lax.stop_gradient(centred) * root[:, None] * root[None])
    length = jnp.sqrt(jnp.where(values[-1] > 0, values[-1], 1.0))
    v = jnp.where(values[-1] > 0, root * vectors[:, -1] / length, 0.0)  # v = sum_i v_i (g_i - mean)
    tau = jnp.einsum("ij,j->i", centred, v, precision=HIGHEST) ** 2
    return jnp.vdot(share, tau, precision=HIGHEST), tau


def _eigh(symmetric: Float[Array, "m m"]) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    """Eigenvalues, upwards, and eigenvectors, of a matrix that a power of two has brought to the size of 1."""
    size = jnp.ldexp(jnp.ones((), symmetric.dtype), jnp.frexp(jnp.abs(symmetric).max())[1])
    values, vectors = jax.lax.platform_dependent(symmetric / size, cpu=_eigh_alone, default=_eigh_batched)
    return values * size, vectors


def _eigh_batched(symmetric: Float[Array, "m m"]) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    values, vectors = jnp.linalg.eigh(symmetric)
    return values, vectors


_eigh_alone = jax.custom_batching.sequential_vmap(_eigh_batched)
"""On a CPU a batch of eigen-solves waits for threads of the very pool that it runs in: for ever, if runs on other
devices have taken them all. One matrix after another does not wait."""


def downweight(weight: Float[Array, " m"], tau: Float[Array, " m"]) -> Float[Array, " m"]:
    """weight_i (1 - tau_i / max tau), the maximum over rows of weight > 0; unchanged where that maximum is 0.

    A factor below 1e-5 is 0, so that copies of the farthest row fall with it: at least one row does in each call.
    """
    counted = jnp.where(weight > 0, tau, 0.0)
    largest = counted.max()
    factor = 1 - counted / jnp.where(largest > 0, largest, 1.0)
    return jnp.where(factor < 1e-5, 0.0, weight * factor)
