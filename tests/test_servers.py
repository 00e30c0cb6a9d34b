"""Several servers: one server is as none, each has its own rule and model, and their exchange contracts or breaks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS, oneshot, simulate, testing
from byzsim.models import as_model
from byzsim.servers import Servers, for_each
from byzsim.tasks import TASKS

DRAW = np.random.default_rng(0)
CENTRES = 3 * DRAW.normal(size=(3, 4))
LABELS = DRAW.integers(0, 3, 120)
PAIR = ((CENTRES[LABELS] + DRAW.normal(size=(120, 4))).astype(np.float32), LABELS)
HOW = {"model": "softmax", "m": 6, "batch": 4, "lr": 0.1, "rule": "median", "total_steps": 12, "eval_every": 4}


def served(**options):
    args = {name: options.pop(name) for name in list(options) if name in ("n_ps", "f_ps", "attack", "every", "hears")}
    return simulate(PAIR, PAIR, **HOW | options, task="servers", task_args=args)


def made(**options):
    return TASKS["servers"].factory(model=as_model(SOFTMAX), n_classes=3, **options)


class SOFTMAX:
    """Logits of a linear model."""

    @staticmethod
    def init(key, inputs):
        return {"w": jax.random.normal(key, (4, 3)), "b": jnp.zeros(3)}

    @staticmethod
    def apply(params, inputs):
        return inputs @ params["w"] + params["b"][None]


def exchanged(models, *, step=0, seed=0, **options):
    return np.asarray(made(**options).servers.exchange(jax.random.key(seed), jnp.asarray(models), jnp.int32(step)))


def test_it_keeps_the_promises_of_tasks():
    testing.check_task(TASKS["servers"], train=PAIR, model=SOFTMAX)


def test_one_server_is_as_no_servers():
    alone, plain = served(n_ps=1, f_ps=0), simulate(PAIR, PAIR, **HOW)
    np.testing.assert_allclose(alone.params.ravel(), plain.params.ravel(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(alone.metrics["accuracy"], plain.accuracy, atol=1e-6)
    assert (alone.metrics["spread"] == 0).all()


def test_servers_that_hear_all_workers_stay_together():
    """Without Byzantine servers or missing rows each model is that of one server, and the loss counts it once."""
    three, plain = served(n_ps=3, f_ps=0), simulate(PAIR, PAIR, **HOW)
    for each in three.params.reshape(3, -1):
        np.testing.assert_allclose(each, plain.params.ravel(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(three.metrics["loss"], plain.metrics["loss"], rtol=1e-5)
    np.testing.assert_allclose(three.train_loss, plain.train_loss, rtol=1e-5)


def test_each_server_aggregates_its_own_part_of_the_rows_it_hears():
    """Krum's output is one of the rows that a server hears: its weight says which."""
    rows = jax.random.normal(jax.random.key(0), (7, 2 * 3))
    rule = for_each(AGGREGATORS["krum"].factory(), Servers(2, 5, lambda key, models, step: models))
    out, _, info = rule.apply(rows, rule.init(7, 6), oneshot.make_context(jax.random.key(1), 1, 6))
    chosen = [
        np.flatnonzero((np.asarray(rows)[:, part] == np.asarray(out)[part]).all(axis=1))
        for part in (slice(0, 3), slice(3, 6))
    ]
    assert [len(each) for each in chosen] == [1, 1]
    expected = np.bincount(np.concatenate(chosen), minlength=7) / 2
    np.testing.assert_allclose(info.weight, expected)


def test_a_rule_with_a_memory_has_one_at_each_server():
    rule = for_each(AGGREGATORS["centered_clipping"].factory(), Servers(2, None, lambda key, models, step: models))
    rows, ctx = jax.random.normal(jax.random.key(0), (5, 6)), oneshot.make_context(jax.random.key(1), 1, 6)
    single = AGGREGATORS["centered_clipping"].factory()
    states, alone = rule.init(5, 6), [single.init(5, 3)] * 2
    for _ in range(2):
        out, states, _ = rule.apply(rows, states, ctx)
        parts = [
            single.apply(rows[:, 3 * i : 3 * i + 3], alone[i], oneshot.make_context(ctx.key, 1, 3)) for i in (0, 1)
        ]
        alone = [state for _, state, _ in parts]
        np.testing.assert_allclose(out, np.concatenate([each for each, _, _ in parts]), rtol=1e-5)


@pytest.mark.parametrize("attack", ["random", "reversed", "sign_flip"])
def test_models_stay_among_the_honest_ones_while_they_are_the_majority(attack):
    """n_ps = 4, f_ps = 1: a server has two honest models and a Byzantine one; with n_ps = 3 one of each."""
    models = DRAW.uniform(2, 3, (3, 8)).astype(np.float32)
    for seed in range(5):
        met = exchanged(models, n_ps=4, f_ps=1, attack=attack, seed=seed)
        assert (met >= models.min(axis=0)).all() and (met <= models.max(axis=0)).all()
        assert (np.ptp(met, axis=0) <= np.ptp(models, axis=0)).all()
    beyond = exchanged(models[:2], n_ps=3, f_ps=1, attack=attack)
    assert (beyond < models[:2].min(axis=0)).all()


def test_without_byzantine_servers_all_take_the_median_of_all_models():
    models = DRAW.normal(size=(5, 6)).astype(np.float32)
    np.testing.assert_allclose(exchanged(models, n_ps=5, f_ps=0), [np.median(models, axis=0)] * 5, rtol=1e-6)
    np.testing.assert_array_equal(exchanged(models, n_ps=5, f_ps=0, every=3, step=1), models)
    np.testing.assert_allclose(exchanged(models, n_ps=5, f_ps=0, every=3, step=2)[0], np.median(models, axis=0))


def test_exchange_keeps_servers_together_that_hear_different_workers():
    apart = served(n_ps=4, f_ps=1, hears=3, every=1000).metrics["spread"]
    together = served(n_ps=4, f_ps=1, hears=3).metrics["spread"]
    assert 0 < together[-1] < apart[-1] / 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_ps": 2, "f_ps": 1}, "f_ps=1 is not below half of n_ps=2"),
        ({"attack": "none"}, "attack='none' is not one of"),
        ({"hears": 7}, "each server hears 7 of m=6 workers; expected at most m"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        served(**options)
