"""Order statistics along the worker axis, means over windows of ranks, and ranks of scores.

Three ways, all without data-dependent control flow:

1. A sorting network (`sorting_network`), a fixed list of (min, max) pairs between rows. XLA fuses it into one loop over
   the columns that reads the matrix once. Comparators on which no wanted rank depends are dropped, so a median costs
   much less than a full sort. Compilation time limits it to `NETWORK` rows.
2. Selection by counting (`_select`) for one rank of more rows: the value is found bit by bit, and each bit takes a
   count of the entries below a bound. O(m) for each column.
3. A bitonic sorter (`_bitonic`) for all ranks: log^2 m operations on all rows of a block of columns.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from byzsim import blocks
from byzsim.ops.rows import blocked, computed_once, per_row_sum, row_sum
from byzsim.ops.varying import varying_as
from jaxtyping import Array, Bool, Float, Int


def order_statistics(
    grads: Float[Array, "m d"], wanted: Sequence[int]
) -> Float[Array, "k d"] | Sequence[Float[Array, " d"]]:
    """The rows at the `wanted` ranks of the column-wise sorted matrix. Rank 0 is the smallest; NaN counts as +inf.

    Cost: for m <= NETWORK O(m d log^2 m), a sorting network that XLA fuses into one pass over the matrix, provided that
    each returned row is used once. For more rows O(m d) for each wanted rank that does not follow on another one.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> lowest, middle = order_statistics(grads, [0, 1])
    >>> print(lowest, middle)
    [1. 5.] [2. 6.]
    """
    return _at_ranks(grads, tuple(wanted))


def median(grads: Float[Array, "m d"]) -> Float[Array, " d"]:
    """The median of each column; for even m the mean of the two middle values. NaN counts as +inf. One read.

    >>> print(median(jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0], [4.0, jnp.nan]])))
    [3.  6.5]
    """
    return midpoint(*order_statistics(grads, middle_ranks(len(grads))))


def value_at_rank(grads: Float[Array, "m d"], rank: Int[Array, ""] | int) -> Float[Array, " d"]:
    """The row at one rank of the column-wise sorted matrix; the rank may be traced. NaN counts as +inf.

    Cost: for m <= WHOLE_NETWORK a whole sorting network, O(m d log^2 m); for more rows O(m d).

    >>> print(value_at_rank(jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]]), jnp.array(1)))
    [2. 6.]
    """
    return _value_at_rank(lambda entries: entries, grads, (), jnp.asarray(rank))


def sorted_rows(grads: Float[Array, "m d"]) -> Float[Array, "m d"]:
    """The matrix with each column sorted; NaN counts as +inf. Cost: O(m d log^2 m).

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> print(sorted_rows(grads))
    [[1. 5.]
     [2. 6.]
     [9. 7.]]
    """
    return _sorted_rows(grads)


NETWORK = 128  # with more rows a network takes longer to compile than it saves
WHOLE_NETWORK = 100  # the same for a network of which no comparators can be dropped


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


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _at_ranks(grads: Float[Array, "m d"], wanted: tuple[int, ...]) -> Any:
    """The rows at the `wanted` ranks: a list of rows."""
    if len(grads) <= NETWORK:
        return _network(list(grads), wanted)
    found: dict[int, Array] = {}
    for rank in sorted(set(wanted)):
        if rank not in found:
            found[rank], found[rank + 1] = _select(grads, rank)
    return [found[rank] for rank in wanted]


def _at_ranks_forward(grads: Float[Array, "m d"], wanted: tuple[int, ...]) -> tuple[Any, Array]:
    return _at_ranks(grads, wanted), grads


def _at_ranks_backward(
    wanted: tuple[int, ...], grads: Float[Array, "m d"], cotangents: Any
) -> tuple[Float[Array, "m d"]]:
    pulls = jnp.stack(cotangents)

    def pull(rank: Int[Array, " d"]) -> Float[Array, " d"]:
        return row_sum(lambda r, c: jnp.where(rank == r, c, 0.0), jnp.array(wanted), pulls)

    return (_to_entries(grads, pull),)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _value_at_rank(
    of: Callable[..., Array], grads: Float[Array, "m d"], vectors: tuple[Float[Array, " d"], ...], rank: Int[Array, ""]
) -> Float[Array, " d"]:
    """The row at this rank of the column-wise sorted matrix of the values of(entry, v, ...), which never exists."""
    if len(grads) > WHOLE_NETWORK:
        return _select(grads, rank, of, vectors)[0]
    return _ranked_sum(of, grads, vectors, jnp.arange(len(grads)) == rank)


def _value_at_rank_forward(
    of: Callable[..., Array], grads: Float[Array, "m d"], vectors: tuple[Float[Array, " d"], ...], rank: Int[Array, ""]
) -> tuple[Float[Array, " d"], Any]:
    return _value_at_rank(of, grads, vectors, rank), (grads, vectors, rank)


def _value_at_rank_backward(
    of: Callable[..., Array], kept: Any, cotangent: Float[Array, " d"]
) -> tuple[Any, Any, None]:
    grads, vectors, rank = kept
    values, pull = jax.vjp(lambda grads, vectors: of(grads, *(v[None] for v in vectors)), grads, vectors)
    return *pull(_to_entries(values, lambda ranks: jnp.where(ranks == rank, cotangent, 0.0))), None


def _ranked_sum(
    of: Callable[..., Array],
    grads: Float[Array, "m d"],
    vectors: tuple[Float[Array, " d"], ...],
    counted: Bool[Array, " m"],
) -> Float[Array, " d"]:
    """The sum of the values at the `counted` ranks, which may be traced, from the smallest up.

    Values at other ranks are ignored, even NaN and inf. The condition makes XLA compile the network as a loop of its
    own: two networks in one loop take several times as long.
    """

    def total() -> Float[Array, " d"]:
        rows = _network([of(row, *vectors) for row in grads], range(len(grads)))
        return functools.reduce(jnp.add, [jnp.where(counted[rank], row, 0.0) for rank, row in enumerate(rows)])

    return jax.lax.cond(
        counted.any(), total, lambda: varying_as(jnp.zeros(grads.shape[1], grads.dtype), grads, *vectors)
    )


@jax.custom_vjp
def ranked_sum(grads: Float[Array, "m d"], counted: Bool[Array, " m"]) -> Float[Array, " d"]:
    """The sum of the values at the `counted` ranks of each column, from the smallest up. `counted` may be traced.

    Entries at other ranks are ignored, even NaN and inf; NaN counts as +inf.

    Cost: O(m d log^2 m), a sorting network: one read.
    """
    return _ranked_sum(lambda entries: entries, grads, (), counted)


def _ranked_sum_backward(kept: tuple[Array, Array], cotangent: Float[Array, " d"]) -> tuple[Float[Array, "m d"], None]:
    grads, counted = kept
    return _to_entries(grads, lambda rank: jnp.where(counted[rank], cotangent, 0.0)), None


@jax.custom_vjp
def _sorted_rows(grads: Float[Array, "m d"]) -> Float[Array, "m d"]:
    def in_blocks(grads: Float[Array, "m d"]) -> Float[Array, "m d"]:
        return _by_columns(lambda rows: _bitonic(rows)[: len(rows)], (grads,), len(grads), SORT_BLOCK_COLUMNS)

    return blocked(in_blocks, functools.partial(jnp.sort, axis=0), jnp.where(jnp.isnan(grads), jnp.inf, grads))


def _sorted_rows_backward(grads: Float[Array, "m d"], cotangents: Float[Array, "m d"]) -> tuple[Float[Array, "m d"]]:
    ranks = jnp.arange(len(grads))
    return (_to_entries(grads, lambda rank: row_sum(lambda r, c: jnp.where(rank == r, c, 0.0), ranks, cotangents)),)


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
_value_at_rank.defvjp(_value_at_rank_forward, _value_at_rank_backward)
ranked_sum.defvjp(lambda grads, counted: (ranked_sum(grads, counted), (grads, counted)), _ranked_sum_backward)
_sorted_rows.defvjp(lambda grads: (_sorted_rows(grads), grads), _sorted_rows_backward)


def _network(rows: list[Float[Array, " d"]], wanted: Sequence[int]) -> list[Float[Array, " d"]]:
    """The rows at the `wanted` ranks, by a sorting network between the rows."""
    # `minimum` and `maximum` of floats give NaN for NaN, which takes three instructions. A choice by comparison takes
    # one, but beyond some 100 rows the compiler no longer sees that; integers have no NaN
    coded, dtype = len(rows) > NETWORK // 2, rows[0].dtype
    rows = [_codes(row) if coded else jnp.where(jnp.isnan(row), jnp.inf, row) for row in rows]
    for low, high, use_low, use_high in sorting_network(len(rows), tuple(sorted(set(wanted)))):
        a, b = rows[low], rows[high]
        if use_low:
            rows[low] = jnp.minimum(a, b) if coded else jnp.where(a < b, a, b)
        if use_high:
            rows[high] = jnp.maximum(a, b) if coded else jnp.where(a < b, b, a)
    return [_numbers(rows[rank], dtype) if coded else rows[rank] for rank in wanted]


def _codes(numbers: Float[Array, "*n"]) -> Int[Array, "*n"]:
    """Integers of the same width in the same order; NaN counts as +inf."""
    width = 8 * numbers.dtype.itemsize
    bits = jax.lax.bitcast_convert_type(jnp.where(jnp.isnan(numbers), jnp.inf, numbers), f"int{width}")
    return _flip_negative(bits)


def _numbers(codes: Int[Array, "*n"], dtype: Any) -> Float[Array, "*n"]:
    return jax.lax.bitcast_convert_type(_flip_negative(codes), dtype)


def _flip_negative(bits: Int[Array, "*n"]) -> Int[Array, "*n"]:
    """All bits but the sign flipped where it is set: of negative numbers those of larger magnitude come first."""
    info = jnp.iinfo(bits.dtype)
    return bits ^ (jax.lax.shift_right_arithmetic(bits, jnp.asarray(info.bits - 1, bits.dtype)) & info.max)


def _select(
    grads: Float[Array, "m d"],
    rank: Int[Array, ""] | int,
    of: Callable[..., Array] = lambda entries: entries,
    vectors: tuple[Float[Array, " d"], ...] = (),
) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    """The values at `rank` and at the next rank of each column of of(entry, v, ...), +inf after the last one."""
    known = [v[None] for v in vectors]

    def in_blocks(grads: Float[Array, "m d"]) -> Float[Array, "2 d"]:
        return _by_columns(
            lambda rows, *known: _select_by_counting(of(rows, *known), rank), (grads, *known), 2, COUNT_BLOCK_COLUMNS
        )

    def at_once(grads: Float[Array, "m d"]) -> Float[Array, "2 d"]:
        values = of(grads, *known)
        ordered = jnp.sort(jnp.where(jnp.isnan(values), jnp.inf, values), axis=0)
        return jnp.take(ordered, jnp.array([rank, rank + 1]), axis=0, mode="fill", fill_value=jnp.inf)

    low, high = blocked(in_blocks, at_once, grads)
    return low, high


COUNT_BLOCK_COLUMNS = 1024  # columns in a block: with 1,000 rows a megabyte of digits


def _select_by_counting(rows: Float[Array, "m w"], rank: Int[Array, ""] | int) -> Float[Array, "2 w"]:
    """The values at `rank` and the next rank, from the first digit of 8 bits to the last.

    `found` is the smallest code with the digits found so far, and `span` how many codes have these digits. An entry
    with a smaller code gets the smallest next digit, one with a larger code the largest, so that the rank is the same
    among the digits as among the entries.
    """
    codes = _codes(rows)
    info = jnp.iinfo(codes.dtype)
    found = jnp.full(rows.shape[1], info.min, codes.dtype)
    for place in reversed(range(0, info.bits, 8)):
        if place + 8 == info.bits:
            digits = jax.lax.shift_right_arithmetic(codes, jnp.asarray(place, codes.dtype))
        else:
            span = jnp.asarray(2 ** (place + 8) - 1, codes.dtype)
            within = jnp.clip(codes, found[None], (found + span)[None]) - found[None]
            digits = jax.lax.shift_right_logical(within, jnp.asarray(place, codes.dtype)) - 128
        digit = _digit_at_rank(digits.astype(jnp.int8), rank)
        found += jax.lax.shift_left(digit.astype(codes.dtype), jnp.asarray(place, codes.dtype))
    up_to = _count(lambda codes: codes <= found[None], codes)
    infinite = _codes(jnp.full((), jnp.inf, rows.dtype))
    above = _over_rows(jnp.minimum, lambda codes: jnp.where(codes > found[None], codes, infinite), codes)
    return _numbers(jnp.stack([found, jnp.where(up_to > rank + 1, found, above)]), rows.dtype)


def _digit_at_rank(digits: Int[Array, "m w"], rank: Int[Array, ""] | int) -> Int[Array, " w"]:
    """The value at `rank` of each column of 8-bit integers, plus 128, bit by bit from the highest."""

    def bit(i: Int[Array, ""], digit: Int[Array, " w"]) -> Int[Array, " w"]:
        larger = digit + jax.lax.shift_right_logical(jnp.int32(128), i)
        bound = (larger - 128).astype(jnp.int8)[None]
        return jnp.where(_count(lambda digits: digits < bound, digits) <= rank, larger, digit)

    return jax.lax.fori_loop(0, 8, bit, varying_as(jnp.zeros(digits.shape[1], jnp.int32), digits))


def _count(marked: Callable[[Int[Array, "n w"]], Bool[Array, "n w"]], rows: Int[Array, "m w"]) -> Int[Array, " w"]:
    """How many entries of each column are marked: counts of up to 32 rows in 8 bits, then their sum."""
    return _over_rows(jnp.add, lambda rows: marked(rows).astype(jnp.int8), rows, lambda count: count.astype(jnp.int32))


def _over_rows(
    combine: Callable[[Array, Array], Array],
    term: Callable[[Array], Array],
    rows: Int[Array, "m w"],
    then: Callable[[Array], Array] = lambda combined: combined,
) -> Array:
    """term(row) of all rows combined, in two rounds: rows at equal distances, then what comes of them."""
    m = len(rows)
    together = min(32, 1 << ((m // 16).bit_length() - 1))  # with fewer in the second round XLA would fuse both rounds
    apart = m // together
    first = functools.reduce(combine, [term(rows[i * apart : (i + 1) * apart]) for i in range(together)])
    rest = [term(rows[i : i + 1])[0] for i in range(together * apart, m)]
    return functools.reduce(combine, [then(each) for each in [*first, *rest]])


def _by_columns(
    f: Callable[..., Float[Array, "k w"]], arrays: tuple[Float[Array, "_ d"], ...], k: int, most: int
) -> Float[Array, "k d"]:
    """Apply f, which returns k rows, to blocks of at `most` so many columns of the arrays."""
    d, dtype = arrays[0].shape[1], arrays[0].dtype
    if not d:
        return jnp.zeros((k, 0), dtype)
    width = min(d, most)

    def put(i: Int[Array, ""], out: Float[Array, "k d"]) -> Float[Array, "k d"]:
        # the last block starts early enough to be a whole one: it computes some columns again
        start = jnp.minimum(i * width, d - width)
        block = f(*(jax.lax.dynamic_slice_in_dim(a, start, width, axis=1) for a in arrays))
        return jax.lax.dynamic_update_slice_in_dim(out, block, start, axis=1)

    return jax.lax.fori_loop(0, -(-d // width), put, varying_as(jnp.zeros((k, d), dtype), *arrays))


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
    """The mean of `count` >= 1 values of each column from rank `start` on, and each row's part of them.

    Values at other ranks are ignored, even NaN and inf. A row's part is its part of all entries between the first and
    the last of these values, both included.

    Cost: for m <= NETWORKS three sorting networks, and one read; else two of `value_at_rank`, and three reads.

    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [9.0, 6.0]])
    >>> trimmed_mean, weight = trimmed_mean_and_weights(grads, 1, 1)  # without the smallest and the largest
    >>> print(trimmed_mean, weight)
    [2. 6.] [0.  0.5 0.5]
    """
    low, high = value_at_rank(grads, start), value_at_rank(grads, start + count - 1)
    return _window_mean(grads, low, high, start, count), weights_within(grads, low, high)


def _window_mean(
    grads: Float[Array, "m d"],
    low: Float[Array, " d"],
    high: Float[Array, " d"],
    start: Int[Array, ""] | int,
    count: Int[Array, ""] | int,
) -> Float[Array, " d"]:
    """The mean of the values from rank `start` to `start + count - 1`, which are `low` and `high`."""
    if len(grads) <= NETWORKS:
        rank = jnp.arange(len(grads))
        return ranked_sum(grads, (start <= rank) & (rank < start + count)) / count
    between = row_sum(lambda row: jnp.where((low < row) & (row < high), row, 0.0), grads)
    # of entries that are equal to an end of the window only some may be in it
    up_to_low, below_high = _counts(grads, lambda row: row <= low, lambda row: row < high)
    total = between + _times(up_to_low - start, low) + _times(start + count - below_high, high)
    return jnp.where(low == high, low, total / count)


NETWORKS = 64  # with more rows a third network is not faster than three reads, and takes a second to compile


def _counts(
    grads: Float[Array, "m d"], one: Callable[[Array], Array], other: Callable[[Array], Array]
) -> tuple[Int[Array, " d"], Int[Array, " d"]]:
    """How many entries of each column are `one`, and how many the `other`. One read for both."""
    if len(grads) >= 2**15:
        number_one, number_other = (
            row_sum(lambda row, is_it=is_it: is_it(row).astype(jnp.int32), grads) for is_it in (one, other)
        )
        return number_one, number_other
    packed = row_sum(lambda row: one(row).astype(jnp.int32) + (other(row).astype(jnp.int32) << 16), grads)
    return packed & 0xFFFF, packed >> 16


def _times(count: Int[Array, " d"], value: Float[Array, " d"]) -> Float[Array, " d"]:
    """count * value, and 0 for none, even of an infinite value."""
    return jnp.where(count == 0, 0.0, count * jnp.where(count == 0, 0.0, value))


def nearest_mean_and_weights(
    grads: Float[Array, "m d"], centre: Float[Array, " d"], count: Int[Array, ""] | int
) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
    """The mean of the `count` >= 1 values nearest to `centre` in each column, and each row's part of them.

    Of values that are equally near those below the centre go first; NaN counts as +inf; near an infinite centre the
    mean is infinite. A row's part is its part of all entries that are as near as the last of these values.

    Cost: one `value_at_rank`, and four reads.
    """
    centre = computed_once(centre, grads)

    def away(entry: Float[Array, "..."], centre: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.where(entry == centre, 0.0, jnp.abs(entry - centre))  # inf - inf would be NaN

    last = _value_at_rank(away, grads, (centre,), jnp.asarray(count - 1))
    nearer = row_sum(lambda row: jnp.where(away(row, centre) < last, row, 0.0), grads)
    known, below = _counts(
        grads, lambda row: away(row, centre) < last, lambda row: (row <= centre) & (away(row, centre) == last)
    )
    # an entry at the distance `last` is centre - last or centre + last, up to rounding
    low = jnp.minimum(count - known, below)
    total = nearer + _times(low, centre - last) + _times(count - known - low, centre + last)

    def near(entry: Float[Array, "..."], centre: Float[Array, "..."], last: Float[Array, "..."]) -> Int[Array, "..."]:
        return ((away(entry, centre) <= last) | (jnp.isnan(entry) & (last == jnp.inf))).astype(jnp.int32)

    mean = jnp.where(jnp.isfinite(centre), total / count, centre)
    return mean, _parts(per_row_sum(near, grads, centre, last), grads)


def _parts(hits: Int[Array, " m"], grads: Float[Array, "m d"]) -> Float[Array, " m"]:
    share = hits.astype(jnp.float32) / blocks.width(grads.shape[1])
    return share / jnp.where(share.sum() > 0, share.sum(), 1.0)


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

    def inside(entry: Float[Array, "..."], low: Float[Array, "..."], high: Float[Array, "..."]) -> Int[Array, "..."]:
        value = jnp.where(jnp.isnan(entry), jnp.inf, entry)
        return ((low <= value) & (value <= high)).astype(jnp.int32)

    return _parts(per_row_sum(inside, grads, low, high), grads)


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
