"""A search for rows on which a rule breaks one of its promises; the promises are the traits of its registry entry."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS
from hypothesis import given, settings
from hypothesis import strategies as st
from test_aggregators import honest_rows, once

pytestmark = pytest.mark.slow

M, D = 7, 5
BAD = [1e10, -1e10, 1e38, -1e38, np.inf, -np.inf, np.nan]
search = settings(max_examples=25, deadline=None, database=None, derandomize=True)
COUNTED = st.integers(0, 2**32 - 1)


@functools.cache
def compiled(rule):
    return jax.jit(functools.partial(once, rule))


def output(rule, rows, f, like=None):
    """`like`: the rows from which the server's own gradient is made, if not these."""
    rows = jnp.asarray(rows, jnp.float32)
    return np.asarray(compiled(rule)(rows, jnp.int32(f), rows if like is None else jnp.asarray(like, jnp.float32))[0])


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


@having("permutation")
@search
@given(rows=honest(), order=st.permutations(range(M)), f=st.integers(0, 3))
def test_permutation(rule, rows, order, f):
    f = min(f, AGGREGATORS[rule].max_f(M))
    np.testing.assert_allclose(output(rule, rows[order], f), output(rule, rows, f), atol=near(rows), rtol=1e-4)


@having("translation")
@search
@given(rows=honest(), seed=COUNTED, f=st.integers(0, 3))
def test_translation(rule, rows, seed, f):
    shift = np.random.default_rng(seed).normal(size=D).astype(np.float32)
    f = min(f, AGGREGATORS[rule].max_f(M))
    np.testing.assert_allclose(
        output(rule, rows + shift, f), output(rule, rows, f) + shift, atol=near(rows) + 1e-4, rtol=1e-4
    )


@having("scale")
@search
@given(rows=honest(), power=st.integers(-20, 20), f=st.integers(0, 3))
def test_scale(rule, rows, power, f):
    f, factor = min(f, AGGREGATORS[rule].max_f(M)), np.float32(2.0**power)
    np.testing.assert_allclose(output(rule, factor * rows, f), factor * output(rule, rows, f), rtol=1e-5)


@having("consensus")
@search
@given(rows=honest(), f=st.integers(0, 3))
def test_consensus(rule, rows, f):
    same = np.repeat(rows[:1], M, axis=0)
    np.testing.assert_allclose(output(rule, same, f), rows[0], rtol=1e-5, atol=1e-5 * near(rows))


@having("average")
@search
@given(rows=honest())
def test_average(rule, rows):
    np.testing.assert_allclose(output(rule, rows, 0), rows.mean(axis=0), atol=near(rows))


@having("coordinatewise")
@search
@given(rows=honest(), other=honest(), column=st.integers(0, D - 1), f=st.integers(0, 3))
def test_coordinatewise(rule, rows, other, column, f):
    other[:, column] = rows[:, column]
    assert output(rule, rows, f)[column] == output(rule, other, f)[column]


@having()
@search
@given(
    rows=honest(),
    bad=st.lists(st.lists(st.sampled_from([*BAD, 0.0]), min_size=D, max_size=D), min_size=3, max_size=3),
    order=st.permutations(range(M)),
)
def test_resilience(rule, rows, bad, order):
    """max_f rows of anything, anywhere: the output is finite and no farther away than what the bound allows."""
    spec = AGGREGATORS[rule]
    n_byz = min(spec.max_f(M), 3)
    at = np.array(order if "permutation" in spec.traits else range(M))[:n_byz]  # the last worker may have to be honest
    mixed = honest_rows(rule, rows)
    good = np.delete(mixed, at, axis=0).astype(float)
    mixed[at] = np.array(bad[:n_byz], np.float32).reshape(n_byz, D)
    centre = good.mean(axis=0)
    aggregate = output(rule, mixed, n_byz, like=np.resize(good, (M, D)))
    assert np.isfinite(aggregate).all()
    fixed = spec.traits & {"stateful", "server"} or "translation" not in spec.traits
    radius = np.linalg.norm(good - (0 if fixed else centre), axis=1).max()
    bound = (1 + 2 * (M - n_byz) / (M - 2 * n_byz)) * radius
    assert np.linalg.norm(aggregate - centre) <= bound + near(good)
