"""Arithmetic over the worker axis that several rules share: cheap in passes over the (m, d) matrix, safe with bad rows.

Costs are reads of the matrix. On a CPU `G.mean(0)` and `jnp.median(G, 0)` are one to two orders of magnitude slower
than they must be; here a mean is a product with a row of weights, and an order statistic along the worker axis is a
sorting network that XLA fuses into one loop, or, for many workers, a bitonic sorter on blocks of columns.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import spread
from byzsim.types import Traced
from jaxtyping import Array, Bool, Float, Int, Num

__all__ = [
    "gram",
    "masked_mean",
    "masked_std",
    "median",
    "middle_ranks",
    "midpoint",
    "norms",
    "order_statistics",
    "per_row",
    "preference",
    "ranks",
    "row_sum",
    "share",
    "sorted_rows",
    "sq_distances",
    "usable_rows",
    "weighted_sum",
    "window_of",
]
"""For rules and attacks of one's own: docs/fast-rules.md. All else may change its name."""

HIGHEST = jax.lax.Precision.HIGHEST  # never TF32 or bf16 in means and distances


def usable_rows(grads: Float[Array, "m d"]) -> Bool[Array, " m"]:
    """Rows whose squared Euclidean norm is finite in their dtype, one read. Figures are of float32:

    A row with a NaN or an infinity is not usable, and neither is one of norm above 1.8e19, whose distances to others
    would overflow. Selection rules treat all of these alike: as infinitely far from everybody, never selected.

    >>> print(usable_rows(jnp.array([[1.0, 2.0], [1.0, jnp.nan], [1e20, 0.0]])))
    [ True False False]
    """
    return jnp.isfinite(jnp.einsum("md,md->m", grads, grads, precision=HIGHEST))


def divided(grads: Float[Array, "m d"], by: Float[Array, " m"]) -> Float[Array, "m d"]:
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
    unit = divided(jnp.where(finite, row, 0.0)[None], scale[None])
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
    at_once = min(m, UNROLLED)
    first = m % at_once or at_once

    def some(start, count):
        block = [jax.lax.dynamic_slice_in_dim(a, start, count) for a in arrays]
        return functools.reduce(jnp.add, [term(*(a[i] for a in block)) for i in range(count)])

    starts = jnp.arange(first, m, at_once)
    return jax.lax.scan(lambda total, start: (total + some(start, at_once), None), some(0, first), starts)[0]


UNROLLED = 32  # rows in one loop: beyond, compiling takes longer and nothing is gained


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


def share(mask: Bool[Array, " m"]) -> Float[Array, " m"]:
    """Equal weights on the rows of `mask`, summing to 1; all zero if it is empty.

    >>> print(share(jnp.array([True, False, True])))
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
        width = min(d, COLUMNS)

        def add(total, start):
            return total + at_once(jax.lax.dynamic_slice_in_dim(grads, start, width, axis=1)), None

        return jax.lax.scan(add, at_once(grads[:, d - d % width :]), jnp.arange(0, d - d % width, width))[0]

    return _blocked(in_blocks, at_once, grads)


def _blocked(in_blocks: Callable[[Array], Array], at_once: Callable[[Array], Array], grads: Float[Array, "m d"]):
    """In blocks of columns on a CPU; but where devices share the columns, cutting them would gather the matrix."""
    if spread.parts() > 1:
        return at_once(grads)
    return jax.lax.platform_dependent(grads, cpu=in_blocks, default=at_once)


COLUMNS = 2048  # of a block


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


def powered(squared: Float[Array, "*n"], power: Literal[1, 2, 4]) -> Float[Array, "*n"]:
    """Distances to a power, from squared ones; beyond float32 +inf. Derivative 0, not NaN, where a distance is 0."""
    if power == 1:
        return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
    return squared if power == 2 else squared * squared


KrumDefinition = Literal["blanchard2017", "byzfl", "byzantine_momentum", "torchjd", "epfml", "ndss21", "alie"]
KRUM: dict[str, tuple[Literal[1, 2, 4], int]] = {
    "blanchard2017": (2, 2),
    "byzfl": (2, 1),
    "byzantine_momentum": (1, 1),
    "torchjd": (1, 2),
    "epfml": (4, 2),
    "ndss21": (2, 3),
    "alie": (1, 0),
}
"""Who -> (power p of the distances in Krum's score, k in the m - f - k nearest others that it counts)."""


def krum_scores(
    squared: Float[Array, "m m"], f: Int[Array, ""] | int, definition: KrumDefinition, alive: Bool[Array, " m"]
) -> Float[Array, " m"]:
    """Sum of ||g_i - g_j||^p over the r - f - k nearest others j that are alive, at least one; +inf for the others.

    r is how many rows are `alive`, p and k are those of `KRUM`. Of `sq_distances`, O(m^2 log m).
    """
    power, fewer = KRUM[definition]
    distances = jnp.where(alive & alive[:, None], powered(squared, power), jnp.inf)
    return jnp.where(alive, _nearest_sum(_to_others(distances), alive.sum() - f - fewer), jnp.inf)


def preference(score: Float[Array, " m"], usable: Bool[Array, " m"]) -> Int[Array, " m"]:
    """Place of each row, from 0 for the smallest score; of equal scores `usable` rows come first, then low indices.

    >>> print(preference(jnp.array([0.3, 0.1, 0.3]), usable=jnp.array([False, True, True])))
    [2 0 1]
    """
    return jnp.argsort(jnp.lexsort((jnp.arange(len(score)), ~usable, score)))


def krum_winners(
    squared: Float[Array, "m m"], f: Int[Array, ""] | int, definition: KrumDefinition, count: Int[Array, ""] | int
) -> Bool[Array, " m"]:
    """The `count` rows that `krum_scores` picks one after another, each time among those that are left.

    Usable rows only, so fewer where there are not as many. O(m^3), nothing in d; may be traced all through.
    """
    power, fewer = KRUM[definition]
    squared = jax.lax.stop_gradient(jnp.minimum(squared, squared.T))  # ties of a pair nearest to each other are exact
    usable = jnp.isfinite(jnp.diagonal(squared))
    distances = powered(squared, power)

    def pick(near, alive):
        score = _nearest_sum(near, alive.sum() - f - fewer)
        open_to = usable & alive
        best = jnp.argmax(open_to & (score <= jnp.where(open_to, score, jnp.inf).min()))
        farther = jnp.pad(near, ((0, 0), (0, 1)), constant_values=jnp.inf)[:, 1:]
        left = jnp.where(near < distances[best][:, None], near, farther)  # what is from the chosen one on moves up
        return left, alive & ~(open_to & (jnp.arange(len(alive)) == best))

    def step(carry, i):
        return jax.lax.cond(i < count, pick, lambda *carry: carry, *carry), None

    everybody = jnp.ones(len(squared), bool)
    return ~jax.lax.scan(step, (_to_others(distances), everybody), jnp.arange(len(squared)))[0][1]


def _to_others(distances: Float[Array, "m m"]) -> Float[Array, "m m-1"]:
    """Each row's distances to the others, upwards."""
    return jnp.sort(distances.at[jnp.diag_indices(len(distances))].set(-1.0), axis=1)[:, 1:]


def _nearest_sum(near: Float[Array, "m m-1"], count: Int[Array, ""]) -> Float[Array, " m"]:
    """The sum of the first `count`, at least one, of each row."""
    counted = jnp.arange(near.shape[1]) < jnp.maximum(count, 1)
    return jnp.where(counted, near, 0.0).sum(axis=1)


@functools.cache
def subsets(m: int, size: int) -> Bool[np.ndarray, "n m"]:
    """All subsets of `size` of m workers as masks, in lexicographic order of the workers kept. Static; do not write."""
    kept = np.array(list(itertools.combinations(range(m), size)), int)
    masks = np.zeros((len(kept), m), bool)
    masks[np.arange(len(kept))[:, None], kept] = True
    return masks


def mix(weights: Float[Array | np.ndarray, "k m"], grads: Float[Array, "m d"]) -> Float[Array, "k d"]:
    """The rows sum_j W_ij g_j; NaN for a row that gives weight, other than 0, to one that is not usable. Two reads."""
    usable, weights = usable_rows(grads), weights.astype(grads.dtype, copy=False)

    def mixed(rows):
        return jnp.einsum("km,md->kd", weights, rows, precision=HIGHEST)

    # a copy of the matrix only where it has to be
    out = jax.lax.cond(usable.all(), mixed, lambda rows: mixed(jnp.where(usable[:, None], rows, 0.0)), grads)
    spoilt = ((weights != 0) & ~usable).any(axis=1)
    return jnp.where(spoilt[:, None], jnp.nan, out)


def ranks(values: Float[Array, "*n m"] | Int[Array, "*n m"]) -> Int[Array, "*n m"]:
    """Rank of each value in its row, from 0 for the smallest; equal values by lowest index first, NaN last.

    >>> print(ranks(jnp.array([0.3, 0.1, jnp.nan, 0.2])))
    [2 0 3 1]
    """
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


NETWORK = 128  # rows: beyond, a network takes longer to compile than it saves


def order_statistics(
    grads: Float[Array, "m d"], wanted: Sequence[int]
) -> Float[Array, "k d"] | Sequence[Float[Array, " d"]]:
    """The rows of the column-wise sorted matrix that stand at the few `wanted` ranks (0 is the smallest).

    NaN counts as +inf. O(md log^2 m). Up to `NETWORK` rows a sorting network, for rows with one use: one read.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> lowest, middle = order_statistics(grads, [0, 1])
    >>> print(lowest, middle)
    [1. 5.] [2. 6.]
    """
    return _at_ranks(grads, tuple(wanted), len(grads) <= NETWORK)


def median(grads: Float[Array, "m d"]) -> Float[Array, " d"]:
    """The median of each column, the mean of the two middle values where m is even. NaN counts as +inf. One read.

    >>> print(median(jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0], [4.0, jnp.nan]])))
    [3.  6.5]
    """
    return midpoint(*order_statistics(grads, middle_ranks(len(grads))))


def sorted_rows(grads: Float[Array, "m d"]) -> Float[Array, "m d"]:
    """The column-wise sorted matrix; NaN counts as +inf. O(md log^2 m).

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> print(sorted_rows(grads))
    [[1. 5.]
     [2. 6.]
     [9. 7.]]
    """
    return _at_ranks(grads, tuple(range(len(grads))), False)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _at_ranks(grads: Float[Array, "m d"], wanted: tuple[int, ...], network: bool) -> Any:
    """A list of rows from the network, else a matrix of them."""

    def ordered(sort, rows):
        return sort(jnp.where(jnp.isnan(rows), jnp.inf, rows))[np.array(wanted)]

    def in_blocks(grads):
        return _by_columns(functools.partial(ordered, _bitonic), grads, len(wanted))

    def at_once(grads):
        return ordered(functools.partial(jnp.sort, axis=0), grads)

    return _by_network(grads, wanted) if network else _blocked(in_blocks, at_once, grads)


def _at_ranks_forward(grads: Float[Array, "m d"], wanted: tuple[int, ...], network: bool):
    return _at_ranks(grads, wanted, network), grads


def _at_ranks_backward(wanted: tuple[int, ...], network: bool, grads: Float[Array, "m d"], cotangents):
    pulls = jnp.stack(cotangents) if network else cotangents

    def pull(rank):
        return row_sum(lambda r, c: jnp.where(rank == r, c, 0.0), jnp.array(wanted), pulls)

    return (_to_entries(grads, pull),)


def _to_entries(grads: Float[Array, "m d"], pull: Callable[[Int[Array, " d"]], Float[Array, " d"]]) -> Array:
    """pull(rank) of every entry's rank in its column. Of a network's own derivative XLA would compute parts many times.

    A NaN gets 0.
    """
    workers = jnp.arange(len(grads))
    numbers = jnp.where(jnp.isnan(grads), jnp.inf, grads)

    def of(i):
        rank = row_sum(lambda j, row: ((row < numbers[i]) | ((row == numbers[i]) & (j < i))) * 1, workers, numbers)
        return jnp.where(jnp.isnan(grads[i]), 0.0, pull(rank))

    return jax.lax.map(of, workers)


_at_ranks.defvjp(_at_ranks_forward, _at_ranks_backward)


def _by_network(grads: Float[Array, "m d"], wanted: tuple[int, ...]) -> list[Float[Array, " d"]]:
    rows = [jnp.where(jnp.isnan(row), jnp.inf, row) for row in grads]
    for low, high, use_low, use_high in sorting_network(len(rows), tuple(sorted(set(wanted)))):
        a, b = rows[low], rows[high]
        if use_low:
            rows[low] = jnp.minimum(a, b)
        if use_high:
            rows[high] = jnp.maximum(a, b)
    return [rows[rank] for rank in wanted]


@jax.custom_vjp
def ranked_sum(grads: Float[Array, "m d"], counted: Bool[Array, " m"]) -> Float[Array, " d"]:
    """The sum, upwards, of the values at the `counted` ranks of each column, which may be traced.

    What is not counted does not matter, whatever it holds. NaN counts as +inf. O(md log^2 m), a network: one read. In a
    condition, so that XLA makes a loop of it and nothing else: two sums in one take several times as long.
    """

    def total():
        rows = _by_network(grads, tuple(range(len(grads))))
        return functools.reduce(jnp.add, [jnp.where(counted[rank], row, 0.0) for rank, row in enumerate(rows)])

    return jax.lax.cond(counted.any(), total, lambda: jnp.zeros(grads.shape[1], grads.dtype))


def _ranked_sum_forward(grads: Float[Array, "m d"], counted: Bool[Array, " m"]):
    return ranked_sum(grads, counted), (grads, counted)


def _ranked_sum_backward(kept, cotangent: Float[Array, " d"]):
    grads, counted = kept
    return _to_entries(grads, lambda rank: jnp.where(counted[rank], cotangent, 0.0)), None


ranked_sum.defvjp(_ranked_sum_forward, _ranked_sum_backward)


def _by_columns(
    f: Callable[[Float[Array, "m w"]], Float[Array, "k w"]], grads: Float[Array, "m d"], k: int
) -> Float[Array, "k d"]:
    """f of blocks of `SORTED` columns, side by side; the last block begins early enough to be a whole one."""
    d = grads.shape[1]
    width = min(d, SORTED)

    def put(i, out):
        start = jnp.minimum(i * width, d - width)
        block = f(jax.lax.dynamic_slice_in_dim(grads, start, width, axis=1))
        return jax.lax.dynamic_update_slice_in_dim(out, block, start, axis=1)

    return jax.lax.fori_loop(0, -(-d // width), put, jnp.zeros((k, d), grads.dtype))


SORTED = 128  # columns of a block: 1,000 rows of it fit into half a megabyte


def _bitonic(rows: Float[Array, "m w"]) -> Float[Array, "n w"]:
    """The rows in order, column by column, then +inf up to a power of two of them: Batcher's bitonic sorter.

    Each of its log n (log n + 1) / 2 stages is one operation on all rows, so it compiles in a second.
    """
    m, w = rows.shape
    levels = (m - 1).bit_length()

    def exchanged(a, b):
        return jnp.stack([jnp.minimum(a, b), jnp.maximum(a, b)], axis=1)

    rows = jnp.pad(rows, ((0, 2**levels - m), (0, 0)), constant_values=jnp.inf)
    for level in range(levels):  # runs of 2^level rows are in order: merge two by two, the second from its end
        runs = rows.reshape(-1, 2, 2**level, w)
        rows = exchanged(runs[:, 0], runs[:, 1, ::-1])
        for finer in reversed(range(level)):
            halves = rows.reshape(-1, 2, 2**finer, w)
            rows = exchanged(halves[:, 0], halves[:, 1])
    return rows.reshape(-1, w)


def at_rank(ordered: Float[Array, "m d"], rank: Int[Array, "*d"] | int) -> Float[Array, " d"]:
    """The values at a rank that may be traced, of `sorted_rows`."""
    return jnp.take_along_axis(ordered, jnp.broadcast_to(rank, (1, ordered.shape[1])), axis=0, mode="clip")[0]


def window(
    ordered: Float[Array, "m d"], start: Int[Array, "*d"] | int, count: Int[Array, ""] | int
) -> Float[Array, " d"]:
    """Mean of `count` of the `sorted_rows` from rank `start` on, column by column, summed upwards; one read.

    What lies outside of the window does not count, whatever it holds: sums of all up to a rank would lose the digits of
    ordinary values next to an outlier.
    """
    inside = row_sum(
        lambda r, row: jnp.where((start <= r) & (r < start + count), row, 0.0), jnp.arange(len(ordered)), ordered
    )
    return inside / count


def window_share(
    grads: Float[Array, "m d"],
    ordered: Float[Array, "m d"],
    start: Int[Array, "*d"] | int,
    count: Int[Array, ""] | int,
) -> Float[Array, " m"]:
    """Each row's share in the windows of `window`, ends included (`share_within`); one read."""
    return share_within(grads, at_rank(ordered, start), at_rank(ordered, start + count - 1))


def window_of(
    grads: Float[Array, "m d"], start: Int[Array, ""] | int, count: Int[Array, ""] | int
) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
    """`window` and `window_share` of rows in any order, for the same ranks in all columns.

    Up to `NETWORKS` rows by three sorting networks with one row each to give: in less time than all rows in order.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> trimmed_mean, weight = window_of(grads, 1, 1)  # of m = 3 without the f = 1 smallest and largest
    >>> print(trimmed_mean, weight)
    [2. 6.] [0.  0.5 0.5]
    """
    if len(grads) > NETWORKS:
        ordered = sorted_rows(grads)
        return window(ordered, start, count), window_share(grads, ordered, start, count)
    rank, last = jnp.arange(len(grads)), start + count - 1
    inside = ranked_sum(grads, (start <= rank) & (rank <= last))
    return inside / count, share_within(grads, ranked_sum(grads, rank == start), ranked_sum(grads, rank == last))


NETWORKS = 64  # rows: beyond, three networks take as long as the bitonic sorter, and seconds to compile


def nearest_start(ordered: Float[Array, "m d"], centre: Float[Array, " d"], count: Int[Array, ""]) -> Int[Array, " d"]:
    """Where the window of the `count` >= 1 sorted values nearest to `centre` starts; of equally near ones the smaller.

    The nearest values are neighbours in the order, so the window moves up while the next value above it is nearer than
    its lowest: a condition that holds up to some rank and not after it, so its holds are counted. Two reads.
    """
    m = len(ordered)

    def moves(r, lowest):
        above = jnp.where(r + count < m, ordered[jnp.minimum(r + count, m - 1)], jnp.inf)
        return (above - centre < centre - lowest).astype(jnp.int32)

    return row_sum(moves, jnp.arange(m), ordered)


def share_within(grads: Float[Array, "m d"], low: Float[Array, " d"], high: Float[Array, " d"]) -> Float[Array, " m"]:
    """Each row's share of all entries from `low` to `high`, both included; NaN counts as +inf. One read."""

    def hits(row):
        value = jnp.where(jnp.isnan(row), jnp.inf, row)
        return ((low <= value) & (value <= high)).astype(jnp.float32).mean()

    inside = per_row(hits, grads)
    return inside / jnp.where(inside.sum() > 0, inside.sum(), 1.0)


def per_row(f: Callable[..., Array], *arrays: Array) -> Array:
    """f(a_i, b_i, ...) over the leading axis, one after another, stacked.

    For an f that reads a computed vector, such as the median: a loop has its inputs ready, where XLA would fuse the
    whole sorting network into the broadcast of its result and run it once for each row.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> centre = median(grads)
    >>> print(per_row(lambda row: jnp.abs(row - centre).sum(), grads))
    [2. 1. 7.]
    """
    return jax.lax.map(lambda each: f(*each), arrays)


def midpoint(low: Float[Array, "*d"], high: Float[Array, "*d"]) -> Float[Array, "*d"]:
    """The mean of two values without overflow; an infinity when either is one.

    >>> print(midpoint(jnp.array([1.0, 3e38]), jnp.array([4.0, 3.2e38])))
    [2.5e+00 3.1e+38]
    """
    gap = high - low
    return jnp.where(jnp.isfinite(gap), low + gap / 2, low / 2 + high / 2)


def middle_ranks(m: int) -> tuple[int, int]:
    """Ranks of the lower and the upper middle of m values; the same when m is odd.

    >>> middle_ranks(7), middle_ranks(8)
    ((3, 3), (3, 4))
    """
    return (m - 1) // 2, m // 2


def alie_z(
    byz: Bool[Array, " m"], formula: Literal["honest", "all"] = "honest", *, clamp: bool = True
) -> Float[Array, ""]:
    """The largest shift, in standard deviations, that still finds enough supporters (Baruch et al. 2019).

    z_max = Phi^-1((n - s) / n), s = max(floor(m / 2 + 1) - n_byz, 1), n = m - n_byz, or m if supporters are sought
    among "all"; at least 0 if clamped; the fraction is kept within 1e-6 of 0 and 1.
    """
    m = len(byz)
    among = (~byz).sum() if formula == "honest" else m
    supporters = jnp.maximum(m // 2 + 1 - byz.sum(), 1)
    fraction = (among - supporters) / jnp.maximum(among, 1)
    return jax.scipy.stats.norm.ppf(jnp.clip(fraction, 0.5 if clamp else 1e-6, 1 - 1e-6))


def harm_of(
    p: Float[Array, " d"],
    sent: Float[Array, "m d"],
    byz: Bool[Array, " m"],
    aggregate: Callable[[Float[Array, "m d"]], Float[Array, " d"]],
) -> Float[Array, ""]:
    """Squared distance of the aggregate from the honest mean when every Byzantine row is p; +inf if not finite."""
    missed = aggregate(jnp.where(byz[:, None], p, sent)) - masked_mean(sent, ~byz)
    harm = jnp.vdot(missed, missed)
    return jnp.where(jnp.isfinite(harm), harm, jnp.inf)


LINE_SEARCHES: dict[str, dict[str, Any]] = {
    "byzantine_momentum": {"evals": 16, "delta": 1.0},
    "byzfl": {"evals": 20, "delta": 10.0, "both_ways": False},
}
"""Who -> how `line_maximize` is called there."""


def line_maximize(
    score: Callable[[Float[Array, ""]], Float[Array, ""]],
    *,
    evals: int = 16,
    start: float = 0.0,
    delta: float = 1.0,
    ratio: float = 0.8,
    both_ways: bool = True,
) -> Float[Array, ""]:
    """The x >= 0 of the highest score among `evals` tried ones, the first of equals (as in ByzantineMomentum).

    First `start`; then best + delta while that is better, with delta doubled each time; from the first that is not on,
    delta shrinks by `ratio` each time and the last tried x moves by it towards the best (down if it is the best
    itself; a step below 0 is halved until it is not). Not `both_ways`: it is best + delta to the end (as in byzfl), so
    nothing below the best is ever tried.
    """

    def attempt(carry, i):
        best, top, x, delta, growing = carry
        if both_ways:
            x = jnp.where(growing, best + delta, jnp.where(x < best, x + delta, _step_down(x, delta)))
        else:
            x = best + delta
        x = jnp.where(i == 0, start, x)
        y = score(x)
        better = y > top
        grown = delta * jnp.where(growing & better, 2.0, ratio)
        growing = growing & (better | (i == 0))
        best, top = jnp.where(better, x, best), jnp.where(better, y, top)
        return (best, top, x, jnp.where(i == 0, delta, grown), growing), None

    dtype = jax.eval_shape(score, jnp.float32(start)).dtype
    first = tuple(jnp.asarray(value, dtype) for value in (start, -jnp.inf, start, delta))
    return jax.lax.scan(attempt, (*first, jnp.asarray(True)), jnp.arange(evals))[0][0]


def _step_down(x, delta):
    """x - delta, with delta halved until this is not negative."""
    return jax.lax.fori_loop(0, 60, lambda _, lower: jnp.where(lower < 0, (lower + x) / 2, lower), x - delta)


def perturbation(
    direction: Literal["unit", "sign", "std"],
    sent: Float[Array, "m d"],
    byz: Bool[Array, " m"],
    mean: Float[Array, " d"],
) -> Float[Array, " d"]:
    """Where min-max and min-sum move: mean / ||mean|| (zero if that is), its sign, or the honest deviation (ddof 1)."""
    if direction == "sign":
        return jnp.sign(mean)
    if direction == "std":
        return masked_std(sent, ~byz, mean, ddof=1)
    length = jnp.linalg.norm(mean)
    return mean / jnp.where(length > 0, length, 1.0)


def shift_terms(
    sent: Float[Array, "m d"], mean: Float[Array, " d"], p: Float[Array, " d"]
) -> tuple[Float[Array, " m"], Float[Array, " m"], Float[Array, ""]]:
    """a, b, c with ||mean - gamma p - g_i||^2 = a_i - 2 gamma b_i + gamma^2 c for all gamma; one read."""
    a, b = per_row(lambda row: jnp.stack([jnp.vdot(mean - row, mean - row), jnp.vdot(mean - row, p)]), sent).T
    return a, b, jnp.vdot(p, p)


def largest_step(fits: Callable[[Float[Array, ""]], Bool[Array, ""]], first: Traced) -> Float[Array, ""]:
    """The largest gamma that fits, as the halving search of the NDSS 2021 notebooks finds it; 0 if none was met.

    From gamma = first, step = first / 2: a gamma that fits is noted and grows by the step, another shrinks by it, and
    the step is halved; until gamma and the last one noted are within 1e-5, at most 50 times.
    """

    def attempt(carry, _):
        gamma, step, found = carry
        going, good = jnp.abs(found - gamma) > 1e-5, fits(gamma)
        found = jnp.where(going & good, gamma, found)
        gamma = jnp.where(going, jnp.where(good, gamma + step, gamma - step), gamma)
        return (gamma, jnp.where(going, step / 2, step), found), None

    begin = jnp.asarray(first, jnp.result_type(first, jnp.float32))
    return jax.lax.scan(attempt, (begin, begin / 2, jnp.zeros_like(begin)), length=50)[0][2]


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
    centred = gram - pull[:, None] - pull + jnp.vdot(share, pull, precision=HIGHEST)
    root = jnp.sqrt(jax.lax.stop_gradient(share))
    values, vectors = _eigh(jax.lax.stop_gradient(centred) * root[:, None] * root)
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
"""On a CPU a batch of eigen-solves waits for threads of the very pool that it runs in: for ever, if cells on other
devices have taken them all. One matrix after another does not wait."""


def downweight(weight: Float[Array, " m"], tau: Float[Array, " m"]) -> Float[Array, " m"]:
    """weight_i (1 - tau_i / max tau), the maximum over rows of weight > 0; unchanged where that maximum is 0.

    A factor below 1e-5 is 0, so that copies of the farthest row fall with it: at least one row does in each call.
    """
    counted = jnp.where(weight > 0, tau, 0.0)
    largest = counted.max()
    factor = 1 - counted / jnp.where(largest > 0, largest, 1.0)
    return jnp.where(factor < 1e-5, 0.0, weight * factor)


def groups(m: int, r: int) -> Int[np.ndarray, " m"]:
    """The group of each of m workers when r of them share their batches. Static."""
    return np.minimum(np.arange(m) // r, m // r - 1)


def at_majority(rows: Float[Array, "m d"], alive: Bool[Array, " m"]) -> Float[Array, ""]:
    """The smallest radius around a row in `alive` that holds more than m/2 of these; +inf if there are not as many."""
    m = len(rows)
    apart = powered(sq_distances(rows), 1)
    apart = jnp.where(alive & alive[:, None], apart, jnp.inf)
    return jnp.sort(apart, axis=1)[:, m // 2].min()


def median_machine(
    rows: Float[Array, "m d"],
    alive: Bool[Array, " m"],
    radius: Traced,
    order: Int[Array, " m"],
    *,
    enough: int | None = None,
) -> Float[Array, " m"]:
    """Distances of all rows to a median machine: the first in `order` with `enough` rows of `alive` within `radius`.

    Only rows in `alive` are tried, and count, each itself among them; by default m // 2 + 1 are enough. If none has as
    many, it is the first of those with the most; all +inf if nobody is alive. O(md) for each that is tried, about two
    in a random order where most qualify; the others cost nothing.
    """
    enough = len(rows) // 2 + 1 if enough is None else enough

    def measured(best, i):
        distance = per_row(lambda row: jnp.linalg.norm(row - rows[i]), rows)
        count = (alive & (distance <= radius)).sum(dtype=jnp.int32)
        return jax.tree.map(lambda new, old: jnp.where(count > best[0], new, old), (count, distance), best)

    def attempt(best, i):
        return jax.lax.cond(alive[i] & (best[0] < enough), measured, lambda best, _: best, best, i), None

    nobody = (jnp.int32(0), jnp.full(len(rows), jnp.inf, rows.dtype))
    return jax.lax.scan(attempt, nobody, order)[0][1]


WeiszfeldStart = Literal["zero", "mean", "median", "lower_median"]


def weiszfeld(
    grads: Float[Array, "m d"],
    usable: Bool[Array, " m"],
    start: WeiszfeldStart,
    *,
    steps: int,
    nu: Traced,
    tolerance: Traced,
) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
    """Smoothed Weiszfeld steps towards the geometric median of the `usable` rows: (z, each row's share in it).

    w_i = 1 / max(nu, ||z - g_i||), z <- sum_i w_i g_i / sum_i w_i; at most `steps` times, and none after one that
    moved z by no more than `tolerance` times the harmonic mean of the distances, which neither rows far away nor a
    shift of all rows change. Two reads a step. A backward pass computes distances again, so it keeps a
    z for each step and never a matrix.
    """

    def half_square(counts, row, z):  # a whole one might overflow
        half = jnp.where(counts, row - z, 0.0) / 2
        return jnp.vdot(half, half)

    @jax.checkpoint
    def move(carry):
        z, _, _ = carry
        halves = per_row(lambda counts, row: half_square(counts, row, z), usable, grads)
        weight = jnp.where(usable, 0.5 / jnp.sqrt(jnp.maximum(halves, (nu / 2) ** 2)), 0.0)
        shares = weight / jnp.where(usable.any(), weight.sum(), 1.0)
        there = weighted_sum(shares, grads)
        spread = usable.sum() / jnp.where(usable.any(), weight.sum(), 1.0)
        moved = jnp.vdot(there - z, there - z) > (tolerance * spread) ** 2
        return there, shares, moved

    def step(carry, _):
        return jax.lax.cond(carry[2], move, lambda carry: carry, carry), None

    first = (_weiszfeld_start(grads, usable, start), jnp.zeros(len(grads), grads.dtype), jnp.asarray(True))
    return jax.lax.scan(step, first, length=steps)[0][:2]


def _weiszfeld_start(
    grads: Float[Array, "m d"], usable: Bool[Array, " m"], start: WeiszfeldStart
) -> Float[Array, " d"]:
    """Zero, the mean of the usable rows, or a median by coordinate, with rows that are not usable as +inf."""
    if start == "zero":
        return jnp.zeros(grads.shape[1], grads.dtype)
    if start == "mean":
        return weighted_sum(share(usable), grads)
    rows = jnp.where(usable[:, None], grads, jnp.inf)
    middle = median(rows) if start == "median" else order_statistics(rows, middle_ranks(len(rows))[:1])[0]
    return jnp.where(jnp.isfinite(middle), middle, 0.0)
