"""Arithmetic over the worker axis, each piece by itself."""

import doctest
import importlib
import itertools
import pkgutil

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import ops
from byzsim.ops import order, spectra

BAD = [np.nan, np.inf, -np.inf, 1e30]


def normal(m=6, d=17, seed=0):
    return np.random.default_rng(seed).normal(size=(m, d)).astype(np.float32)


@pytest.mark.slow
def test_what_is_public_is_shown_by_an_example():
    assert byzsim.ops is ops and sorted(ops.__all__) == ops.__all__
    rooms = [importlib.import_module(f"byzsim.ops.{room.name}") for room in pkgutil.iter_modules(ops.__path__)]
    found = [each for room in rooms for each in doctest.DocTestFinder().find(room) if each.examples]
    assert sorted(each.name.rpartition(".")[2] for each in found) == ops.__all__
    assert sum(doctest.testmod(room).failed for room in rooms) == 0


@pytest.mark.parametrize("m", [1, 2, 7, 20])
def test_the_median_is_that_of_numpy(m):
    rows = normal(m)
    np.testing.assert_allclose(ops.median(jnp.asarray(rows)), np.median(rows.astype(np.float64), axis=0), rtol=1e-6)


def run_network(columns, wanted):
    """The network on every column of an (m, n) array, in NumPy; a place that is not used is spoilt."""
    rows = list(columns.copy())
    for low, high, use_low, use_high in order.sorting_network(len(rows), wanted):
        a, b = rows[low], rows[high]
        rows[low] = np.minimum(a, b) if use_low else np.full_like(a, 99)
        rows[high] = np.maximum(a, b) if use_high else np.full_like(a, 99)
    return rows


@pytest.mark.parametrize("m", range(1, 13))
def test_the_network_sorts_all_zeros_and_ones(m):
    """So it sorts everything (the 0-1 principle)."""
    every = np.array(list(itertools.product([0, 1], repeat=m)), np.int8).T
    np.testing.assert_array_equal(run_network(every, tuple(range(m))), np.sort(every, axis=0))


@pytest.mark.parametrize("m", [1, 2, 5, 8, 12])
def test_a_pruned_network_gives_the_wanted_ranks(m):
    every = np.array(list(itertools.product([0, 1], repeat=m)), np.int8).T
    for wanted in [(0,), (m - 1,), ops.middle_ranks(m)]:
        rows = run_network(every, tuple(sorted(set(wanted))))
        for rank in wanted:
            np.testing.assert_array_equal(rows[rank], np.sort(every, axis=0)[rank])


def test_the_network_has_as_many_comparators_as_published():
    """Knuth, TAOCP 3, section 5.3.4, merge exchange for 1 to 16 elements."""
    published = [0, 1, 3, 5, 9, 12, 16, 19, 26, 31, 37, 41, 48, 53, 59, 63]
    assert [len(order.sorting_network(m, tuple(range(m)))) for m in range(1, 17)] == published


@pytest.mark.parametrize(("m", "at_most"), [(10, 29), (20, 84), (25, 113), (50, 330)])
def test_a_median_needs_fewer_comparators(m, at_most):
    assert len(order.sorting_network(m, tuple(sorted(set(ops.middle_ranks(m)))))) <= at_most


@pytest.mark.parametrize("m", [1, 2, 7, 20])
def test_order_statistics_take_nan_as_infinity(m):
    rows = normal(m)
    rows[m // 2, :5], rows[0, 3], rows[-1, 7] = np.nan, -np.inf, np.inf
    wanted = [m - 1, 0, m // 2]
    expected = np.sort(np.where(np.isnan(rows), np.inf, rows), axis=0)
    np.testing.assert_array_equal(ops.order_statistics(jnp.asarray(rows), wanted), expected[wanted])
    np.testing.assert_array_equal(ops.sorted_rows(jnp.asarray(rows)), expected)


MANY = order.NETWORK + 3


def many_rows(seed=0):
    """More rows than a network takes, full of ties, with two of -inf, and eight that hold NaN or +inf."""
    rows = np.random.default_rng(seed).integers(-30, 30, (MANY, 300)).astype(np.float32) / 4
    rows[5::7, :40] = -0.0
    rows[:2], rows[2:6], rows[6:9] = -np.inf, np.inf, np.nan
    rows[-1, 200:] = np.nan
    return rows


@pytest.mark.parametrize("m", [6, MANY])
def test_deviations_of_few_and_of_many_rows(m):
    """Few columns too, which end with their only block: what is left of it is empty."""
    rows, usable = normal(m, 5), np.arange(m) != 2
    middle = np.sort(rows[usable].astype(np.float64), axis=0)[(m - 1) // 2]  # the one that is left out is on top
    apart = np.where(usable[:, None], rows - middle, 0) * spectra.SHRINK
    found = jax.jit(spectra.deviation_gram)(jnp.asarray(rows), jnp.asarray(usable))
    np.testing.assert_allclose(found, apart @ apart.T, rtol=1e-4, atol=1e-8)


def test_many_rows_in_order():
    """In two blocks of columns and a part of one; under vmap; start, count and centre are traced."""
    start, count = 7, 90
    start_of_column = np.arange(300) % 30

    @jax.jit
    @jax.vmap
    def found(rows, start, count, start_of_column):
        ordered = ops.sorted_rows(rows)
        centre = ops.order_statistics(rows, [40])[0]
        return {
            "ordered": ordered,
            "some": jnp.stack(ops.order_statistics(rows, [MANY - 1, 0, 64, 64])),
            "at_rank": order.at_rank(ordered, start),
            "at_ranks": order.at_rank(ordered, start_of_column),
            "window": order.rank_window_mean(ordered, start, count),
            "share": order.rank_window_weights(rows, ordered, start, count),
            "nearest": order.nearest_window_start(ordered, centre, count),
        }

    rows = np.stack([many_rows(), many_rows(1)])
    given = (jnp.asarray(each) for each in (rows, [start] * 2, [count] * 2, [start_of_column] * 2))
    all_found = jax.tree.map(np.asarray, found(*given))
    for i, numbers in enumerate(np.where(np.isnan(rows), np.inf, rows)):
        ours = {name: value[i] for name, value in all_found.items()}
        exact = np.sort(numbers.astype(float), axis=0)
        np.testing.assert_array_equal(ours["ordered"], exact)
        np.testing.assert_array_equal(ours["some"], exact[[MANY - 1, 0, 64, 64]])
        np.testing.assert_array_equal(ours["at_rank"], exact[start])
        np.testing.assert_array_equal(ours["at_ranks"], exact[start_of_column, np.arange(300)])
        np.testing.assert_allclose(ours["window"], exact[start : start + count].mean(axis=0), rtol=1e-6, atol=1e-6)
        inside = ((exact[start] <= numbers) & (numbers <= exact[start + count - 1])).sum(axis=1)
        np.testing.assert_allclose(ours["share"], inside / inside.sum(), rtol=1e-5)
        chosen = np.take_along_axis(exact, ours["nearest"] + np.arange(count)[:, None], axis=0)
        by_distance = np.lexsort((exact, np.abs(exact - exact[40])), axis=0)[:count]  # of equally near ones the smaller
        np.testing.assert_array_equal(chosen, np.sort(np.take_along_axis(exact, by_distance, axis=0), axis=0))


def test_middle_ranks():
    assert [ops.middle_ranks(m) for m in (1, 2, 5, 6)] == [(0, 0), (0, 1), (2, 2), (2, 3)]


def test_distances_like_the_direct_form():
    rows = normal()
    exact = ((rows[:, None].astype(float) - rows[None].astype(float)) ** 2).sum(axis=-1)
    squared = np.asarray(ops.sq_distances(jnp.asarray(rows)))
    np.testing.assert_allclose(squared, exact, rtol=1e-5)
    np.testing.assert_array_equal(np.diagonal(squared), 0)


def test_distances_of_nearly_identical_rows_lose_no_more_than_documented():
    rows = normal(1) + np.float32(1e-4) * normal(8, seed=1)
    exact = ((rows[:, None].astype(float) - rows[None].astype(float)) ** 2).sum(axis=-1)
    squared = np.asarray(ops.sq_distances(jnp.asarray(rows)))
    norms = (rows.astype(float) ** 2).sum(axis=1)
    assert (squared >= 0).all()  # the plain formula is below 0 for some
    assert (np.abs(squared - exact) <= 4 * np.finfo(np.float32).eps * (norms[:, None] + norms)).all()


@pytest.mark.parametrize("bad", BAD)
def test_rows_that_are_not_usable_are_infinitely_far(bad):
    rows = normal()
    rows[2, 4] = bad
    squared = np.asarray(ops.sq_distances(jnp.asarray(rows)))
    others = np.arange(6) != 2
    assert np.isposinf(squared[2]).all() and np.isposinf(squared[:, 2]).all()
    assert np.isfinite(squared[others][:, others]).all()
    np.testing.assert_array_equal(ops.usable_rows(jnp.asarray(rows)), others)


def test_rows_of_weight_zero_do_not_count():
    rows, weight = normal(), np.array([0.5, 0, 2, 0, -1, 0], np.float32)
    expected = weight @ rows
    rows[[1, 3, 5]] = np.array(BAD[:3])[:, None]
    np.testing.assert_allclose(ops.weighted_sum(jnp.asarray(weight), jnp.asarray(rows)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ddof", [0, 1])
def test_masked_mean_and_deviation(ddof):
    rows, mask = normal(), np.array([1, 0, 1, 1, 0, 1], bool)
    expected = rows[mask].astype(float)
    rows[~mask] = np.nan
    mean = ops.masked_mean(jnp.asarray(rows), jnp.asarray(mask))
    np.testing.assert_allclose(mean, expected.mean(axis=0), rtol=1e-5, atol=1e-6)
    std = ops.masked_std(jnp.asarray(rows), jnp.asarray(mask), mean, ddof=ddof)
    np.testing.assert_allclose(std, expected.std(axis=0, ddof=ddof), rtol=1e-5)


def test_an_empty_mask_gives_zeros():
    rows, nobody = jnp.asarray(normal()), jnp.zeros(6, bool)
    assert not ops.masked_mean(rows, nobody).any() and not ops.uniform_weights(nobody).any()
    assert not ops.masked_std(rows, nobody, rows[0], ddof=1).any()


def test_share_is_equal_on_the_mask():
    np.testing.assert_allclose(ops.uniform_weights(jnp.array([True, False, True, True])), [1 / 3, 0, 1 / 3, 1 / 3])


def test_ranks_of_ties_go_by_index_and_nan_is_last():
    values = jnp.array([2.0, np.nan, 1.0, 2.0, np.inf, 1.0, -np.inf])
    np.testing.assert_array_equal(ops.ranks(values), [3, 6, 1, 4, 5, 2, 0])


def test_per_row_is_one_call_for_each_row():
    rows = normal()
    np.testing.assert_array_equal(ops.per_row(lambda row: row[::-1], jnp.asarray(rows)), rows[:, ::-1])


@pytest.mark.slow
@pytest.mark.parametrize("m", [1, 2, 7, 20, order.NETWORKS, order.NETWORKS + 1])
def test_a_window_without_sorting_is_the_window_of_the_sorted_rows(m):
    rows = np.random.default_rng(m).integers(-9, 9, (m, 300)).astype(np.float32) / 4
    rows[m // 2, :5], rows[0, 3], rows[-1, 7], rows[-1, 200:] = np.nan, -np.inf, np.inf, 1e30
    found = jax.jit(jax.vmap(ops.trimmed_mean_and_weights))
    for f in range(0, (m - 1) // 2 + 1, 4):
        mean, share = (
            np.asarray(each)[0] for each in found(jnp.asarray(rows)[None], jnp.array([f]), jnp.array([m - 2 * f]))
        )
        numbers = np.where(np.isnan(rows), np.inf, rows).astype(float)
        kept = np.sort(numbers, axis=0)[f : m - f]
        with np.errstate(invalid="ignore"):  # inf - inf
            np.testing.assert_allclose(mean, kept.mean(axis=0), rtol=1e-6, atol=1e-6)
        inside = ((kept[0] <= numbers) & (numbers <= kept[-1])).sum(axis=1)
        np.testing.assert_allclose(share, inside / inside.sum(), rtol=1e-5)


def test_the_derivative_of_a_ranked_sum_goes_to_the_entries_that_it_counts():
    rows = np.random.default_rng(5).normal(size=(7, 40)).astype(np.float32)
    rows[2, :3] = np.nan
    counted, pull = jnp.isin(jnp.arange(7), jnp.array([1, 2, 6])), np.arange(40, dtype=np.float32)
    pulled = jax.jit(jax.grad(lambda rows: jnp.vdot(pull, order.ranked_sum(rows, counted))))
    place = np.argsort(np.argsort(rows, axis=0), axis=0)  # NaN last
    np.testing.assert_allclose(
        pulled(jnp.asarray(rows)), np.where(np.isin(place, [1, 2, 6]) & ~np.isnan(rows), pull, 0.0)
    )


@pytest.mark.slow
@pytest.mark.parametrize("m", [7, MANY])
def test_the_derivative_of_an_order_statistic_goes_to_the_entry_at_its_rank(m):
    rows = np.random.default_rng(3).normal(size=(m, 40)).astype(np.float32)
    wanted, pulls = [0, 3, 3, 6], np.random.default_rng(4).normal(size=(4, 40)).astype(np.float32)

    def pulled(rows):
        return sum(jnp.vdot(c, row) for c, row in zip(pulls, ops.order_statistics(rows, wanted), strict=True))

    expected = np.zeros_like(rows)
    for rank, c in zip(wanted, pulls, strict=True):
        expected[np.argsort(rows, axis=0)[rank], np.arange(40)] += c
    np.testing.assert_allclose(jax.jit(jax.grad(pulled))(jnp.asarray(rows)), expected, rtol=1e-6)
    pulled_rows = jax.jit(jax.grad(lambda rows: jnp.vdot(ops.sorted_rows(rows)[np.array(wanted)], pulls)))
    np.testing.assert_allclose(pulled_rows(jnp.asarray(rows)), expected, rtol=1e-6)
    tied = jax.grad(lambda rows: ops.order_statistics(rows, [1])[0].sum())(jnp.ones((m, 3)))
    np.testing.assert_array_equal(tied, np.eye(m)[[1, 1, 1]].T)  # of equal entries the one of that rank, by index
