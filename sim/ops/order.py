"""Order statistics along the worker axis, means over windows of ranks, and ranks of scores.

Two ways to sort along the workers, both without data-dependent control flow:

1. A sorting network (`sorting_network`), a fixed list of (min, max) pairs between rows. XLA fuses it into one loop over
   the columns that reads the matrix once. Comparators on which no wanted rank depends are dropped, so a median costs
   much less than a full sort. Compilation time limits it to `NETWORK` rows.
2. A bitonic sorter (`_bitonic`) for more rows: log^2 m operations on all rows of a block of columns.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from byzsim.ops.rows import blocked, per_row, row_sum
from jaxtyping import Array, Bool, Float, Int


def order_statistics(
    grads: Float[Array, "m d"], wanted: Sequence[int]
) -> Float[Array, "k d"] | Sequence[Float[Array, " d"]]:
    """The rows at the `wanted` ranks of the column-wise sorted matrix. Rank 0 is the smallest; NaN counts as +inf.

    Cost: O(m d log^2 m). For m <= NETWORK this is a sorting network that XLA fuses into one pass over the matrix,
    provided that each returned row is used once.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> lowest, middle = order_statistics(grads, [0, 1])
    >>> print(lowest, middle)
    [1. 5.] [2. 6.]
    """
    return _at_ranks(grads, tuple(wanted), len(grads) <= NETWORK)


def median(grads: Float[Array, "m d"]) -> Float[Array, " d"]:
    """The median of each column; for even m the mean of the two middle values. NaN counts as +inf. One read.

    >>> print(median(jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0], [4.0, jnp.nan]])))
    [3.  6.5]
    """
    return midpoint(*order_statistics(grads, middle_ranks(len(grads))))


def sorted_rows(grads: Float[Array, "m d"]) -> Float[Array, "m d"]:
    """The matrix with each column sorted; NaN counts as +inf. Cost: O(m d log^2 m).

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> print(sorted_rows(grads))
    [[1. 5.]
     [2. 6.]
     [9. 7.]]
    """
    return _at_ranks(grads, tuple(range(len(grads))), False)


NETWORK = 128  # with more rows a network takes longer to compile than it saves


@functools.cache
def sorting_network(m: int, wanted: tuple[int, ...]) -> tuple[tuple[int, int, bool, bool], ...]:
    """Comparators (low, high, low is used, high is used) that move the values of the `wanted` ranks to these places.

    A comparator puts the smaller of two values at place `low` and the larger at place `high`; where a result is not
    used, it need not be computed. The network is Batcher's odd-even merge exchange (Knuth, TAOCP 3, algorithm 5.2.2M),
    which works for any m, without the comparators on which no wanted rank depends.
    """
    # from the outputs back to the inputs: `needed` are the places whose values matter after the comparator
    needed, kept = set(wanted), []
    for low, high in reversed(list(_merge_exchange(m))):
        if low in needed or high in needed:
            kept.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(kept))


def _merge_exchange(m: int) -> Iterator[tuple[int, int]]:
    """The comparators (low, high) of Knuth's algorithm M in order; p, q and r are his variables, `gap` is his d.

    The comments have the names of his steps.
    """
    top = 1 << max((m - 1).bit_length() - 1, 0)
    p = top if m > 1 else 0
    while p:  # M1, M6: top, top / 2, ..., 1
        q, r, gap = top, 0, p  # M2
        while True:
            # M3: i and i + gap, for all i whose bit p is set (r = p) or is not (r = 0)
            yield from ((i, i + gap) for i in range(m - gap) if i & p == r)
            if q == p:  # M5: the last merge of this p is done
                break
            gap, q, r = q - p, q // 2, p
        p //= 2


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _at_ranks(grads: Float[Array, "m d"], wanted: tuple[int, ...], network: bool) -> Any:
    """The rows at the `wanted` ranks: a list of rows from the network, else a matrix."""

    def ordered(sort: Callable[[Array], Array], rows: Float[Array, "m w"]) -> Float[Array, "k w"]:
        return sort(jnp.where(jnp.isnan(rows), jnp.inf, rows))[np.array(wanted)]

    def in_blocks(grads: Float[Array, "m d"]) -> Float[Array, "k d"]:
        return _by_columns(functools.partial(ordered, _bitonic), grads, len(wanted))

    def at_once(grads: Float[Array, "m d"]) -> Float[Array, "k d"]:
        return ordered(functools.partial(jnp.sort, axis=0), grads)

    return _by_network(grads, wanted) if network else blocked(in_blocks, at_once, grads)


def _at_ranks_forward(grads: Float[Array, "m d"], wanted: tuple[int, ...], network: bool) -> tuple[Any, Array]:
    return _at_ranks(grads, wanted, network), grads


def _at_ranks_backward(
    wanted: tuple[int, ...], network: bool, grads: Float[Array, "m d"], cotangents: Any
) -> tuple[Float[Array, "m d"]]:
    pulls = jnp.stack(cotangents) if network else cotangents

    def pull(rank: Int[Array, " d"]) -> Float[Array, " d"]:
        return row_sum(lambda r, c: jnp.where(rank == r, c, 0.0), jnp.array(wanted), pulls)

    return (_to_entries(grads, pull),)


def _to_entries(grads: Float[Array, "m d"], pull: Callable[[Int[Array, " d"]], Float[Array, " d"]]) -> Array:
    """The gradient by each entry: pull(rank of the entry in its column), 0 for NaN.

    The derivative of an order statistic is 1 for the entry with that rank and 0 for all others, so ranks are enough.
    If JAX differentiated the network itself, XLA would compute parts of it many times.
    """
    workers = jnp.arange(len(grads))
    numbers = jnp.where(jnp.isnan(grads), jnp.inf, grads)

    def row_gradient(i: Int[Array, ""]) -> Float[Array, " d"]:
        # an entry's rank is the number of entries below it; of equal entries that of a lower index is below
        rank = row_sum(lambda j, row: ((row < numbers[i]) | ((row == numbers[i]) & (j < i))) * 1, workers, numbers)
        return jnp.where(jnp.isnan(grads[i]), 0.0, pull(rank))

    return jax.lax.map(row_gradient, workers)


_at_ranks.defvjp(_at_ranks_forward, _at_ranks_backward)


def _by_network(grads: Float[Array, "m d"], wanted: tuple[int, ...]) -> list[Float[Array, " d"]]:
    """The rows at the `wanted` ranks, by a sorting network between the rows."""
    rows = [jnp.where(jnp.isnan(row), jnp.inf, row) for row in grads]  # the minimum with a NaN would be NaN
    for low, high, use_low, use_high in sorting_network(len(rows), tuple(sorted(set(wanted)))):
        a, b = rows[low], rows[high]
        if use_low:
            rows[low] = jnp.minimum(a, b)
        if use_high:
            rows[high] = jnp.maximum(a, b)
    return [rows[rank] for rank in wanted]


def _by_columns(
    f: Callable[[Float[Array, "m w"]], Float[Array, "k w"]], grads: Float[Array, "m d"], k: int
) -> Float[Array, "k d"]:
    """Apply f, which returns k rows, to blocks of `SORT_BLOCK_COLUMNS` columns."""
    d = grads.shape[1]
    if not d:
        return jnp.zeros((k, 0), grads.dtype)
    width = min(d, SORT_BLOCK_COLUMNS)

    def put(i: Int[Array, ""], out: Float[Array, "k d"]) -> Float[Array, "k d"]:
        # the last block starts early enough to be a whole one: it computes some columns again
        start = jnp.minimum(i * width, d - width)
        block = f(jax.lax.dynamic_slice_in_dim(grads, start, width, axis=1))
        return jax.lax.dynamic_update_slice_in_dim(out, block, start, axis=1)

    return jax.lax.fori_loop(0, -(-d // width), put, jnp.zeros((k, d), grads.dtype))


SORT_BLOCK_COLUMNS = 128  # columns in a block: with 1,000 rows half a megabyte, which fits into the cache


def _bitonic(rows: Float[Array, "m w"]) -> Float[Array, "n w"]:
    """Each column sorted, with +inf appended up to a power of two n of rows: Batcher's bitonic sorter.

    It has log n (log n + 1) / 2 stages. Each stage is one operation on all rows, so it compiles within a second.
    """
    m, w = rows.shape
    levels = (m - 1).bit_length()

    def exchanged(a: Float[Array, "p q w"], b: Float[Array, "p q w"]) -> Float[Array, "p 2 q w"]:
        """The smaller values of each pair first, then the larger ones."""
        return jnp.stack([jnp.minimum(a, b), jnp.maximum(a, b)], axis=1)

    rows = jnp.pad(rows, ((0, 2**levels - m), (0, 0)), constant_values=jnp.inf)
    for level in range(levels):  # before: blocks of 2^level rows are sorted; merge each two neighbours
        # compare the first block with the second block in reverse order: all smaller values are in the first half of
        # the result, all larger ones in the second half, and both halves are bitonic (they rise and then fall)
        runs = rows.reshape(-1, 2, 2**level, w)
        rows = exchanged(runs[:, 0], runs[:, 1, ::-1])
        # a bitonic sequence is sorted by comparing values at half its length, then within each half, and so on
        for finer in reversed(range(level)):
            halves = rows.reshape(-1, 2, 2**finer, w)
            rows = exchanged(halves[:, 0], halves[:, 1])
    return rows.reshape(-1, w)


@jax.custom_vjp
def ranked_sum(grads: Float[Array, "m d"], counted: Bool[Array, " m"]) -> Float[Array, " d"]:
    """The sum of the values at the `counted` ranks of each column, from the smallest up. `counted` may be traced.

    Entries at other ranks are ignored, even NaN and inf; NaN counts as +inf. The sum is wrapped in `lax.cond` so that
    XLA compiles it as a separate loop: two such sums in one loop take several times as long.

    Cost: O(m d log^2 m), a sorting network: one read.
    """

    def total() -> Float[Array, " d"]:
        rows = _by_network(grads, tuple(range(len(grads))))
        return functools.reduce(jnp.add, [jnp.where(counted[rank], row, 0.0) for rank, row in enumerate(rows)])

    return jax.lax.cond(counted.any(), total, lambda: jnp.zeros(grads.shape[1], grads.dtype))


def _ranked_sum_forward(
    grads: Float[Array, "m d"], counted: Bool[Array, " m"]
) -> tuple[Float[Array, " d"], tuple[Array, Array]]:
    return ranked_sum(grads, counted), (grads, counted)


def _ranked_sum_backward(kept: tuple[Array, Array], cotangent: Float[Array, " d"]) -> tuple[Float[Array, "m d"], None]:
    grads, counted = kept
    return _to_entries(grads, lambda rank: jnp.where(counted[rank], cotangent, 0.0)), None


ranked_sum.defvjp(_ranked_sum_forward, _ranked_sum_backward)


def at_rank(ordered: Float[Array, "m d"], rank: Int[Array, "*d"] | int) -> Float[Array, " d"]:
    """The row at a rank of `sorted_rows`; the rank may be traced, and may differ between the columns."""
    return jnp.take_along_axis(ordered, jnp.broadcast_to(rank, (1, ordered.shape[1])), axis=0, mode="clip")[0]


def rank_window_mean(
    ordered: Float[Array, "m d"], start: Int[Array, "*d"] | int, count: Int[Array, ""] | int
) -> Float[Array, " d"]:
    """The mean of `count` of the `sorted_rows`, from rank `start` on, in each column. One read.

    Values outside the window are ignored, even NaN and inf. (A difference of two cumulative sums would lose the digits
    of ordinary values next to an outlier.)
    """
    inside = row_sum(
        lambda r, row: jnp.where((start <= r) & (r < start + count), row, 0.0), jnp.arange(len(ordered)), ordered
    )
    return inside / count


def rank_window_weights(
    grads: Float[Array, "m d"],
    ordered: Float[Array, "m d"],
    start: Int[Array, "*d"] | int,
    count: Int[Array, ""] | int,
) -> Float[Array, " m"]:
    """Each row's weight in `rank_window_mean`: its part of the entries between the window's ends. One read."""
    return weights_within(grads, at_rank(ordered, start), at_rank(ordered, start + count - 1))


def trimmed_mean_and_weights(
    grads: Float[Array, "m d"], start: Int[Array, ""] | int, count: Int[Array, ""] | int
) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
    """(`rank_window_mean`, `rank_window_weights`) of unsorted rows, for the same ranks in all columns.

    For m <= NETWORKS three sorting networks compute the sum and the two ends of the window, which is faster than a full
    sort.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> trimmed_mean, weight = trimmed_mean_and_weights(grads, 1, 1)  # without the smallest and the largest
    >>> print(trimmed_mean, weight)
    [2. 6.] [0.  0.5 0.5]
    """
    if len(grads) > NETWORKS:
        ordered = sorted_rows(grads)
        return rank_window_mean(ordered, start, count), rank_window_weights(grads, ordered, start, count)
    rank, last = jnp.arange(len(grads)), start + count - 1
    inside = ranked_sum(grads, (start <= rank) & (rank <= last))
    return inside / count, weights_within(grads, ranked_sum(grads, rank == start), ranked_sum(grads, rank == last))


NETWORKS = 64  # with more rows three networks are not faster than the bitonic sorter, and take seconds to compile


def nearest_window_start(
    ordered: Float[Array, "m d"], centre: Float[Array, " d"], count: Int[Array, ""]
) -> Int[Array, " d"]:
    """The rank from which the `count` >= 1 sorted values nearest to `centre` start, in each column. Two reads.

    Of two values that are equally near the smaller one goes first.
    """
    m = len(ordered)

    # The nearest values are neighbours in sorted order. A window that starts at rank r has to move up if the value
    # above it is nearer to the centre than its lowest value. This holds up to some rank and not after it, so the start
    # is the number of ranks r for which it holds.
    def moves(r: Int[Array, ""], lowest: Float[Array, " d"]) -> Int[Array, " d"]:
        above = jnp.where(r + count < m, ordered[jnp.minimum(r + count, m - 1)], jnp.inf)
        return (above - centre < centre - lowest).astype(jnp.int32)

    return row_sum(moves, jnp.arange(m), ordered)


def weights_within(grads: Float[Array, "m d"], low: Float[Array, " d"], high: Float[Array, " d"]) -> Float[Array, " m"]:
    """Each row's part of all entries from `low` to `high`, both included; NaN counts as +inf. One read."""

    def hits(row: Float[Array, " d"]) -> Float[Array, ""]:
        value = jnp.where(jnp.isnan(row), jnp.inf, row)
        return ((low <= value) & (value <= high)).astype(jnp.float32).mean()

    inside = per_row(hits, grads)
    return inside / jnp.where(inside.sum() > 0, inside.sum(), 1.0)


def midpoint(low: Float[Array, "*d"], high: Float[Array, "*d"]) -> Float[Array, "*d"]:
    """The mean of two values, without overflow; infinite if one of them is.

    >>> print(midpoint(jnp.array([1.0, 3e38]), jnp.array([4.0, 3.2e38])))
    [2.5e+00 3.1e+38]
    """
    gap = high - low
    return jnp.where(jnp.isfinite(gap), low + gap / 2, low / 2 + high / 2)


def middle_ranks(m: int) -> tuple[int, int]:
    """The ranks of the lower and the upper middle value of m values; they are equal if m is odd.

    >>> middle_ranks(7), middle_ranks(8)
    ((3, 3), (3, 4))
    """
    return (m - 1) // 2, m // 2


def ranks(values: Float[Array, "*n m"] | Int[Array, "*n m"]) -> Int[Array, "*n m"]:
    """The rank of each value in its row; 0 is the smallest. Equal values are ranked by index, NaN last.

    >>> print(ranks(jnp.array([0.3, 0.1, jnp.nan, 0.2])))
    [2 0 3 1]
    """
    return jnp.argsort(jnp.argsort(values, axis=-1, stable=True), axis=-1, stable=True)


def rank_by_score(score: Float[Array, " m"], usable: Bool[Array, " m"]) -> Int[Array, " m"]:
    """The rank of each row by its score; 0 is the smallest. Equal scores: first `usable` rows, then by index.

    >>> print(rank_by_score(jnp.array([0.3, 0.1, 0.3]), usable=jnp.array([False, True, True])))
    [2 0 1]
    """
    return jnp.argsort(jnp.lexsort((jnp.arange(len(score)), ~usable, score)))
