"""One run: the engine's steps against NumPy loops written here."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS, ATTACKS, Aggregator, Attack, Info, engine
from byzsim.engine import measures
from byzsim.engine.batches import shared_batches
from byzsim.engine.configs import step_key
from byzsim.engine.workers import one_example, unraveller

LR = 0.25


def softmax_gradient(world, params, index, labels=None):
    """(mean cross-entropy, its gradient) of softmax regression, in float64; parameters as (bias, kernel)."""
    x = world.images[index].reshape(len(index), -1) / 255
    y = np.eye(4)[world.labels[index] if labels is None else labels]
    logits = params[:4] + x @ params[4:].reshape(-1, 4)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    error = (p - y) / len(index)
    return -np.log((p * y).sum(axis=1)).mean(), np.concatenate([error.sum(axis=0), (x.T @ error).ravel()])


def steps(world, n=5, **run_config):
    """States of a run's first steps, with the examples of each."""
    static, dynamic = world.plan(lr=LR, **run_config)
    state = world.start(static, dynamic, world.train)
    draw = np.random.default_rng(2)
    states, batches = [state], []
    for _ in range(n):
        index = draw.integers(0, 64, (4, 4))
        state, _ = world.step(static, dynamic, state, world.train, jnp.asarray(index))
        states.append(state)
        batches.append(index)
    return states, batches


def test_mean_without_attack_is_sgd_on_the_joined_batch(world):
    states, batches = steps(world)
    params = np.asarray(states[0].params, float)
    for state, index in zip(states[1:], batches, strict=True):
        params = params - LR * softmax_gradient(world, params, index.ravel())[1]
        np.testing.assert_allclose(state.params, params, atol=1e-5)
    assert int(states[-1].step) == 5


@pytest.mark.parametrize(("momentum", "factor"), [("ema", 0.2), ("classic", 1.0)])
def test_worker_momentum(world, momentum, factor):
    states, batches = steps(world, momentum=momentum, momentum_beta=0.8)
    params, sent = np.asarray(states[0].params, float), np.zeros((4, 68))
    assert not states[0].momentum.any()
    for state, index in zip(states[1:], batches, strict=True):
        sent = 0.8 * sent + factor * np.array([softmax_gradient(world, params, batch)[1] for batch in index])
        params = params - LR * sent.mean(axis=0)
        np.testing.assert_allclose(state.momentum, sent, atol=1e-5)
        np.testing.assert_allclose(state.params, params, atol=1e-5)


def test_adam_moves_by_the_learning_rate_in_its_first_step(world):
    states, batches = steps(world, 1, optimizer="adam", optimizer_args={"eps": 1e-12})
    gradient = softmax_gradient(world, np.asarray(states[0].params, float), batches[0].ravel())[1]
    moved = np.asarray(states[1].params - states[0].params)
    clear = np.abs(gradient) > 1e-5
    np.testing.assert_allclose(moved[clear], -LR * np.sign(gradient[clear]), rtol=1e-3)


def test_label_flip_changes_only_what_byzantine_workers_send(world):
    index = np.arange(16).reshape(4, 4)
    state, rows = world.sent(attack="label_flip", n_byz=1, byzantine=(2,), index=jnp.asarray(index))
    params = np.asarray(state.params, float)
    for i in range(4):
        labels = 3 - world.labels[index[i]] if i == 2 else None
        np.testing.assert_allclose(rows[i], softmax_gradient(world, params, index[i], labels)[1], atol=1e-6)


def test_what_an_epoch_reports(world):
    static, dynamic = world.plan(attack="scaling", n_byz=1, byzantine=(3,), lr=1e-30)
    static = dataclasses.replace(static, steps=1)
    state = world.start(static, dynamic, world.train)
    params, before = np.asarray(state.params, float), state
    batch = world.batches(static, dynamic, state)[0]
    state, measured = world.epoch(static, dynamic, state, world.train, world.test)
    honest = [softmax_gradient(world, params, batch[i])[0] for i in range(3)]
    assert float(measured.step_metrics.train_loss) == pytest.approx(np.mean(honest), rel=1e-5)
    assert float(measured.step_metrics.byz_weight) == pytest.approx(0.25)
    assert not measured.diverged and int(state.step) == int(before.step) + 1


@pytest.mark.parametrize(("n", "chunk"), [(24, 1000), (24, 7), (23, 7)])
def test_evaluate_is_a_direct_computation(world, n, chunk):
    static, _ = world.plan()
    params = np.random.default_rng(1).normal(size=68)
    test = jax.tree.map(lambda x: x[:n], world.test)
    tree = unraveller(static.task(), one_example(static.task(), world.train))(jnp.asarray(params, jnp.float32))
    accuracy, loss = measures.evaluate(static.task()._replace(test_chunk=chunk), tree, (), test, ()).values()
    logits = params[:4] + world.images[:n].reshape(n, -1) / 255 @ params[4:].reshape(-1, 4)
    assert float(accuracy) == pytest.approx((logits.argmax(axis=1) == world.labels[:n]).mean())
    assert float(loss) == pytest.approx(softmax_gradient(world, params, np.arange(n))[0], rel=1e-5)


def test_divergence_is_flagged_and_is_not_an_accuracy(world):
    with pytest.warns(UserWarning, match="mean's guarantee covers f <= 0 for m=4"):
        history = world.simulate(attack="scaling", attack_args={"factor": 1e38}, n_byz=1, epochs=3, lr=1e30)
    assert history.diverged and history.diverged_epoch == 1
    for series in (*history.metrics.values(), history.train_loss, history.cosine, history.variance):
        assert series.shape == (3,) and np.isnan(series).all()


def test_an_honest_run_learns_its_own_training_set(world):
    history = world.simulate(epochs=30, lr=1.0)
    assert not history.diverged and history.diverged_epoch is None
    assert history.accuracy[-1] > history.accuracy[0] and history.train_loss[-1] < 0.8 * history.train_loss[0]
    assert (history.byz_weight == 0).all()


def batches_of(world, **run_config):
    static, dynamic = world.plan(**run_config)
    state = world.start(static, dynamic, world.train)
    return state, world.batches(static, dynamic, state)


def test_batches_cover_every_shard_once_an_epoch(world):
    state, batches = batches_of(world)
    assert batches.shape == (4, 4, 4)
    for worker in range(4):
        np.testing.assert_array_equal(np.sort(batches[:, worker].ravel()), np.sort(state.shards[worker]))
    static, dynamic = world.plan()
    assert (world.batches(static, dynamic, state._replace(step=jnp.int32(4))) != batches).any()


def test_a_short_last_batch_is_left_out(world):
    assert batches_of(world, batch=5)[1].shape == (3, 4, 5)
    assert batches_of(world, batch=5, steps=2)[1].shape == (2, 4, 5)


@pytest.mark.parametrize("other", [{"rule": "krum"}, {"attack": "gaussian", "n_byz": 2}, {"lr": 0.5, "f": 1}])
def test_seeds_are_paired(world, other):
    (state, batches), (same, same_batches) = batches_of(world, seed=3), batches_of(world, seed=3, **other)
    np.testing.assert_array_equal(state.params, same.params)
    np.testing.assert_array_equal(state.shards, same.shards)
    np.testing.assert_array_equal(batches, same_batches)


def test_another_seed_is_another_run(world):
    (state, batches), (other, other_batches) = batches_of(world, seed=3), batches_of(world, seed=4)
    assert (state.params != other.params).any() and (state.shards != other.shards).any()
    assert (batches != other_batches).any()


@pytest.mark.slow
def test_dirichlet_shards_are_the_runs(world):
    even, _ = batches_of(world, partition="dirichlet", partition_args={"alpha": 1000.0})
    skewed, _ = batches_of(world, partition="dirichlet", partition_args={"alpha": 0.01})

    def largest(state):
        return np.mean([np.bincount(world.labels[np.asarray(shard)]).max() for shard in state.shards])

    assert largest(skewed) > largest(even) + 2


def read_context(read):
    """The mean, whose state is what `read` sees in the round."""

    def apply(rows, state, ctx):
        return rows.mean(axis=0), read(rows, ctx), Info(jnp.full(len(rows), 1 / len(rows)))

    return Aggregator(lambda m, d: jnp.zeros(()), apply)


@pytest.mark.slow
def test_rules_that_ask_get_the_servers_own_loss(world):
    """The mean loss on examples of the training set, drawn afresh in each step, at any parameters."""
    static, dynamic = world.plan(lr=LR)

    def read(rows, ctx):
        return jnp.stack([ctx.server_loss(64)(ctx.params), ctx.server_loss(64)(ctx.params + 1), ctx.lr])

    static = dataclasses.replace(static, rule=lambda: read_context(read)._replace(init=lambda m, d: jnp.zeros(3)))
    state = world.start(static, dynamic, world.train)
    index = state.shards[:, :4]
    first, _ = world.step(static, dynamic, state, world.train, index)
    key = step_key(dynamic, engine.Stream.SERVER, state.step)
    drawn = np.asarray(jax.random.randint(key, (1, 64), 0, 64))[0]
    params = np.asarray(state.params, float)
    expected = [softmax_gradient(world, params, drawn)[0], softmax_gradient(world, params + 1, drawn)[0], LR]
    np.testing.assert_allclose(first.rule, expected, rtol=1e-5)
    second, _ = world.step(static, dynamic, first, world.train, index)
    assert (second.rule != first.rule)[0]


def test_everybody_knows_the_last_aggregate(world):
    static, dynamic = world.plan(lr=LR)
    static = dataclasses.replace(
        static,
        rule=lambda: read_context(lambda rows, ctx: ctx.previous)._replace(init=lambda m, d: jnp.zeros(d)),
    )
    state = world.start(static, dynamic, world.train)
    for _ in range(2):
        after, _ = world.step(static, dynamic, state, world.train, state.shards[:, :4])
        np.testing.assert_array_equal(after.rule, state.previous)
        np.testing.assert_allclose(after.previous, (state.params - after.params) / LR, atol=1e-5)
        state = after


def test_the_full_gradient_is_over_all_examples(world):
    static, dynamic = world.plan()
    params = world.start(static, dynamic, world.train).params
    exact = softmax_gradient(world, np.asarray(params, float), np.arange(64))[1]
    task = static.task()
    unravel = unraveller(task, one_example(task, world.train))
    found = measures.full_gradient(unravel, task, params, (), world.train)
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_an_attack_sees_the_rule_and_the_loss_after_the_step(world):
    """What it is told would happen is what happens."""
    seen = {}

    def make():
        def grads(sent, byz, state, ctx):
            out = ctx.aggregate(jnp.where(byz[:, None], 0.0, sent))
            seen["grads"] = True
            return jnp.zeros_like(sent), (out, ctx.loss_after(out))

        return Attack(lambda m, d: (jnp.zeros(d), jnp.float32(0)), ATTACKS["none"].factory().labels, grads)

    static, dynamic = world.plan(lr=LR, rule="krum", n_byz=1)
    static = dataclasses.replace(static, attack=make)
    state = world.start(static, dynamic, world.train)
    index = state.shards[:, :4]
    after, _ = world.step(static, dynamic, state, world.train, index)
    assert seen
    told, loss = after.attack
    np.testing.assert_allclose(told, after.previous, atol=1e-6)
    params = np.asarray(after.params, float)
    honest = [softmax_gradient(world, params, np.asarray(index[i]))[0] for i in range(1, 4)]
    assert float(loss) == pytest.approx(np.mean(honest), rel=1e-5)


def test_facts_of_a_step(world):
    static, dynamic = world.plan(lr=LR, rule="krum", attack="scaling", attack_args={"factor": 50.0}, n_byz=1)
    state = world.start(static, dynamic, world.train)
    index = np.asarray(state.shards[:, :4])
    after, (facts, _) = world.step(static, dynamic, state, world.train, jnp.asarray(index))
    params = np.asarray(state.params, float)
    rows = np.array([softmax_gradient(world, params, batch)[1] for batch in index])[1:]
    mean, aggregate = rows.mean(axis=0), np.asarray(after.previous, float)
    norm = np.linalg.norm
    assert float(facts.cosine) == pytest.approx(mean @ aggregate / norm(mean) / norm(aggregate), rel=1e-4)
    assert float(facts.error) == pytest.approx(norm(aggregate - mean) / norm(mean), rel=1e-4)
    assert float(facts.variance) == pytest.approx(((rows - mean) ** 2).sum() / 3, rel=1e-4)
    assert (float(facts.byz_weight), float(facts.honest_dropped), float(facts.byz_kept)) == (0, 2, 0)


@pytest.mark.parametrize(("m", "load", "expected"), [(6, 3, [0, 0, 0, 1, 1, 1]), (7, 3, [0, 0, 0, 1, 1, 1, 1])])
def test_a_group_computes_the_batches_of_its_members(m, load, expected):
    index = jnp.arange(m * 2).reshape(m, 2)
    shared = np.asarray(shared_batches(index, load))
    assert shared.shape == (m, 2 * load)
    for worker, group in enumerate(expected):
        np.testing.assert_array_equal(shared[worker], np.arange(6 * group, 6 * group + 6))
    np.testing.assert_array_equal(shared_batches(index, 1), index)
    assert shared_batches(index, 50).shape == (m, 2 * m)


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["sign_flip", "gaussian", "label_flip"])
def test_draco_is_the_exact_mean(world, attack):
    """One liar in each group of three changes nothing."""
    plans = {"m": 6, "lr": LR, "n_byz": 2, "byzantine": (1, 3)}
    static, dynamic = world.plan(rule="draco", attack=attack, **plans)
    state = world.start(static, dynamic, world.train)
    index = np.random.default_rng(2).integers(0, 64, (6, 4))
    after, (facts, _) = world.step(static, dynamic, state, world.train, jnp.asarray(index))
    exact = softmax_gradient(world, np.asarray(state.params, float), index.ravel())[1]
    np.testing.assert_allclose(after.previous, exact, atol=1e-6)
    assert float(facts.byz_weight) == 0
    assert float(facts.error) < 1e-5 or attack == "label_flip"


VARIANTS = [
    (kind, name, variant.options)
    for kind, zoo in (("rule", AGGREGATORS), ("attack", ATTACKS))
    for name, spec in zoo.items()
    for variant in spec.variants
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "options"), VARIANTS, ids=str)
def test_every_variant_goes_through_a_step(kind, name, options, world):
    """With its numbers traced, as the grid has them, and a state that keeps its structure."""
    static, dynamic = world.plan(m=11, n_byz=2, **{kind: name, f"{kind}_args": options})
    start = functools.partial(engine.start, static)
    state = jax.eval_shape(start, dynamic, world.train)
    index = jax.ShapeDtypeStruct((11, static.batch), jnp.int32)
    after, (facts, _) = jax.eval_shape(functools.partial(engine.step, static), dynamic, state, world.train, index)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    assert {leaf.shape for leaf in facts} == {()}
