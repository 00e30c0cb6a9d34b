"""Every promise of `byzsim.testing` is broken by some member here, and the report has an input that breaks it."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import Data, Generated, Partition, Spec, make_task, testing, types
from byzsim.testing import ATTACK_PROMISES, PARTITION_PROMISES, RULE_PROMISES, TASK_PROMISES, BrokenPromise


def rule(aggregate, weight=None, traits=(), max_f=lambda m: (m - 1) // 3, init=None):
    def apply(grads, state, ctx):
        weights = jnp.full(len(grads), 1 / len(grads)) if weight is None else weight(grads, ctx)
        return aggregate(grads, ctx), state, types.Info(weights.astype(jnp.float32))

    return Spec(lambda: types.Aggregator(init or types.no_state, apply), "", max_f, frozenset(traits))


def mean(grads, ctx):
    return grads.mean(axis=0)


def first(grads, ctx):
    return grads[0]


def only_first(grads, ctx):
    return jnp.arange(len(grads)) == 0


RULES = {
    "output": rule(mean, lambda grads, ctx: jnp.ones(len(grads))),
    "plain_f": rule(lambda grads, ctx: mean(grads, ctx) * ctx.f.astype(jnp.float32)),
    "state": rule(mean, init=lambda m, d: jnp.zeros(d)),
    "key": rule(lambda grads, ctx: mean(grads, ctx) + jax.random.normal(ctx.key, grads.shape[1:])),
    "vmap": None,  # whatever JAX can trace it can also batch, but for what a rule calls outside of JAX
    "bound": rule(mean, max_f=lambda m: m // 2),
    "resilience": rule(mean),
    "permutation": rule(first, only_first, ["permutation"]),
    "translation": rule(lambda grads, ctx: jnp.abs(mean(grads, ctx)), traits=["translation"]),
    "scale": rule(lambda grads, ctx: jnp.tanh(mean(grads, ctx)), traits=["scale"]),
    "consensus": rule(lambda grads, ctx: 0.999 * mean(grads, ctx), traits=["consensus"]),
    "average": rule(lambda grads, ctx: jnp.median(grads, axis=0), traits=["average"]),
    "selects_one": rule(mean, only_first, ["selects_one"]),
    "coordinatewise": rule(lambda grads, ctx: grads[jnp.argmin(grads.sum(axis=1))], traits=["coordinatewise"]),
    "filter": rule(mean, only_first, ["filter"]),
}


def attack(grads=None, traits=(), **parts):
    def reversed_rows(updates, byz, state, ctx):
        return -updates, state

    return Spec(lambda: types.make_attack(grads=grads or reversed_rows, **parts), "", traits=frozenset(traits))


ATTACKS = {
    "rows": attack(lambda updates, byz, state, ctx: (updates / 0, state)),
    "labels": attack(labels=lambda labels, n, ctx: labels + 1),
    "state": attack(init=lambda m, d: jnp.zeros(d)),
    "key": attack(lambda updates, byz, state, ctx: (jax.random.normal(ctx.key, updates.shape), state)),
    "own_rows": attack(reads_own_gradients=False),
    "full_gradient": attack(lambda updates, byz, state, ctx: (updates * ctx.full_gradient(), state)),
    "params": attack(lambda updates, byz, state, ctx: (updates * ctx.params, state)),
    "acts": attack(lambda updates, byz, state, ctx: (updates, state)),
    "collusive": attack(traits=["collusive"]),
}


def partition(deal, **parts):
    return Partition(deal, **parts)


PARTITIONS = {
    "shape": partition(lambda key, pool, m: jnp.arange(m)),
    "indices": partition(lambda key, pool, m: jnp.zeros((m, 3), int), needs_classes=False),
    "key": partition(lambda key, pool, m: jnp.asarray(np.random.default_rng().permutation(120)[:m, None])),
    "labels": partition(lambda key, pool, m: jnp.argsort(pool.labels)[: m * 2].reshape(m, 2), needs_classes=False),
}


def task(loss=lambda w, batch: jnp.square(batch.inputs - w[None]).sum(axis=1), **parts):
    known = {"init": lambda key, example: jnp.ones(3), "loss": loss}
    known["sample"] = lambda key, worker, n: Data(jax.random.normal(key, (n, 3)))
    return make_task(**known | parts)


def drawn_anew(key, m):
    data = Data(jnp.asarray(np.random.default_rng().normal(size=(6, 3)), jnp.float32))
    return Generated(data, data)


TASKS = {
    "per_example": task(
        lambda w, batch: jnp.square(batch.inputs - batch.inputs.mean(axis=0)[None] - w[None]).sum(axis=1)
    ),
    "gradient": task(lambda w, batch: jnp.square(batch.inputs).sum(axis=1)),
    "measured": task(lambda w, batch: w.sum() + jnp.asarray(np.random.default_rng().normal(size=len(batch.inputs)))),
    "numbers": task(measure=lambda w, facts: {"w": w}),
    "generated": task(generate=drawn_anew, sample=None),
}
CONTRACTS = {
    "rule": (testing.check_rule, RULE_PROMISES, RULES),
    "attack": (testing.check_attack, ATTACK_PROMISES, ATTACKS),
    "partition": (testing.check_partition, PARTITION_PROMISES, PARTITIONS),
    "task": (testing.check_task, TASK_PROMISES, TASKS),
}
MUTANTS = [(kind, name) for kind, (_, promises, _) in CONTRACTS.items() for name in promises if name != "vmap"]


@pytest.mark.parametrize(("kind", "promise"), MUTANTS)
def test_a_broken_promise_is_found(kind, promise):
    check, promises, mutants = CONTRACTS[kind]
    with pytest.raises(BrokenPromise, match=rf"breaks 1 of 1 promises\.\n\n{promise}: ") as broken:
        check(mutants[promise], only=[promise])
    assert promises[promise].words in str(broken.value)


@pytest.mark.parametrize("kind", CONTRACTS)
def test_every_promise_is_in_the_docstring(kind):
    check, promises, mutants = CONTRACTS[kind]
    text = inspect.getdoc(check)
    assert set(re.findall(r"^    (\w+): ", text, re.MULTILINE)) >= {*promises}
    assert {*promises} == {*mutants}


def test_the_input_in_a_report_breaks_the_promise():
    with pytest.raises(BrokenPromise) as broken:
        testing.check_rule(RULES["permutation"])
    part = str(broken.value).partition("permutation: ")[2].partition("\n\n")[0]
    assert "breaks 1 of 8 promises" in str(broken.value) and len(str(broken.value)) < 500
    given = {"np": np}
    for line in re.findall(r"^  (\w+ = .*)$", part, re.MULTILINE):
        exec(line, given)
    assert given["rows"].dtype == np.float32 and given["rows"].shape == (7, 1)
    one = testing.aggregate(RULES["permutation"], given["rows"], given["f"])
    assert (testing.aggregate(RULES["permutation"], given["rows"][given["order"]], given["f"]) != one).any()


def test_what_a_function_raises_is_in_the_report():
    def slip():
        return types.stateless(lambda grads, ctx: grads.nothing)

    with pytest.raises(BrokenPromise, match=r"(?s)slip breaks .*it raises AttributeError") as broken:
        testing.check_rule(slip, only=["output"])
    assert "rows = np.array([[" in str(broken.value)


def test_a_member_is_given_by_name_by_its_spec_its_factory_or_itself():
    made = types.stateless(lambda grads, ctx: (grads[0], jnp.arange(len(grads)) == 0))
    for each in (made, lambda: made, Spec(lambda: made, ""), "median"):
        assert "output" in testing.check_rule(each, only=["output", "state"])
