"""Functions of rows: which rows are usable, norms, sums and means. Costs are given as reads of the (m, d) matrix."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import blocks, platforms, worker_sharding
from jaxtyping import Array, Bool, Float, Int, Num

HIGHEST = jax.lax.Precision.HIGHEST  # no TF32 or bf16 in means and distances


def usable_rows(grads: Float[Array, "m d"]) -> Bool[Array, " m"]:
    """Whether the squared Euclidean norm of each row is finite in its dtype. One read.

    A row with a NaN or an infinity is not usable, nor is a row of norm above 1.8e19 (in float32), since its distances
    to other rows overflow. Rules that select rows treat rows that are not usable as infinitely far from all others.

    >>> print(usable_rows(jnp.array([[1.0, 2.0], [1.0, jnp.nan], [1e20, 0.0]])))
    [ True False False]
    """
    return jnp.isfinite(blocks.added_up(jnp.einsum("md,md->m", grads, grads, precision=HIGHEST)))


def safe_divide(grads: Float[Array, "m d"], by: Float[Array, " m"]) -> Float[Array, "m d"]:
    """g_i / by_i for each row, where by_i is finite and above 0. One read.

    XLA computes a division as a product with 1 / by_i, and flushes that to 0 for by_i above 8.5e37. So large by_i are
    first scaled down, by a power of two, as is g_i.
    """
    down = jnp.where(by > 2.0**60, 2.0**-64, 1.0)
    return grads * down[:, None] / (by * down)[:, None]


@jax.custom_jvp
def squared(rows: Float[Array, "*m d"]) -> Float[Array, "*m"]:
    """Squared Euclidean norms. The derivative is 0, not NaN, where they are not finite. One read."""
    return blocks.added_up(jnp.einsum("...d,...d->...", rows, rows, precision=HIGHEST))


@squared.defjvp
def _squared_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (rows,), (moved,) = primals, tangents
    squares = squared(rows)
    known = jnp.where(jnp.isfinite(squares)[..., None], rows, 0.0)
    return squares, 2 * blocks.added_up(jnp.einsum("...d,...d->...", known, moved, precision=HIGHEST))


def norms(grads: Float[Array, "m d"]) -> Float[Array, " m"]:
    """Euclidean norms; +inf for a row with a NaN or an infinity, or with a norm beyond float32. One read.

    A row whose squared norm would overflow or underflow is first divided by its largest entry, so that entries such as
    1e38 or 1e-30 count. The derivative is 0, not NaN, for a row of zeros.

    >>> print(norms(jnp.array([[3.0, 4.0], [1.0, jnp.inf]])))
    [ 5. inf]
    """

    return _square_roots(squared(grads), grads, lambda row: row)


def distances_to(grads: Float[Array, "m d"], point: Float[Array, " d"]) -> Float[Array, " m"]:
    """Euclidean distances ||g_i - p||, as precise as `norms`. 1.3 reads.

    >>> print(distances_to(jnp.array([[4.0, 5.0], [1.0, jnp.inf]]), jnp.array([1.0, 1.0])))
    [ 5. inf]
    """
    return _square_roots(sq_distances_to(grads, point), grads, lambda row: row - point)


def _square_roots(
    squares: Float[Array, " m"], grads: Float[Array, "m d"], vector: Callable[[Float[Array, " d"]], Float[Array, " d"]]
) -> Float[Array, " m"]:
    """The norms of vector(row), whose squares are `squares`; where these are extreme, again after scaling."""
    ordinary = jnp.isfinite(squares) & (squares > 1e-24)
    roots = jnp.sqrt(jnp.where(ordinary, squares, 1.0))

    def norm(known: Bool[Array, ""], root: Float[Array, ""], row: Float[Array, " d"]) -> Float[Array, ""]:
        return jax.lax.cond(known, lambda: root, lambda: _scaled_norm(vector(row)))

    return jax.lax.cond(ordinary.all(), lambda: roots, lambda: per_row(norm, ordinary, roots, grads))


def _scaled_norm(row: Float[Array, " d"]) -> Float[Array, ""]:
    """The norm as largest entry * norm of the row divided by it."""
    largest = blocks.largest(jax.lax.stop_gradient(jnp.abs(row).max()))
    finite = jnp.isfinite(largest)
    scale = jnp.where(finite & (largest > 0), largest, 1.0)
    unit = safe_divide(jnp.where(finite, row, 0.0)[None], scale[None])
    squares = blocks.added_up(jnp.vdot(unit, unit, precision=HIGHEST))
    relative = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
    return jnp.where(finite, scale * relative, jnp.inf)


def row_sum(term: Callable[..., Num[Array, " d"]], *arrays: Array) -> Num[Array, " d"]:
    """sum_i term(a_i, b_i, ...) over the leading axis, from i = 0 upwards. One read.

    The sum is unrolled row by row, so that XLA fuses the terms and the sum into one loop over the columns. A product
    with a vector of weights would need a copy of the matrix to leave rows out, and `sum(axis=0)` is slow on a CPU.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> print(row_sum(lambda row: jnp.sign(row - 4), grads))  # votes of the workers
    [-1.  3.]
    """
    m = len(arrays[0])
    at_once = m if m <= ONE_LOOP_ROWS else UNROLL_ROWS
    first = m % at_once or at_once  # rows in the first block, so that all later blocks are whole

    def terms(start: Int[Array, ""] | int, count: int) -> list[Num[Array, " d"]]:
        # row by row: a slice of several rows would be a copy
        rows = [[jax.lax.dynamic_index_in_dim(a, start + i, keepdims=False) for a in arrays] for i in range(count)]
        return [term(*row) for row in rows]

    def add(total: Num[Array, " d"], start: Int[Array, ""]) -> tuple[Num[Array, " d"], None]:
        return functools.reduce(jnp.add, terms(start, at_once), total), None

    return jax.lax.scan(add, functools.reduce(jnp.add, terms(0, first)), jnp.arange(first, m, at_once))[0]


ONE_LOOP_ROWS = 32  # with more rows in one loop compiling takes longer, and running is slower
UNROLL_ROWS = 16  # rows of a block, where one loop is not enough


def per_row_sum(
    term: Callable[..., Num[Array, "..."]], grads: Float[Array, "m d"], *vectors: Num[Array, " d"] | Bool[Array, " d"]
) -> Num[Array, " m"]:
    """sum_c term(g_ic, v_c, ...) for each row i, of terms that treat each entry by itself. 1.3 reads on a CPU.

    On a CPU XLA would go through a row entry by entry, and write the matrix of the terms before. So the row is cut into
    parts of equal width, and the terms of all parts are added up first, place by place, in one loop without a copy.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> print(per_row_sum(lambda entry, centre: jnp.abs(entry - centre), grads, jnp.array([2.0, 6.0])))
    [2. 1. 7.]
    """
    known = [computed_once(v, grads)[None] for v in vectors]

    def terms(rows: Float[Array, "m d"], start: int, end: int | None) -> Num[Array, "m w"]:
        return term(rows[:, start:end], *(v[:, start:end] for v in known))

    def total(terms: Num[Array, "m w"]) -> Num[Array, " m"]:
        if jnp.issubdtype(terms.dtype, jnp.integer):
            return terms.sum(axis=1)
        return jnp.einsum("mw,w->m", terms, jnp.ones(terms.shape[1], terms.dtype), precision=HIGHEST)

    def in_parts(grads: Float[Array, "m d"]) -> Num[Array, " m"]:
        width = grads.shape[1] // ROW_PARTS
        parts = [terms(grads, k * width, (k + 1) * width) for k in range(ROW_PARTS)]
        return total(functools.reduce(jnp.add, parts)) + total(terms(grads, ROW_PARTS * width, None))

    return blocks.added_up(blocked(in_parts, lambda grads: total(terms(grads, 0, None)), grads))


ROW_PARTS = 16  # parts of a row: with 8 their sums are twice as long, and with 32 nothing is faster


def computed_once(vector: Num[Array, " d"] | Bool[Array, " d"], grads: Float[Array, "m d"]) -> Array:
    """`vector`, computed before what uses it. Otherwise XLA may compute it again for each row that it is compared with.

    XLA does not fuse across a condition; this one always holds, whatever `grads` are.
    """
    first = grads[:1, :1]
    return jax.lax.cond((first == first).all() | (first != first).any(), lambda v: v, jnp.zeros_like, vector)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def sq_distances_to(grads: Float[Array, "m d"], point: Float[Array, " d"], scale: float = 1.0) -> Float[Array, " m"]:
    """sum_c (scale (g_ic - p_c))^2 for each row i. 1.3 reads. The derivative is 0, not NaN, where it is not finite.

    >>> print(sq_distances_to(jnp.array([[3.0, 5.0], [jnp.inf, 0.0]]), jnp.array([0.0, 1.0])))
    [25. inf]
    """
    return per_row_sum(lambda entry, at: jnp.square(scale * (entry - at)), grads, point)


@sq_distances_to.defjvp
def _sq_distances_to_jvp(
    scale: float, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (grads, point), (moved, point_moved) = primals, tangents
    squares = sq_distances_to(grads, point, scale)
    away = jnp.where(jnp.isfinite(squares)[:, None], grads - point[None], 0.0)
    along = jnp.einsum("md,md->m", away, moved - point_moved[None], precision=HIGHEST)
    return squares, 2 * scale**2 * blocks.added_up(along)


def per_row(f: Callable[..., Array], *arrays: Array) -> Array:
    """f(a_i, b_i, ...) for each i of the leading axis, one after another, stacked.

    Use it if f reads a computed vector, such as the median. In a broadcast XLA would fuse the computation of that
    vector, a whole sorting network, into the loop over the rows and repeat it for each row. `lax.map` computes it once,
    before the loop.

    >>> from byzsim.ops import median
    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> centre = median(grads)
    >>> print(per_row(lambda row: jnp.abs(row - centre).sum(), grads))
    [2. 1. 7.]
    """
    return jax.lax.map(lambda each: f(*each), arrays)


def weighted_sum(weight: Float[Array, " m"], grads: Float[Array, "m d"]) -> Float[Array, " d"]:
    """sum_i weight_i g_i. Rows of weight 0 are ignored, even NaN and inf (0 * inf would be NaN). One read.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [jnp.nan, jnp.inf]])
    >>> print(weighted_sum(jnp.array([0.5, 0.5, 0.0]), grads))
    [1.5 6. ]
    """
    return row_sum(times, weight.astype(grads.dtype), grads)


def times(w: Float[Array, ""], row: Float[Array, " d"]) -> Float[Array, " d"]:
    """w * row, and 0 for w = 0, even if the row has NaN or inf."""
    # the inner condition keeps a NaN out of the derivative by w
    return jnp.where(w == 0, 0.0, w * jnp.where(w == 0, 0.0, row))


def mix_rows(weights: Float[Array | np.ndarray, "k m"], grads: Float[Array, "m d"]) -> Float[Array, "k d"]:
    """The rows sum_j W_ij g_j. A row i with W_ij != 0 for a row j that is not usable is NaN. Two reads."""
    usable, weights = usable_rows(grads), weights.astype(grads.dtype, copy=False)

    def mixed(rows: Float[Array, "m d"]) -> Float[Array, "k d"]:
        return jnp.einsum("km,md->kd", weights, rows, precision=HIGHEST)

    # the matrix is copied only if it has rows that are not usable
    out = jax.lax.cond(usable.all(), mixed, lambda rows: mixed(jnp.where(usable[:, None], rows, 0.0)), grads)
    spoilt = ((weights != 0) & ~usable[None]).any(axis=1)
    return jnp.where(spoilt[:, None], jnp.nan, out)


def uniform_weights(mask: Bool[Array, " m"]) -> Float[Array, " m"]:
    """Equal weights on the rows in `mask`, with sum 1; zeros if it is empty.

    >>> print(uniform_weights(jnp.array([True, False, True])))
    [0.5 0.  0.5]
    """
    return mask / jnp.maximum(mask.sum(), 1)


def masked_mean(grads: Float[Array, "m d"], mask: Bool[Array, " m"]) -> Float[Array, " d"]:
    """The mean of the rows in `mask`, as a sum and one division; zero if it is empty.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> print(masked_mean(grads, jnp.array([True, True, False])))
    [1.5 6. ]
    """
    return weighted_sum(mask.astype(grads.dtype), grads) / jnp.maximum(mask.sum(), 1)


def masked_std(
    grads: Float[Array, "m d"], mask: Bool[Array, " m"], mean: Float[Array, " d"], *, ddof: int = 0
) -> Float[Array, " d"]:
    """The standard deviation of each coordinate of the rows in `mask` around `mean`; zero if there are too few rows.

    The divisor is the number of rows minus `ddof`.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> kept = jnp.array([True, True, False])
    >>> print(masked_std(grads, kept, masked_mean(grads, kept)))
    [0.5 1. ]
    """
    squares = row_sum(lambda counts, row: jnp.where(counts, (row - mean) ** 2, 0.0), mask, grads)
    return jnp.sqrt(squares / jnp.maximum(mask.sum() - ddof, 1))


def blocked(
    in_blocks: Callable[[Array], Array], at_once: Callable[[Array], Array], grads: Float[Array, "m d"]
) -> Array:
    """in_blocks(grads) on a CPU, else at_once(grads).

    Where several devices share the columns (`byzsim.worker_sharding`) it is at_once(grads), too: cutting blocks of
    columns would gather the matrix on each device.
    """
    if worker_sharding.parts() > 1:
        return at_once(grads)
    return platforms.on_cpu(grads, cpu=in_blocks, default=at_once)
