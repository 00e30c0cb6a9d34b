"""The contract that every aggregation rule keeps; a rule that is added is tested without a line here."""

import functools
import inspect

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS, PREAGGREGATORS
from byzsim.names import rule_spec
from byzsim.ops.sets import groups
from byzsim.testing import RULE_PROMISES, check_rule
from byzsim.testing.rules import context as make_context
from byzsim.testing.rules import normal, tried
from byzsim.types import RULE_TRAITS


def output(rule, rows, f=0):
    return tried(rule)(rows, f)


MARKS = dict.fromkeys(("vmap", "resilience"), pytest.mark.slow) | dict.fromkeys(("plain_f", "state"), pytest.mark.types)
CONTRACT = [
    pytest.param(rule, promise, marks=MARKS.get(promise, ()))
    for rule, spec in sorted(AGGREGATORS.items())
    for promise, each in RULE_PROMISES.items()
    if each.trait in ("", *spec.traits)
]


NO_GRADIENT = {"sign_majority"}
"""rules whose output is a direction, of which no distance to the honest mean can be promised"""


@pytest.mark.parametrize(("rule", "promise"), CONTRACT)
def test_every_promise_is_kept(rule, promise):
    assert check_rule(rule, only=[promise]) == {promise: RULE_PROMISES[promise].words}
    assert tried(rule).bounded or rule in NO_GRADIENT


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["bulyan", "krum", "mda", "trimmed_mean", "smea", "safeguard"])
def test_a_static_f_changes_nothing(rule):
    rows = normal(7)
    static = jax.jit(lambda rows: tried(rule).traced(rows, 2)[0])
    np.testing.assert_allclose(static(jnp.asarray(rows)), output(rule, rows, 2), rtol=1e-5, atol=1e-6)


def test_whether_f_is_read_is_seen(rule):
    """Left out, it is asked for where, and only where, the outputs depend on it."""
    drawn = [normal(7, seed=seed) for seed in range(5)]
    moves = any((output(rule, rows, f) != output(rule, rows)).any() for rows in drawn for f in (1, 3, 5))
    try:
        jax.eval_shape(lambda rows: byzsim.aggregate(rule, rows, server_gradient=rows[0]), jnp.asarray(drawn[0]))
        asked = False
    except ValueError as error:
        assert "needs f" in str(error)
        asked = True
    assert asked == moves


def test_a_second_call_compiles_nothing(rule, compiled):
    first, second = normal(7), normal(7, seed=1)
    output(rule, first, 0)
    compiled.clear()
    output(rule, second, 2)
    assert not compiled


def test_compilations_are_seen(compiled):
    jax.jit(lambda x: x * 3)(1.0)
    assert compiled


BEFORE_RULES = [f"{pre}+median" for pre in PREAGGREGATORS]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*AGGREGATORS, *BEFORE_RULES])
def test_derivatives_beside_a_nan_are_finite_where_the_value_is(name):
    made = rule_spec(name).factory()
    rows = normal(8, 5)
    like, rows[3] = normal(8, 5), np.nan

    def total(rows):
        vector = made.apply(rows, made.init(8, 5), make_context(like, jnp.int32(1)))[0]
        return vector.sum(), vector

    (_, vector), slope = jax.jit(jax.value_and_grad(total, has_aux=True))(jnp.asarray(rows))
    assert np.isfinite(slope).all() or not np.isfinite(vector).all()
    assert np.isfinite(vector).all() or name in ("mean", "bucketing+median")


@pytest.mark.slow
def test_brsgd_with_all_ties_does_not_see_the_order():
    made = AGGREGATORS["brsgd"].factory(score_tie="all")
    run = jax.jit(lambda rows, like: made.apply(rows, (), make_context(like, jnp.int32(1))))
    for seed in range(5):
        rows = jnp.asarray(normal(8, 5, seed=seed))
        order = np.random.default_rng(seed).permutation(8)
        here, there = (run(each, rows)[0] for each in (rows, rows[order]))
        np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-6)


def test_traits_are_known_ones(rule):
    assert AGGREGATORS[rule].traits <= set(RULE_TRAITS) and AGGREGATORS[rule].cost


def test_the_factory_is_documented_and_keyword_only(rule):
    spec = AGGREGATORS[rule]
    assert spec.summary.endswith(".") and spec.source
    assert "Tolerates:" in spec.factory.__doc__
    assert {p.kind for p in inspect.signature(spec.factory).parameters.values()} <= {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("rule", "option", "choices"),
    [
        ("median", "middle", "'mean', 'lower'"),
        ("brsgd", "empty", "'nearest', 'c1', 'median'"),
        ("brsgd", "threshold", "a number, 'majority', 'half'"),
        ("brsgd", "beta", "a number"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_known_ones(rule, option, choices):
    with pytest.raises(ValueError, match=f"{rule}: {option}='nonsense' is not (one of )?{choices}"):
        AGGREGATORS[rule].factory(**{option: "nonsense"})


WORKERS, STEPS = 10, 40


@functools.cache
def descent(rule, n_byz):
    """(distance to the optimum, steps in which the output was the mean) after descent on ||x||^2 / 2.

    Honest gradients are noisy ones of length 0.1; Byzantine workers turn theirs around and stretch them fourfold.
    """
    d = 12
    made = AGGREGATORS[rule].factory()
    byz = jnp.isin(jnp.arange(WORKERS), jnp.arange(0, 3 * n_byz, 3))  # one in each group of a rule with shared batches
    group = groups(WORKERS, min(made.redundancy, WORKERS))

    def step(carry, t):
        x, previous, state = carry
        key = jax.random.fold_in(jax.random.key(0), t)
        grads = (x[None] + 0.003 * jax.random.normal(key, (WORKERS, d)))[group]
        sent = jnp.where(byz[:, None], -4 * grads, grads)
        ctx = make_context(sent, jnp.int32(n_byz), t)._replace(lr=0.1, params=x, previous=previous, epoch=10)
        ctx = ctx._replace(server_loss=lambda n: lambda params: jnp.square(params).sum() / 2)
        out, state, _ = made.apply(sent, state, ctx)
        x = x - 0.1 * out
        mean = jnp.abs(out - sent.mean(axis=0)).max() <= 1e-5 * jnp.abs(out).max()
        return (x, out, state), (jnp.linalg.norm(x), mean)

    first = (jnp.full(d, 0.03), jnp.zeros(d), made.init(WORKERS, d))
    distance, mean = jax.jit(lambda: jax.lax.scan(step, first, jnp.arange(STEPS))[1])()
    return float(distance[-1]), int(mean.sum())


@pytest.mark.slow
def test_the_defaults_act_on_a_small_problem(rule):
    """A rule whose thresholds are for larger gradients would be the mean here, and nobody would be told."""
    if rule in ("mean", "finite_mean"):  # which is the mean of finite rows
        return
    n_byz = min(3, max(AGGREGATORS[rule].max_f(WORKERS), 2))
    distance, mean_steps = descent(rule, n_byz)
    assert mean_steps < STEPS
    assert distance < 0.5 * descent("mean", n_byz)[0]
