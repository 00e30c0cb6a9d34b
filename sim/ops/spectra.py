"""The direction in which the rows differ most, computed from m x m matrices: no d-dimensional vector is formed."""

import jax
import jax.numpy as jnp
from byzsim import platforms
from byzsim.ops.distances import gram, middle_row
from byzsim.ops.rows import HIGHEST
from jaxtyping import Array, Bool, Float

SHRINK = 2.0**-8
"""Factor on the deviations before they are squared, so that sums over the workers stay finite in float32."""


def deviation_gram(grads: Float[Array, "m d"], usable: Bool[Array, " m"]) -> Float[Array, "m m"]:
    """The products <g_i - r, g_j - r> * `SHRINK`^2 of `usable` rows, 0 for other rows; r is their (lower) median.

    Anything that depends on differences of rows can be computed from these products, for any r. With r in the middle
    of the majority ordinary rows keep their digits, even next to rows of size 1e10.

    Cost: `order_statistics`, one read, and O(m^2 d).
    """

    def scaled(rows: Float[Array, "m w"], middle: Float[Array, "1 w"]) -> Float[Array, "m w"]:
        return jnp.where(usable[:, None], (rows - middle) * SHRINK, 0.0)

    return gram(grads, scaled, middle_row(jnp.where(usable[:, None], grads, jnp.nan)))


def top_direction(gram: Float[Array, "m m"], weight: Float[Array, " m"]) -> tuple[Float[Array, ""], Float[Array, " m"]]:
    """(top eigenvalue of the weighted covariance, tau_i = <g_i - mean, v>^2 for its unit eigenvector v).

    The eigenvector is exact: it comes from an m x m matrix that has the same eigenvalues as the covariance. Derivatives
    take v as constant, so they are always finite.

    Args:
        gram: a `deviation_gram`; the results have its unit.
        weight: weights of at least 0, with any sum. Rows of weight 0 have a tau, too.

    Cost: O(m^3).
    """
    share = weight / jnp.where(weight.sum() > 0, weight.sum(), 1.0)
    pull = jnp.einsum("ij,j->i", gram, share, precision=HIGHEST)
    # centred_ij = <g_i - mean, g_j - mean> for the weighted mean
    centred = gram - pull[:, None] - pull[None] + jnp.vdot(share, pull, precision=HIGHEST)
    # the covariance A^T A with rows A_i = sqrt(share_i) (g_i - mean) has the eigenvalues of A A^T, which is m x m
    root = jnp.sqrt(jax.lax.stop_gradient(share))
    values, vectors = _eigh(jax.lax.stop_gradient(centred) * root[:, None] * root[None])
    length = jnp.sqrt(jnp.where(values[-1] > 0, values[-1], 1.0))
    v = jnp.where(values[-1] > 0, root * vectors[:, -1] / length, 0.0)  # v = sum_i v_i (g_i - mean)
    tau = jnp.einsum("ij,j->i", centred, v, precision=HIGHEST) ** 2
    return jnp.vdot(share, tau, precision=HIGHEST), tau


def _eigh(symmetric: Float[Array, "m m"]) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    """Eigenvalues in ascending order, and eigenvectors. The matrix is scaled by a power of two to about 1 before."""
    size = jnp.ldexp(jnp.ones((), symmetric.dtype), jnp.frexp(jnp.abs(symmetric).max())[1])
    values, vectors = platforms.on_cpu(symmetric / size, cpu=_eigh_alone, default=_eigh_batched)
    return values * size, vectors


def _eigh_batched(symmetric: Float[Array, "m m"]) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    values, vectors = jnp.linalg.eigh(symmetric)
    return values, vectors


_eigh_alone = jax.custom_batching.sequential_vmap(_eigh_batched)
"""On a CPU a batched eigensolver waits for threads of the pool in which it runs. If programs on other devices occupy
all threads, it waits for ever. Solving one matrix after another needs no other threads."""


def downweight(weight: Float[Array, " m"], tau: Float[Array, " m"]) -> Float[Array, " m"]:
    """weight_i (1 - tau_i / max tau), with the maximum over rows of weight > 0; unchanged if that maximum is 0.

    Factors below 1e-5 become 0, so that rows that are equal up to rounding to the farthest row lose their weight with
    it. At least one row does in each call.
    """
    counted = jnp.where(weight > 0, tau, 0.0)
    largest = counted.max()
    factor = 1 - counted / jnp.where(largest > 0, largest, 1.0)
    return jnp.where(factor < 1e-5, 0.0, weight * factor)
