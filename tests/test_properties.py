"""A search for rows on which a rule breaks one of its promises; the promises are the traits of its registry entry."""

import numpy as np
import pytest
from byzsim import AGGREGATORS
from byzsim.testing import rules
from byzsim.testing.rules import tried
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

M, D = 7, 5
BAD = [1e10, -1e10, 1e38, -1e38, np.inf, -np.inf, np.nan]
search = settings(max_examples=25, deadline=None, database=None, derandomize=True)
COUNTED = st.integers(0, 2**32 - 1)


@st.composite
def honest(draw):
    """Rows of unequal spread around a common point; no two alike, so that no choice hangs on a tie."""
    rng = np.random.default_rng(draw(COUNTED))
    spread = 2.0 ** np.array([draw(st.integers(-3, 3)) for _ in range(M)])
    centre = draw(st.sampled_from([0.0, 1.0, 10.0]))
    return (centre * rng.normal(size=D) + spread[:, None] * rng.normal(size=(M, D))).astype(np.float32)


def having(*traits):
    names = sorted(name for name, spec in AGGREGATORS.items() if set(traits) <= spec.traits)
    return pytest.mark.parametrize("rule", names)


def near(rows):
    return 1e-4 * float(np.abs(rows).max())


def bounded(rule, f):
    return min(f, AGGREGATORS[rule].max_f(M))


@having("permutation")
@search
@given(rows=honest(), order=st.permutations(range(M)), f=st.integers(0, 3))
def test_permutation(rule, rows, order, f):
    assert not rules.permutation(tried(rule), rows, bounded(rule, f), order, atol=near(rows), rtol=1e-4)


@having("translation")
@search
@given(rows=honest(), seed=COUNTED, f=st.integers(0, 3))
def test_translation(rule, rows, seed, f):
    shift = np.random.default_rng(seed).normal(size=D).astype(np.float32)
    close = {"atol": near(rows) + 1e-4, "rtol": 1e-4}
    assert not rules.translation(tried(rule), rows, bounded(rule, f), shift, **close)


@having("scale")
@search
@given(rows=honest(), power=st.integers(-20, 20), f=st.integers(0, 3))
def test_scale(rule, rows, power, f):
    assert not rules.scale(tried(rule), rows, bounded(rule, f), 2.0**power, rtol=1e-5, atol=0.0)


@having("consensus")
@search
@given(rows=honest(), f=st.integers(0, 3))
def test_consensus(rule, rows, f):
    assert not rules.consensus(tried(rule), rows, f, rtol=1e-5, atol=1e-5 * near(rows))


@having("average")
@search
@given(rows=honest())
def test_average(rule, rows):
    assert not rules.average(tried(rule), rows, rtol=1e-7, atol=near(rows))


@having("coordinatewise")
@search
@given(rows=honest(), other=honest(), columns=st.integers(1, D - 1), turn=st.integers(0, D - 1), f=st.integers(0, 3))
def test_coordinatewise(rule, rows, other, columns, turn, f):
    """Any columns that stand beside each other, not only the first."""
    rows, other = (np.roll(each, turn, axis=1) for each in (rows, other))
    assert not rules.coordinatewise(tried(rule), rows, other, f, columns)


@having()
@search
@given(
    rows=honest(),
    bad=st.lists(st.lists(st.sampled_from([*BAD, 0.0]), min_size=D, max_size=D), min_size=3, max_size=3),
    order=st.permutations(range(M)),
)
def test_resilience(rule, rows, bad, order):
    """max_f rows of anything, anywhere: the output is finite and no farther away than what the bound allows."""
    n_byz = min(AGGREGATORS[rule].max_f(M), 3)
    order = order if "permutation" in AGGREGATORS[rule].traits else range(M)  # the last worker may have to be honest
    sent = np.array(bad[:n_byz], np.float32).reshape(n_byz, D)
    slack = near(rules.honest_rows(tried(rule), rows))
    assert not rules.resilience(tried(rule), rows, order[:n_byz], sent, slack=slack, edge=np.inf)  # bad may be near
