"""How a run may be set up beside rule and attack: batches, schedules, local steps, participation, seeds, data."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import RunConfig, engine, grid
from byzsim.engine import batches
from conftest import keep_rows
from test_engine import LR, softmax_gradient

PLAIN = {"rule": "median", "attack": "sign_flip", "n_byz": 1, "epochs": 2, "lr": 0.5}


def digest(world, **changes):
    return world.simulate(**PLAIN | changes).digest


def params(world, **changes):
    return world.simulate(**PLAIN | changes).params


def test_what_is_spelled_out_as_the_default_is_the_same_run(world):
    """One local step of everybody, all data, one seed: bit for bit what it was."""
    same = {"local_steps": 1, "participation": 1.0, "schedule": "constant", "sampling": "shuffle", "data_seed": 0}
    assert digest(world, **same) == digest(world)


def test_when_it_is_measured_does_not_change_a_run(world):
    whole = params(world)
    for changes in ({"eval_every": 2}, {"eval_every": 8}, {"total_steps": 8}, {"total_steps": 8, "eval_every": 1}):
        np.testing.assert_array_equal(params(world, **changes), whole)
    history = world.simulate(**PLAIN, total_steps=6, eval_every=2)
    assert len(history.accuracy) == 3
    with pytest.raises(ValueError, match="eval_every=3 does not divide the run's 8 steps: take"):
        world.simulate(**PLAIN, eval_every=3)


def first_step(world, index=None, **changes):
    """(parameters before, parameters after, examples of the first step)"""
    static, dynamic = world.plan(lr=LR, **changes)
    state = world.start(static, dynamic, world.train)
    each, common = batches.order(static, dynamic, state.shards, state.step, world.train)
    index = batches.in_step(static, dynamic, jax.tree.map(lambda leaf: leaf[0], each), common)
    after, _ = world.step(static, dynamic, state, world.train, index)
    return np.asarray(state.params, float), np.asarray(after.params, float), np.asarray(index), state


def test_weight_decay_and_clipping_at_the_worker(world):
    before, after, index, _ = first_step(world, weight_decay=0.1, clip=0.05)
    rows = np.array([softmax_gradient(world, before, batch)[1] for batch in index])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    assert (norms > 0.05).all()
    expected = before - LR * (rows * 0.05 / norms + 0.1 * before).mean(axis=0)
    np.testing.assert_allclose(after, expected, atol=1e-6)


def test_the_whole_shard_is_a_batch(world):
    before, after, index, state = first_step(world, batch=None)
    np.testing.assert_array_equal(np.sort(index), np.sort(state.shards))
    expected = before - LR * np.mean([softmax_gradient(world, before, shard)[1] for shard in index], axis=0)
    np.testing.assert_allclose(after, expected, atol=1e-6)


def test_unequal_shards_weigh_what_they_have(world):
    """A full batch of a short shard is the mean over its examples, not over what fills it up."""
    before, after, index, _ = first_step(
        world, batch=None, partition="dirichlet_by_class", partition_args={"alpha": 0.5}
    )
    sizes = (index >= 0).sum(axis=1)
    assert len({*sizes.tolist()}) > 1
    rows = [softmax_gradient(world, before, shard[shard >= 0])[1] for shard in index]
    np.testing.assert_allclose(after, before - LR * np.mean(rows, axis=0), atol=1e-6)


def test_batches_of_unequal_shards_are_of_the_workers_own(world):
    static, dynamic = world.plan(partition="dirichlet_by_class", partition_args={"alpha": 0.5})
    state = world.start(static, dynamic, world.train)
    drawn = world.batches(static, dynamic, state)
    assert drawn.shape == (4, 4, 4)
    for worker, shard in enumerate(np.asarray(state.shards)):
        assert {*drawn[:, worker].ravel().tolist()} <= {*shard[shard >= 0].tolist()}


def test_a_short_last_batch_is_kept_where_that_is_asked_for(world):
    static, dynamic = world.plan(batch=5, sampling="keep_last")
    state = world.start(static, dynamic, world.train)
    drawn = world.batches(static, dynamic, state)
    assert drawn.shape == (4, 4, 5)
    for worker in range(4):
        own = drawn[:, worker]
        np.testing.assert_array_equal(np.sort(own[own >= 0]), np.sort(state.shards[worker]))
        assert (own[:3] >= 0).all() and (own[3] >= 0).sum() == 1


def test_sampling_with_replacement(world):
    static, dynamic = world.plan(sampling="replacement", steps=50)
    state = world.start(static, dynamic, world.train)
    drawn = world.batches(static, dynamic, state)
    assert drawn.shape == (50, 4, 4)
    for worker in range(4):
        assert {*drawn[:, worker].ravel().tolist()} == {*np.asarray(state.shards[worker]).tolist()}


@pytest.mark.parametrize(
    ("schedule", "args", "factors"),
    [
        ("step_decay", {"every": 2, "factor": 0.5}, [1, 1, 0.5, 0.5]),
        ("piecewise", {"at": (1, 3), "factors": (0.5, 0.1)}, [1, 0.5, 0.5, 0.1]),
        ("cosine_decay_schedule", {"decay_steps": 4}, [1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_a_schedule_is_a_factor_on_the_rate(world, schedule, args, factors):
    static, dynamic = world.plan(lr=LR, schedule=schedule, schedule_args=args)
    state = world.start(static, dynamic, world.train)
    for factor in factors:
        after, _ = world.step(static, dynamic, state, world.train, state.shards[:, :4])
        moved = np.asarray(after.params - state.params)
        np.testing.assert_allclose(moved, -factor * LR * np.asarray(after.previous), atol=1e-6)
        state = after


@pytest.mark.parametrize("sends", ["gradient", "difference"])
def test_local_steps_against_a_loop(world, sends):
    """FedAvg: two steps of SGD at every worker; what it sends, and what the server makes of it."""
    how = {"local_steps": 2, "local_lr": 0.1, "sends": sends}
    before, after, index, _ = first_step(world, **how)
    assert index.shape == (4, 2, 4)
    sent = []
    for worker in index:
        own, slopes = before.copy(), []
        for batch in worker:
            slopes.append(softmax_gradient(world, own, batch)[1])
            own = own - 0.1 * slopes[-1]
        sent.append(before - own if sends == "difference" else np.mean(slopes, axis=0))
    np.testing.assert_allclose(after, before - LR * np.mean(sent, axis=0), atol=1e-6)


def test_the_state_of_a_workers_own_optimizer_lasts_where_asked_for(world):
    how = {"local_steps": 2, "local_optimizer": "adam", "local_lr": 0.1, "sends": "difference"}
    static, dynamic = world.plan(lr=1.0, local_state="keep", **how)
    state = world.start(static, dynamic, world.train)
    counts = [leaf for leaf in jax.tree.leaves(state.local) if jnp.issubdtype(leaf.dtype, jnp.integer)]
    assert counts and all((leaf == 0).all() for leaf in counts)
    index = batches.in_step(static, dynamic, state.shards[:, :8], ())
    after, _ = world.step(static, dynamic, state, world.train, index)
    counts = [leaf for leaf in jax.tree.leaves(after.local) if jnp.issubdtype(leaf.dtype, jnp.integer)]
    assert all((leaf == 2).all() for leaf in counts)
    assert digest(world, local_state="keep", **how) != digest(world, local_state="reset", **how)


def test_a_share_of_the_workers_takes_part(world):
    """Only theirs enter the step, and the momentum of the others stays as it was."""
    static, dynamic = world.plan(lr=LR, rule="mean", participation=0.5, momentum="classic", momentum_beta=0.5)
    state = world.start(static, dynamic, world.train)
    seen = set()
    for _ in range(6):
        chosen = np.asarray(batches.participants(static, dynamic, state.step))
        index = np.asarray(state.shards[:, :4])
        before = np.asarray(state.params, float)
        after, _ = world.step(static, dynamic, state, world.train, jnp.asarray(index))
        rows = np.array([softmax_gradient(world, before, index[i])[1] for i in chosen])
        rows = 0.5 * np.asarray(state.momentum)[chosen] + rows
        np.testing.assert_allclose(after.params, before - LR * rows.mean(axis=0), atol=1e-5)
        others = np.setdiff1d(np.arange(4), chosen)
        np.testing.assert_array_equal(after.momentum[others], state.momentum[others])
        assert len(chosen) == 2
        seen |= {*chosen.tolist()}
        state = after
    assert seen == {0, 1, 2, 3}


def test_byzantine_workers_may_go_without_momentum(world):
    how = {"attack": "sign_flip", "n_byz": 1, "momentum": "ema", "momentum_beta": 0.5}
    for with_momentum in (True, False):
        state, rows = world.sent(byzantine_momentum=with_momentum, **how)
        own = softmax_gradient(world, np.asarray(state.params, float), np.asarray(state.shards[0, :4]))[1]
        np.testing.assert_allclose(rows[0], -own * (0.5 if with_momentum else 1.0), atol=1e-6)


def test_data_for_honest_workers_only(world):
    static, dynamic = world.plan(byzantine_data="none", n_byz=2, byzantine=(0, 2))
    held = np.asarray(world.start(static, dynamic, world.train).shards)
    assert held.shape == (4, 32)
    assert len({*held[[1, 3]].ravel().tolist()}) == 64
    np.testing.assert_array_equal(held[[0, 2]], held[[1, 3]])


def test_each_seed_moves_what_it_says_and_nothing_else(world):
    def parts(**seeds):
        static, dynamic = world.plan(attack="gaussian", n_byz=1, **seeds)
        state = world.start(static, dynamic, world.train)
        static = dataclasses.replace(static, rule=keep_rows)
        begun = world.start(static, dynamic, world.train)
        after, _ = world.step(static, dynamic, begun, world.train, state.shards[:, :4])
        return np.asarray(state.params), np.asarray(state.shards), np.asarray(after.rule[0])

    base = parts(seed=3)
    for name, moved in {"init_seed": [True, False], "data_seed": [False, True], "attack_seed": [False, False]}.items():
        other = parts(seed=3, **{name: 4})
        assert [(a != b).any() for a, b in zip(base[:2], other[:2], strict=True)] == moved
        if name == "attack_seed":
            assert (base[2] != other[2]).any()


def test_a_cut_test_set(world):
    history = world.simulate(**PLAIN, n_test=8)
    assert set((history.accuracy * 8 % 1).tolist()) == {0.0}
    assert history.loss[0] != world.simulate(**PLAIN).loss[0]


def test_a_trace_has_every_worker_of_every_step_and_changes_nothing(world):
    static, dynamic = world.plan(**PLAIN | {"rule": "krum"})
    plain, traced = (
        grid.run(dataclasses.replace(static, trace=trace), [dynamic], world.train, world.test, epochs=2)[0]
        for trace in (False, True)
    )
    assert plain.trace is None and traced.trace.weight.shape == (8, 4)
    np.testing.assert_allclose(traced.trace.weight.sum(axis=1), 1)
    np.testing.assert_allclose(traced.trace.weight[:4, 0].mean(), traced.byz_weight[0], atol=1e-6)
    chosen = traced.trace.weight.argmax(axis=1)
    np.testing.assert_allclose(traced.trace.distance[np.arange(8), chosen], 0, atol=1e-6)
    np.testing.assert_allclose(traced.loss, plain.loss, rtol=1e-5)


def test_shards_of_ones_own(world):
    from byzsim import simulate

    pair = world.images, world.labels
    how = {"model": "softmax", "m": 4, "batch": 4, "epochs": 1}
    own = np.arange(64).reshape(4, 16)
    history = simulate(pair, pair, shards=own, **how)
    assert history.digest != simulate(pair, pair, **how).digest
    uneven = np.where(np.arange(16) < [[16], [8], [4], [12]], own, -1)
    assert np.isfinite(simulate(pair, pair, shards=uneven, **how).loss).all()
    with pytest.raises(ValueError, match="leaves worker 2 without an example"):
        simulate(pair, pair, shards=np.where(np.arange(4)[:, None] == 2, -1, own), **how)
    with pytest.raises(ValueError, match="has 3 rows"):
        simulate(pair, pair, shards=own[:3], **how)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"task": "least_squares", "attack": "label_flip", "n_byz": 1, "rule": "median"},
            "label_flip changes labels, and task least_sq",
        ),
        ({"task": "noisy_quadratic", "steps": 3, "partition": "dirichlet"}, "has nothing to deal out"),
        ({"task": "least_squares", "partition": "dirichlet"}, "reads classes, and task least_squares has none"),
        ({"task": "octopus"}, "draws fresh examples, so an epoch has no end: give steps="),
        ({"task": "octopus", "steps": 3, "batch": None}, "batch=None is the whole shard, and task octopus draws its"),
        (
            {"task": "octopus", "steps": 3, "attack": "full_gradient_negation", "n_byz": 1, "rule": "median"},
            "reads the gradient over all",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(fields, message):
    from byzsim import simulate

    with pytest.raises(ValueError, match=message):
        simulate(**{"m": 4, "batch": 4} | fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"rule": "safeguard", "participation": 0.5},
            "safeguard remembers each worker, and with participation below 1",
        ),
        (
            {"attack": "delayed_gradient", "n_byz": 1, "m": 8, "participation": 0.5},
            "delayed_gradient remembers each worker",
        ),
        ({"sampling": "keep_last", "partition": "dirichlet_by_class"}, "those of partition dirichlet_by_class differ"),
        ({"n_test": 25}, "n_test=25 is more than the 24 test examples"),
        (
            {"partition": "by_labels", "partition_args": {"pieces": 5}, "steps": 4},
            r"each worker has 15 examples \(partition by_labels\), fewer than the 16 of 4 steps",
        ),
    ],
)
def test_settings_that_would_mean_something_else_are_refused(world, fields, message):
    with pytest.raises(ValueError, match=message):
        world.simulate(**{"rule": "median"} | fields)


def test_a_memory_of_no_worker_takes_part_in_rounds_of_others(world):
    assert np.isfinite(world.simulate(rule="centered_clipping", participation=0.5, epochs=1).loss).all()


def test_a_run_config_of_a_task_is_its_record():
    run = RunConfig(
        task="octopus", task_args={"d": 3}, schedule="piecewise", schedule_args={"at": [3], "factors": [0.5]}
    )
    known = {name: value for name, value in run.as_dict().items() if name not in ("alpha", "revisions")}
    assert RunConfig(**known) == run and run.model is None
    assert engine.NUMERICS == 3
