"""Arithmetic over the worker axis that several rules share: cheap in passes over the (m, d) matrix, safe with bad rows.

Costs are reads of the matrix. On a CPU `G.mean(0)` and `jnp.median(G, 0)` are one to two orders of magnitude slower
than they must be; here a mean is a product with a row of weights, and an order statistic along the worker axis is a
sorting network that XLA fuses into one loop.
"""

import functools
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

HIGHEST = jax.lax.Precision.HIGHEST  # never TF32 or bf16 in means and distances


def usable_rows(grads: Float[Array, "m d"]) -> Bool[Array, " m"]:
    """Rows whose squared Euclidean norm is a finite float32, one read.

    A row with a NaN or an infinity is not usable, and neither is one of norm above 1.8e19, whose distances to others
    would overflow. Selection rules treat all of these alike: as infinitely far from everybody, never selected.
    """
    return jnp.isfinite(jnp.einsum("md,md->m", grads, grads, precision=HIGHEST))


def weighted_sum(weight: Float[Array, " m"], grads: Float[Array, "m d"]) -> Float[Array, " d"]:
    """sum_i weight_i g_i; rows of weight 0 do not count, whatever they hold (0 * inf would be NaN)."""
    counted = jnp.where(weight[:, None] == 0, 0.0, grads)
    return jnp.einsum("m,md->d", weight, counted, precision=HIGHEST)


def share(mask: Bool[Array, " m"]) -> Float[Array, " m"]:
    """Equal weights on the rows of `mask`, summing to 1; all zero if it is empty."""
    return mask / jnp.maximum(mask.sum(), 1)


def masked_mean(grads: Float[Array, "m d"], mask: Bool[Array, " m"]) -> Float[Array, " d"]:
    """Mean of the rows in `mask`, as a sum and one division; zero if it is empty."""
    return weighted_sum(mask.astype(grads.dtype), grads) / jnp.maximum(mask.sum(), 1)


def masked_std(
    grads: Float[Array, "m d"], mask: Bool[Array, " m"], mean: Float[Array, " d"], *, ddof: int = 0
) -> Float[Array, " d"]:
    """Standard deviation per coordinate of the rows in `mask` around `mean`; zero where there are too few rows."""
    squares = weighted_sum(mask.astype(grads.dtype), jnp.where(mask[:, None], grads - mean, 0.0) ** 2)
    return jnp.sqrt(squares / jnp.maximum(mask.sum() - ddof, 1))


def sq_distances(grads: Float[Array, "m d"]) -> Float[Array, "m m"]:
    """Squared Euclidean distances between rows, through the Gram matrix; +inf to and from rows that are not usable.

    |a - b|^2 = |a|^2 + |b|^2 - 2 a.b loses up to eps * (|a|^2 + |b|^2) to rounding, so it is clamped at 0; the
    diagonal is exactly 0 for usable rows.
    """
    gram = jnp.einsum("id,jd->ij", grads, grads, precision=HIGHEST)
    norms = jnp.diagonal(gram)
    usable = jnp.isfinite(norms)
    squared = jnp.maximum(norms[:, None] + norms[None, :] - 2 * gram, 0.0)
    squared = jnp.where(jnp.eye(len(grads), dtype=bool), 0.0, squared)
    return jnp.where(usable[:, None] & usable[None, :], squared, jnp.inf)


@functools.cache
def subsets(m: int, size: int) -> Bool[np.ndarray, "n m"]:
    """All subsets of `size` of m workers as masks, in lexicographic order of the workers kept. Static; do not write."""
    kept = np.array(list(itertools.combinations(range(m), size)), int)
    masks = np.zeros((len(kept), m), bool)
    masks[np.arange(len(kept))[:, None], kept] = True
    return masks


def mix(weights: Float[Array, "k m"], grads: Float[Array, "m d"]) -> Float[Array, "k d"]:
    """The rows sum_j W_ij g_j; NaN for a row that gives weight, other than 0, to one that is not usable. Two reads."""
    usable = usable_rows(grads)
    mixed = jnp.einsum("km,md->kd", weights, jnp.where(usable[:, None], grads, 0.0), precision=HIGHEST)
    spoilt = ((weights != 0) & ~usable).any(axis=1)
    return jnp.where(spoilt[:, None], jnp.nan, mixed)


def ranks(values: Float[Array, "*n m"] | Int[Array, "*n m"]) -> Int[Array, "*n m"]:
    """Rank of each value in its row, from 0 for the smallest; equal values by lowest index first, NaN last."""
    return jnp.argsort(jnp.argsort(values, axis=-1, stable=True), axis=-1, stable=True)


@functools.cache
def sorting_network(m: int, wanted: tuple[int, ...]) -> tuple[tuple[int, int, bool, bool], ...]:
    """Comparators (low, high, low is used, high is used) that put the `wanted` ranks of m values in their places.

    Batcher's odd-even merge exchange (Knuth, TAOCP 3, algorithm 5.2.2M), which takes any m; then, from the last
    comparator to the first, whatever no wanted rank depends on is dropped.
    """
    needed, kept = set(wanted), []
    for low, high in reversed(list(_merge_exchange(m))):
        if low in needed or high in needed:
            kept.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(kept))


def _merge_exchange(m: int):
    top = 1 << max((m - 1).bit_length() - 1, 0)
    p = top if m > 1 else 0
    while p:
        q, r, gap = top, 0, p
        while True:
            yield from ((i, i + gap) for i in range(m - gap) if i & p == r)
            if q == p:
                break
            gap, q, r = q - p, q // 2, p
        p //= 2


def order_statistics(grads: Float[Array, "m d"], wanted: Sequence[int]) -> list[Float[Array, " d"]]:
    """The rows of the column-wise sorted matrix that stand at the `wanted` ranks (0 is the smallest); one read.

    NaN counts as +inf. The network grows as m log^2 m.
    """
    rows = [jnp.where(jnp.isnan(row), jnp.inf, row) for row in grads]
    for low, high, use_low, use_high in sorting_network(len(rows), tuple(sorted(set(wanted)))):
        a, b = rows[low], rows[high]
        if use_low:
            rows[low] = jnp.minimum(a, b)
        if use_high:
            rows[high] = jnp.maximum(a, b)
    return [rows[rank] for rank in wanted]


def per_row(f: Callable[[Float[Array, " d"]], Array], grads: Float[Array, "m d"]) -> Array:
    """f of every row, one after another, stacked.

    For an f that reads a computed vector, such as the median: a loop has its inputs ready, where XLA would fuse the
    whole sorting network into the broadcast of its result and run it once for each row.
    """
    return jax.lax.map(f, grads)


def midpoint(low: Float[Array, " d"], high: Float[Array, " d"]) -> Float[Array, " d"]:
    """The mean of two values without overflow; an infinity when either is one."""
    gap = high - low
    return jnp.where(jnp.isfinite(gap), low + gap / 2, low / 2 + high / 2)


def middle_ranks(m: int) -> tuple[int, int]:
    """Ranks of the lower and the upper middle of m values; the same when m is odd."""
    return (m - 1) // 2, m // 2


SHRINK = 2.0**-8
"""Deviations are multiplied by this before they are squared, so that sums over workers stay finite in float32."""


def deviation_gram(grads: Float[Array, "m d"], usable: Bool[Array, " m"]) -> Float[Array, "m m"]:
    """The products <g_i - r, g_j - r> * `SHRINK`^2 of `usable` rows, 0 for the others; r is their median by coordinate.

    All that depends on differences of rows follows from it, whatever r is. From a point amid the majority, the digits
    of ordinary rows survive next to rows of 1e10. Three reads and the sorting network of `order_statistics`; m^2 d.
    """
    known = jnp.where(usable[:, None], grads, jnp.nan)
    lower = jax.lax.stop_gradient(order_statistics(known, [(len(grads) - 1) // 2])[0])
    middle = jnp.where(jnp.isfinite(lower), lower, 0.0)
    deviations = per_row(lambda row: (row - middle) * SHRINK, jnp.where(usable[:, None], grads, 0.0))
    deviations = jnp.where(usable[:, None], deviations, 0.0)
    return jnp.einsum("id,jd->ij", deviations, deviations, precision=HIGHEST)


def top_direction(gram: Float[Array, "m m"], weight: Float[Array, " m"]) -> tuple[Float[Array, ""], Float[Array, " m"]]:
    """The top eigenvalue of the weighted covariance, and tau_i = <g_i - mean, v>^2 for its unit eigenvector v.

    Of a `deviation_gram`, in its unit; weights >= 0, of any sum. Rows of weight 0 have a tau too. An exact eigenvector
    in m dimensions, O(m^3): none of d is formed. Derivatives take v as given, so they are always finite.
    """
    share = weight / jnp.where(weight.sum() > 0, weight.sum(), 1.0)
    pull = jnp.einsum("ij,j->i", gram, share, precision=HIGHEST)
    centred = gram - pull[:, None] - pull + jnp.vdot(share, pull, precision=HIGHEST)
    root = jnp.sqrt(jax.lax.stop_gradient(share))
    values, vectors = _eigh(jax.lax.stop_gradient(centred) * root[:, None] * root)
    length = jnp.sqrt(jnp.where(values[-1] > 0, values[-1], 1.0))
    v = jnp.where(values[-1] > 0, root * vectors[:, -1] / length, 0.0)  # v = sum_i v_i (g_i - mean)
    tau = jnp.einsum("ij,j->i", centred, v, precision=HIGHEST) ** 2
    return jnp.vdot(share, tau, precision=HIGHEST), tau


def _eigh(symmetric: Float[Array, "m m"]) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    """Eigenvalues, upwards, and eigenvectors, of a matrix that a power of two has brought to the size of 1."""
    size = jnp.ldexp(jnp.float32(1.0), jnp.frexp(jnp.abs(symmetric).max())[1])
    values, vectors = jnp.linalg.eigh(symmetric / size)
    return values * size, vectors


def downweight(weight: Float[Array, " m"], tau: Float[Array, " m"]) -> Float[Array, " m"]:
    """weight_i (1 - tau_i / max tau), the maximum over rows of weight > 0; unchanged where that maximum is 0.

    A factor below 1e-5 is 0, so that copies of the farthest row fall with it: at least one row does in each call.
    """
    counted = jnp.where(weight > 0, tau, 0.0)
    largest = counted.max()
    factor = 1 - counted / jnp.where(largest > 0, largest, 1.0)
    return jnp.where(factor < 1e-5, 0.0, weight * factor)
