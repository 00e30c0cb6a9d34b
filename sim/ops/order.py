"""Order statistics along the workers, as sorting networks or a bitonic sorter; windows of them; ranks of scores."""

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


NETWORK = 128  # rows: beyond, a network takes longer to compile than it saves


@functools.cache
def sorting_network(m: int, wanted: tuple[int, ...]) -> tuple[tuple[int, int, bool, bool], ...]:
    """Comparators (low, high, low is used, high is used) that put the `wanted` ranks of m values in their places.

    Batcher's odd-even merge exchange (Knuth, TAOCP 3, algorithm 5.2.2M), which takes any m; then, from the last
    comparator to the first, whatever no wanted rank depends on is dropped.
    """
    needed, kept = set(wanted), []
    for low, high in reversed(list(_merge_exchange(m))):  # from the outputs back to the inputs
        if low in needed or high in needed:
            kept.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(kept))


def _merge_exchange(m: int) -> Iterator[tuple[int, int]]:
    """Comparators (low, high) in order; Knuth's p, q, r and d (`gap`), with the names of his steps."""
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
    """A list of rows from the network, else a matrix of them."""

    def ordered(sort, rows):
        return sort(jnp.where(jnp.isnan(rows), jnp.inf, rows))[np.array(wanted)]

    def in_blocks(grads):
        return _by_columns(functools.partial(ordered, _bitonic), grads, len(wanted))

    def at_once(grads):
        return ordered(functools.partial(jnp.sort, axis=0), grads)

    return _by_network(grads, wanted) if network else blocked(in_blocks, at_once, grads)


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
    rows = [jnp.where(jnp.isnan(row), jnp.inf, row) for row in grads]  # a minimum would hand a NaN on
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
    """f of blocks of `SORTED` columns, side by side; the last block begins early enough to be a whole one."""
    d = grads.shape[1]
    if not d:
        return jnp.zeros((k, 0), grads.dtype)
    width = min(d, SORT_BLOCK_COLUMNS)

    def put(i, out):
        start = jnp.minimum(i * width, d - width)
        block = f(jax.lax.dynamic_slice_in_dim(grads, start, width, axis=1))
        return jax.lax.dynamic_update_slice_in_dim(out, block, start, axis=1)

    return jax.lax.fori_loop(0, -(-d // width), put, jnp.zeros((k, d), grads.dtype))


SORT_BLOCK_COLUMNS = 128  # columns of a block: 1,000 rows of it fit into half a megabyte


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
        # the first exchange turns the second run round: what comes out are two bitonic halves, low values first
        runs = rows.reshape(-1, 2, 2**level, w)
        rows = exchanged(runs[:, 0], runs[:, 1, ::-1])
        # each half is bitonic again: exchange at half the distance, down to neighbours
        for finer in reversed(range(level)):
            halves = rows.reshape(-1, 2, 2**finer, w)
            rows = exchanged(halves[:, 0], halves[:, 1])
    return rows.reshape(-1, w)


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


def at_rank(ordered: Float[Array, "m d"], rank: Int[Array, "*d"] | int) -> Float[Array, " d"]:
    """The values at a rank that may be traced, of `sorted_rows`."""
    return jnp.take_along_axis(ordered, jnp.broadcast_to(rank, (1, ordered.shape[1])), axis=0, mode="clip")[0]


def rank_window_mean(
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


def rank_window_weights(
    grads: Float[Array, "m d"],
    ordered: Float[Array, "m d"],
    start: Int[Array, "*d"] | int,
    count: Int[Array, ""] | int,
) -> Float[Array, " m"]:
    """Each row's share in the windows of `rank_window_mean`, ends included (`weights_within`); one read."""
    return weights_within(grads, at_rank(ordered, start), at_rank(ordered, start + count - 1))


def trimmed_mean_and_weights(
    grads: Float[Array, "m d"], start: Int[Array, ""] | int, count: Int[Array, ""] | int
) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
    """`rank_window_mean` and `rank_window_weights` of rows in any order, for the same ranks in all columns.

    Up to `NETWORKS` rows by three sorting networks with one row each to give: in less time than all rows in order.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> trimmed_mean, weight = trimmed_mean_and_weights(grads, 1, 1)  # of m = 3 without the f = 1 smallest and largest
    >>> print(trimmed_mean, weight)
    [2. 6.] [0.  0.5 0.5]
    """
    if len(grads) > NETWORKS:
        ordered = sorted_rows(grads)
        return rank_window_mean(ordered, start, count), rank_window_weights(grads, ordered, start, count)
    rank, last = jnp.arange(len(grads)), start + count - 1
    inside = ranked_sum(grads, (start <= rank) & (rank <= last))
    return inside / count, weights_within(grads, ranked_sum(grads, rank == start), ranked_sum(grads, rank == last))


NETWORKS = 64  # rows: beyond, three networks take as long as the bitonic sorter, and seconds to compile


def nearest_window_start(
    ordered: Float[Array, "m d"], centre: Float[Array, " d"], count: Int[Array, ""]
) -> Int[Array, " d"]:
    """Where the window of the `count` >= 1 sorted values nearest to `centre` starts; of equally near ones the smaller.

    The nearest values are neighbours in the order, so the window moves up while the next value above it is nearer than
    its lowest: a condition that holds up to some rank and not after it, so its holds are counted. Two reads.
    """
    m = len(ordered)

    def moves(r, lowest):
        above = jnp.where(r + count < m, ordered[jnp.minimum(r + count, m - 1)], jnp.inf)
        return (above - centre < centre - lowest).astype(jnp.int32)

    return row_sum(moves, jnp.arange(m), ordered)


def weights_within(grads: Float[Array, "m d"], low: Float[Array, " d"], high: Float[Array, " d"]) -> Float[Array, " m"]:
    """Each row's share of all entries from `low` to `high`, both included; NaN counts as +inf. One read."""

    def hits(row):
        value = jnp.where(jnp.isnan(row), jnp.inf, row)
        return ((low <= value) & (value <= high)).astype(jnp.float32).mean()

    inside = per_row(hits, grads)
    return inside / jnp.where(inside.sum() > 0, inside.sum(), 1.0)


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


def ranks(values: Float[Array, "*n m"] | Int[Array, "*n m"]) -> Int[Array, "*n m"]:
    """Rank of each value in its row, from 0 for the smallest; equal values by lowest index first, NaN last.

    >>> print(ranks(jnp.array([0.3, 0.1, jnp.nan, 0.2])))
    [2 0 3 1]
    """
    return jnp.argsort(jnp.argsort(values, axis=-1, stable=True), axis=-1, stable=True)


def rank_by_score(score: Float[Array, " m"], usable: Bool[Array, " m"]) -> Int[Array, " m"]:
    """Place of each row, from 0 for the smallest score; of equal scores `usable` rows come first, then low indices.

    >>> print(rank_by_score(jnp.array([0.3, 0.1, 0.3]), usable=jnp.array([False, True, True])))
    [2 0 1]
    """
    return jnp.argsort(jnp.lexsort((jnp.arange(len(score)), ~usable, score)))
