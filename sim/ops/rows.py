"""Row by row: which rows can be used, their norms, sums and means of them. What they cost is reads of the matrix."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import worker_sharding
from jaxtyping import Array, Bool, Float, Num

HIGHEST = jax.lax.Precision.HIGHEST  # never TF32 or bf16 in means and distances


def usable_rows(grads: Float[Array, "m d"]) -> Bool[Array, " m"]:
    """Rows whose squared Euclidean norm is finite in their dtype, one read. Figures are of float32:

    A row with a NaN or an infinity is not usable, and neither is one of norm above 1.8e19, whose distances to others
    would overflow. Selection rules treat all of these alike: as infinitely far from everybody, never selected.

    >>> print(usable_rows(jnp.array([[1.0, 2.0], [1.0, jnp.nan], [1e20, 0.0]])))
    [ True False False]
    """
    return jnp.isfinite(jnp.einsum("md,md->m", grads, grads, precision=HIGHEST))


def safe_divide(grads: Float[Array, "m d"], by: Float[Array, " m"]) -> Float[Array, "m d"]:
    """g_i / by_i, each by_i finite and above 0. One read.

    By way of a power of two: XLA multiplies by 1 / by_i, which it flushes to 0 for a by_i above 8.5e37.
    """
    down = jnp.where(by > 2.0**60, 2.0**-64, 1.0)
    return grads * down[:, None] / (by * down)[:, None]


@jax.custom_jvp
def squared(rows: Float[Array, "*m d"]) -> Float[Array, "*m"]:
    """Squared Euclidean norms; derivative 0, not NaN, where they are not finite. One read."""
    return jnp.einsum("...d,...d->...", rows, rows, precision=HIGHEST)


@squared.defjvp
def _squared_jvp(primals, tangents):
    (rows,), (moved,) = primals, tangents
    squares = squared(rows)
    known = jnp.where(jnp.isfinite(squares)[..., None], rows, 0.0)
    return squares, 2 * jnp.einsum("...d,...d->...", known, moved, precision=HIGHEST)


def norms(grads: Float[Array, "m d"]) -> Float[Array, " m"]:
    """Euclidean norms; +inf for a row that holds a NaN or an infinity, or whose norm is beyond float32. One read.

    A row whose square is near the ends of float32 is divided by its largest entry first, so entries of 1e38 or 1e-30
    count too. Derivative 0, not NaN, for the zero row.

    >>> print(norms(jnp.array([[3.0, 4.0], [1.0, jnp.inf]])))
    [ 5. inf]
    """

    def norm(row):
        squares = squared(row)
        ordinary = jnp.isfinite(squares) & (squares > 1e-24)
        return jax.lax.cond(ordinary, lambda: jnp.sqrt(squares), lambda: _scaled_norm(row))

    return per_row(norm, grads)


def _scaled_norm(row: Float[Array, " d"]) -> Float[Array, ""]:
    largest = jax.lax.stop_gradient(jnp.abs(row).max())
    finite = jnp.isfinite(largest)
    scale = jnp.where(finite & (largest > 0), largest, 1.0)
    unit = safe_divide(jnp.where(finite, row, 0.0)[None], scale[None])
    squares = jnp.vdot(unit, unit, precision=HIGHEST)
    relative = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
    return jnp.where(finite, scale * relative, jnp.inf)


def row_sum(term: Callable[..., Num[Array, " d"]], *arrays: Array) -> Num[Array, " d"]:
    """sum_i term(a_i, b_i, ...) over the leading axis, upwards. One read.

    Written out row by row, so that XLA makes one loop over the columns of terms and sum together. A product with
    weights would need a copy of the matrix where rows are left out, and a sum along the first axis is slow on a CPU.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> print(row_sum(lambda row: jnp.sign(row - 4), grads))  # votes of the workers
    [-1.  3.]
    """
    m = len(arrays[0])
    at_once = min(m, UNROLL_ROWS)
    first = m % at_once or at_once

    def some(start, count):
        block = [jax.lax.dynamic_slice_in_dim(a, start, count) for a in arrays]
        return functools.reduce(jnp.add, [term(*(a[i] for a in block)) for i in range(count)])

    starts = jnp.arange(first, m, at_once)
    return jax.lax.scan(lambda total, start: (total + some(start, at_once), None), some(0, first), starts)[0]


UNROLL_ROWS = 32  # rows in one loop: beyond, compiling takes longer and nothing is gained


def per_row(f: Callable[..., Array], *arrays: Array) -> Array:
    """f(a_i, b_i, ...) over the leading axis, one after another, stacked.

    For an f that reads a computed vector, such as the median: a loop has its inputs ready, where XLA would fuse the
    whole sorting network into the broadcast of its result and run it once for each row.

    >>> from byzsim.ops import median
    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> centre = median(grads)
    >>> print(per_row(lambda row: jnp.abs(row - centre).sum(), grads))
    [2. 1. 7.]
    """
    return jax.lax.map(lambda each: f(*each), arrays)


def weighted_sum(weight: Float[Array, " m"], grads: Float[Array, "m d"]) -> Float[Array, " d"]:
    """sum_i weight_i g_i; rows of weight 0 do not count, whatever they hold (0 * inf would be NaN). One read.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [jnp.nan, jnp.inf]])
    >>> print(weighted_sum(jnp.array([0.5, 0.5, 0.0]), grads))
    [1.5 6. ]
    """
    return row_sum(times, weight.astype(grads.dtype), grads)


def times(w: Float[Array, ""], row: Float[Array, " d"]) -> Float[Array, " d"]:
    """w times a row, 0 if w is, whatever the row holds; the inner condition keeps a NaN out of the derivative by w."""
    return jnp.where(w == 0, 0.0, w * jnp.where(w == 0, 0.0, row))


def mix_rows(weights: Float[Array | np.ndarray, "k m"], grads: Float[Array, "m d"]) -> Float[Array, "k d"]:
    """The rows sum_j W_ij g_j; NaN for a row that gives weight, other than 0, to one that is not usable. Two reads."""
    usable, weights = usable_rows(grads), weights.astype(grads.dtype, copy=False)

    def mixed(rows):
        return jnp.einsum("km,md->kd", weights, rows, precision=HIGHEST)

    # a copy of the matrix only where it has to be
    out = jax.lax.cond(usable.all(), mixed, lambda rows: mixed(jnp.where(usable[:, None], rows, 0.0)), grads)
    spoilt = ((weights != 0) & ~usable[None]).any(axis=1)
    return jnp.where(spoilt[:, None], jnp.nan, out)


def uniform_weights(mask: Bool[Array, " m"]) -> Float[Array, " m"]:
    """Equal weights on the rows of `mask`, summing to 1; all zero if it is empty.

    >>> print(uniform_weights(jnp.array([True, False, True])))
    [0.5 0.  0.5]
    """
    return mask / jnp.maximum(mask.sum(), 1)


def masked_mean(grads: Float[Array, "m d"], mask: Bool[Array, " m"]) -> Float[Array, " d"]:
    """Mean of the rows in `mask`, as a sum and one division; zero if it is empty.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> print(masked_mean(grads, jnp.array([True, True, False])))
    [1.5 6. ]
    """
    return weighted_sum(mask.astype(grads.dtype), grads) / jnp.maximum(mask.sum(), 1)


def masked_std(
    grads: Float[Array, "m d"], mask: Bool[Array, " m"], mean: Float[Array, " d"], *, ddof: int = 0
) -> Float[Array, " d"]:
    """Standard deviation per coordinate of the rows in `mask` around `mean`; zero where there are too few rows.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> kept = jnp.array([True, True, False])
    >>> print(masked_std(grads, kept, masked_mean(grads, kept)))
    [0.5 1. ]
    """
    squares = row_sum(lambda counts, row: jnp.where(counts, (row - mean) ** 2, 0.0), mask, grads)
    return jnp.sqrt(squares / jnp.maximum(mask.sum() - ddof, 1))


def blocked(in_blocks: Callable[[Array], Array], at_once: Callable[[Array], Array], grads: Float[Array, "m d"]):
    """In blocks of columns on a CPU; but where devices share the columns, cutting them would gather the matrix."""
    if worker_sharding.parts() > 1:
        return at_once(grads)
    return jax.lax.platform_dependent(grads, cpu=in_blocks, default=at_once)
