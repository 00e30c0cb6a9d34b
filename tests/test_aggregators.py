"""The contract that every aggregation rule keeps; a rule that is added is tested without a line here."""

import functools
import inspect

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS, PREAGGREGATORS, Context
from byzsim.names import rule_spec
from byzsim.ops.sets import groups
from byzsim.types import RULE_TRAITS

D = 33


def normal(m, d=D, seed=0):
    """Rows of unequal spread, so that scores in which rules count columns seldom tie."""
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(m, d)) * np.linspace(0.5, 2, m)[:, None] + draw.normal(size=d)).astype(np.float32)


def honest_rows(rule, rows):
    """Rows on which the rule makes its promises: copies in a group whose members compute the same batches, and larger
    where it has thresholds in gradient units."""
    group = np.asarray(groups(len(rows), min(AGGREGATORS[rule].factory().redundancy, len(rows))))
    return rows[np.searchsorted(group, group)] * np.float32(1 if "scale" in AGGREGATORS[rule].traits else 64)


def make_context(rows, f, step=0):
    """A round in which the server's own gradient is the median of the rows."""
    direction = jnp.nan_to_num(jnp.median(rows, axis=0), posinf=0, neginf=0)
    d = rows.shape[1]
    return Context(
        jax.random.key(0),
        jnp.int32(step),
        f,
        lr=0.1,
        params=jnp.zeros(d),
        previous=jnp.zeros(d),
        server_loss=lambda n: lambda params: jnp.vdot(direction, params),
    )


def once(rule, rows, f, like=None):
    """(aggregate, info) of a round; with a memory, of the third such round: it may take one to learn."""
    made = AGGREGATORS[rule].factory()
    state = made.init(*rows.shape)
    for step in range(3 if "stateful" in AGGREGATORS[rule].traits else 1):
        aggregate, state, info = made.apply(rows, state, make_context(rows if like is None else like, f, step))
    return aggregate, info


apply = jax.jit(once, static_argnums=0)


def output(rule, rows, f=0):
    return np.asarray(apply(rule, jnp.asarray(rows), jnp.int32(f))[0])


@pytest.mark.parametrize("m", [7, 8])
def test_one_vector_and_weights_that_sum_to_one(rule, m):
    aggregate, info = apply(rule, normal(m), jnp.int32(1))
    assert aggregate.shape == (D,) and aggregate.dtype == jnp.float32
    assert info.weight.shape == (m,) and info.weight.dtype == jnp.float32
    assert np.isfinite(info.weight).all() and (info.weight >= 0).all()
    assert -1e-6 <= float(info.weight.sum()) <= 1 + 1e-6
    if not AGGREGATORS[rule].traits & {"stateful", "server"}:
        assert float(info.weight.sum()) == pytest.approx(1, abs=1e-6)


def test_f_may_be_a_plain_number(rule):
    """A rule may count with it before anything is compiled, or refuse it there."""
    rows = jnp.asarray(normal(7))
    vector, info = jax.eval_shape(lambda: once(rule, rows, 2))
    assert (vector.shape, info.weight.shape) == ((D,), (7,))


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["bulyan", "krum", "mda", "trimmed_mean", "smea", "safeguard"])
def test_a_static_f_changes_nothing(rule):
    rows = normal(7)
    static = jax.jit(lambda rows: once(rule, rows, 2)[0])
    np.testing.assert_allclose(static(jnp.asarray(rows)), output(rule, rows, 2), rtol=1e-5, atol=1e-6)


def test_whether_f_is_read_is_seen(rule):
    """Left out, it is asked for where, and only where, the outputs depend on it."""
    drawn = [normal(7, seed=seed) for seed in range(5)]
    moves = any((output(rule, rows, f) != output(rule, rows)).any() for rows in drawn for f in (1, 3, 5))
    try:
        jax.eval_shape(lambda rows: byzsim.aggregate(rule, rows, server_gradient=rows[0]), jnp.asarray(drawn[0]))
        asked = False
    except ValueError as error:
        assert "reads f" in str(error)
        asked = True
    assert asked == moves


@pytest.mark.slow
def test_vmap_over_f_is_a_loop(rule):
    rows = jnp.asarray(normal(7))
    side_by_side = jax.jit(jax.vmap(functools.partial(once, rule), in_axes=(None, 0)))(rows, jnp.arange(8))[0]
    np.testing.assert_allclose(side_by_side, [output(rule, rows, f) for f in range(8)], rtol=1e-5, atol=1e-6)


def test_state_keeps_its_structure(rule):
    made = AGGREGATORS[rule].factory()
    rows, state = jnp.asarray(normal(7)), made.init(7, D)

    def step(state, i):
        _, state, info = made.apply(rows, state, make_context(rows, jnp.int32(1), i))
        return state, info.weight

    after, _ = jax.eval_shape(lambda: jax.lax.scan(step, state, jnp.arange(3)))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert bool(jax.tree.leaves(state)) == ("stateful" in AGGREGATORS[rule].traits)


def test_a_second_call_compiles_nothing(rule, compiled):
    first, second = jnp.asarray(normal(7)), jnp.asarray(normal(7, seed=1))
    f = [jnp.int32(0), jnp.int32(2)]
    apply(rule, first, f[0])
    compiled.clear()
    apply(rule, second, f[1])
    assert not compiled


def test_compilations_are_seen(compiled):
    jax.jit(lambda x: x * 3)(1.0)
    assert compiled


BAD = {
    "1e10": [1e10],
    "1e38": [1e38],
    "inf": [np.inf],
    "-inf": [-np.inf],
    "NaN": [np.nan],
    "mixed signs": [1e10, -1e10, -1e38],
    "mixed infinities": [np.inf, -np.inf, np.nan],
    "mixed": [np.nan, 1e38, 1e10],
}


@pytest.mark.slow
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("m", [7, 8])
def test_bad_rows_within_the_bound_do_not_get_through(rule, m, bad):
    """Within (1 + 2 (m - f) / (m - 2f)) times the honest radius of the honest mean, as Cauchy's bound for the
    geometric median says, the weakest of those that hold for all; coordinate-wise rules stay between honest values."""
    spec = AGGREGATORS[rule]
    n_byz = spec.max_f(m)
    rows = np.roll(honest_rows(rule, normal(m)), -3, axis=0)
    honest = rows[n_byz:].copy()
    rows[:n_byz] = np.resize(BAD[bad], n_byz)[:, None]
    rows = np.roll(rows, 3, axis=0)  # not only the first workers
    aggregate = output(rule, rows, n_byz)
    assert np.isfinite(aggregate).all()
    centre = honest.mean(axis=0)
    radius = np.linalg.norm(honest - centre, axis=1).max()
    if spec.traits & {"stateful", "server"} or "translation" not in spec.traits:
        radius = np.linalg.norm(honest, axis=1).max()  # what starts from zero, or is clipped to a length
    assert np.linalg.norm(aggregate - centre) <= (1 + 2 * (m - n_byz) / (m - 2 * n_byz)) * radius
    if "coordinatewise" in spec.traits:
        assert (aggregate >= honest.min(axis=0) - 1e-5).all() and (aggregate <= honest.max(axis=0) + 1e-5).all()


def having(trait):
    return pytest.mark.parametrize("rule", sorted(name for name, e in AGGREGATORS.items() if trait in e.traits))


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


@having("consensus")
@pytest.mark.parametrize("f", [0, 2])
@pytest.mark.parametrize("m", [7, 8])
def test_identical_rows_give_that_row(rule, m, f):
    row = normal(1)
    np.testing.assert_allclose(output(rule, np.repeat(row, m, axis=0), f), row[0], rtol=1e-5)


@having("average")
@pytest.mark.parametrize("m", [7, 8])
def test_without_declared_attackers_it_is_the_mean(rule, m):
    np.testing.assert_allclose(output(rule, normal(m), 0), normal(m).mean(axis=0), atol=1e-5)


@having("permutation")
@pytest.mark.parametrize("m", [7, 8])
def test_order_of_workers_does_not_count(rule, m):
    rows = normal(m, seed=3)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(m)
        np.testing.assert_allclose(output(rule, rows[order], 1), output(rule, rows, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_brsgd_with_all_ties_does_not_see_the_order():
    made = AGGREGATORS["brsgd"].factory(score_tie="all")
    run = jax.jit(lambda rows, like: made.apply(rows, (), make_context(like, jnp.int32(1))))
    for seed in range(5):
        rows = jnp.asarray(normal(8, 5, seed=seed))
        order = np.random.default_rng(seed).permutation(8)
        here, there = (run(each, rows)[0] for each in (rows, rows[order]))
        np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-6)


@having("translation")
def test_a_shift_of_all_rows_shifts_the_output(rule):
    rows, shift = normal(7), normal(1, seed=9)
    np.testing.assert_allclose(output(rule, rows + shift, 1), output(rule, rows, 1) + shift[0], atol=1e-5)


@having("scale")
@pytest.mark.parametrize("factor", [2.0**-10, 4.0, 2.0**20])
def test_powers_of_two_scale_the_output_exactly(rule, factor):
    rows = normal(7)
    np.testing.assert_array_equal(
        output(rule, np.float32(factor) * rows, 1), np.float32(factor) * output(rule, rows, 1)
    )


@having("selects_one")
def test_the_output_is_the_row_with_all_weight(rule):
    for seed in range(5):
        rows = normal(7, seed=seed)
        aggregate, info = apply(rule, rows, jnp.int32(1))
        assert sorted(np.asarray(info.weight).tolist()) == [0.0] * 6 + [1.0]
        np.testing.assert_array_equal(aggregate, rows[int(np.argmax(info.weight))])


@having("coordinatewise")
def test_columns_do_not_see_each_other(rule):
    rows = normal(7)
    changed = rows.copy()
    changed[:, 5:] = normal(7, seed=8)[:, 5:] * 100
    np.testing.assert_array_equal(output(rule, changed, 1)[:5], output(rule, rows, 1)[:5])


@having("filter")
def test_workers_without_weight_do_not_count(rule):
    for seed in range(5):
        rows = normal(7, seed=seed)
        aggregate, info = apply(rule, rows, jnp.int32(2))
        if not (np.asarray(info.weight) == 0).any():
            continue
        inside = np.linalg.lstsq(rows[np.asarray(info.weight) > 0].T, np.asarray(aggregate), rcond=None)[0]
        np.testing.assert_allclose(rows[np.asarray(info.weight) > 0].T @ inside, aggregate, atol=1e-4)


def test_traits_are_known_ones(rule):
    assert AGGREGATORS[rule].traits <= set(RULE_TRAITS) and AGGREGATORS[rule].cost


def test_the_bound_is_a_number_of_workers_that_leaves_a_majority(rule):
    bounds = [AGGREGATORS[rule].max_f(m) for m in range(1, 50)]
    assert all(0 <= 2 * f < m for m, f in enumerate(bounds, start=1)) and bounds == sorted(bounds)


def test_the_factory_is_documented_and_keyword_only(rule):
    spec = AGGREGATORS[rule]
    assert spec.summary.endswith(".") and spec.source
    assert "Tolerates:" in spec.factory.__doc__
    assert {p.kind for p in inspect.signature(spec.factory).parameters.values()} <= {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("rule", "option", "choices"),
    [
        ("median", "middle", "'mean', 'lower'"),
        ("brsgd", "reading", "'paper', 'code'"),
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
    if rule == "mean":
        return
    n_byz = min(3, max(AGGREGATORS[rule].max_f(WORKERS), 2))
    distance, mean_steps = descent(rule, n_byz)
    assert mean_steps < STEPS
    assert distance < 0.5 * descent("mean", n_byz)[0]
