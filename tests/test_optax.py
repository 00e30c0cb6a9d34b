"""Rules as transformations of optax, and in the training loops of others."""

import runpy
from pathlib import Path

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from byzsim.names import rule_spec

M = 5
DRAW = np.random.default_rng(0)
ROUNDS = {
    "b": DRAW.normal(size=(3, M)).astype(np.float32),
    "w": [DRAW.normal(size=(3, M, 2, 1)).astype(np.float32)],  # lists are trees here
}
PARAMS = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[2:]), ROUNDS)
MATRIX = np.concatenate([ROUNDS["b"][..., None], ROUNDS["w"][0][..., 0]], axis=-1)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def updates_of(optimizer, rounds=ROUNDS, params=PARAMS, **more):
    """Updates in order, as one matrix, and the state after."""
    state, found = optimizer.init(params), []
    update = jax.jit(optimizer.update)
    for t in range(len(rounds["b"])):
        updates, state = update(jax.tree.map(lambda leaf, t=t: leaf[t], rounds), state, params, **more)
        found.append(flat(updates))
    return np.stack(found), state


@pytest.mark.parametrize("rule", ["krum", "centered_clipping", "bucketing+median", "dnc"])
def test_an_update_is_the_aggregate_step_by_step(rule):
    """With a state, and with random numbers, too."""
    found, state = updates_of(byzsim.as_optax(rule_spec(rule).factory(), m=M, f=1, seed=3))
    np.testing.assert_allclose(found, byzsim.aggregate(rule, MATRIX, f=1, seed=3), rtol=1e-6)
    assert int(state.count) == 3 and state.weight.shape == (M,)
    if rule == "krum":
        assert int(state.weight.argmax()) == int((MATRIX[-1] == found[-1]).all(axis=1).argmax())


def test_it_is_part_of_a_chain_and_fills_the_slot_of_optax():
    aggregating = pytest.importorskip("optax.experimental").aggregating
    after = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(optax.linear_schedule(1.0, 0.0, 3), momentum=0.9))
    in_chain, _ = updates_of(optax.chain(byzsim.as_optax(byzsim.median(), m=M), after))
    in_slot, _ = updates_of(aggregating.process(optax.identity(), byzsim.as_optax(byzsim.median(), m=M), after))
    state, by_hand = after.init(PARAMS), []
    for t in range(3):
        median = jax.tree.map(lambda leaf, t=t: jnp.median(leaf[t], axis=0), ROUNDS)
        updates, state = after.update(median, state)
        by_hand.append(flat(updates))
    np.testing.assert_allclose(in_chain, by_hand, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(in_slot, by_hand, rtol=1e-5, atol=1e-7)


def test_options_are_injected():
    def declared(count):
        return jnp.where(count < 2, 0.0, 1.0)

    injected = optax.inject_hyperparams(byzsim.as_optax, static_args=("m",))(byzsim.trimmed_mean(), m=M, f=declared)
    found, _ = updates_of(injected)
    expected = [byzsim.aggregate("trimmed_mean", MATRIX[t], f=int(t == 2)) for t in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)

    def clipped(tau):
        return byzsim.as_optax(byzsim.centered_clipping(tau=tau, start="zero"), m=M)

    found, state = updates_of(optax.inject_hyperparams(clipped)(tau=lambda count: 0.5 + count))
    expected = [byzsim.aggregate("centered_clipping", MATRIX[t], f=0, tau=0.5 + t, start="zero") for t in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert float(state.hyperparams["tau"]) == 2.5


def test_16_bits_stay_16_bits():
    rounds = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), ROUNDS)
    optimizer = byzsim.as_optax(byzsim.centered_clipping(), m=M)
    state = optimizer.init(jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS))
    updates, state = optimizer.update(jax.tree.map(lambda leaf: leaf[0], rounds), state)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(jnp.bfloat16)}
    assert state.rule.dtype == jnp.float32


def test_the_servers_own_data():
    slope = jax.tree.map(lambda leaf: leaf[0, 0], ROUNDS)
    found, _ = updates_of(byzsim.as_optax(byzsim.fltrust(), m=M), server_gradient=slope)
    np.testing.assert_allclose(found[0], byzsim.aggregate("fltrust", MATRIX[0], server_gradient=flat(slope)), rtol=1e-6)
    optimizer = byzsim.as_optax(byzsim.zeno(), m=M, f=1, lr=0.5)

    def loss(params):
        return (params["b"] - 1) ** 2 + (params["w"][0] ** 2).sum()

    first = jax.tree.map(lambda leaf: leaf[0], ROUNDS)
    updates, _ = optimizer.update(first, optimizer.init(PARAMS), PARAMS, server_loss=loss)
    by_vectors = byzsim.aggregate(
        "zeno", MATRIX[0], f=1, lr=0.5, server_loss=lambda x: (x[0] - 1) ** 2 + (x[1:] ** 2).sum()
    )
    np.testing.assert_allclose(flat(updates), by_vectors, rtol=1e-6)


FIRST = jax.tree.map(lambda leaf: leaf[0], ROUNDS)


def updated(gradients, params=PARAMS, rule=None, **more):
    optimizer = byzsim.as_optax(rule or byzsim.median(), m=M)
    return jax.eval_shape(lambda: optimizer.update(gradients, optimizer.init(PARAMS), params, **more))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: byzsim.as_optax("krum", m=M), r"rule is 'krum'; expected what a factory makes, as in byzsim.krum\(\)"),
        (lambda: byzsim.as_optax(byzsim.krum, m=M), "rule is the function krum; expected"),
        (lambda: byzsim.as_optax(byzsim.krum(), m=0), "m=0 is not a whole number of at least 1"),
        (lambda: byzsim.as_optax(byzsim.krum(), m=M, f=6), "f=6 is not a whole number from 0 to m=5"),
        (
            lambda: optax.inject_hyperparams(byzsim.as_optax)(byzsim.krum(), m=M).init(PARAMS),
            r'name it in inject_hyperparams\(..., static_args=\("m",\)\), as it is a shape',
        ),
        (lambda: byzsim.as_optax(byzsim.krum(), m=M).init({}), "parameters are a tree without arrays"),
        (lambda: updated(jax.tree.map(lambda leaf: leaf[:3], FIRST)), "of 3 workers; expected m=5 as first axis"),
        (lambda: updated(PARAMS), r"expected the same number of workers, at least 1, as first axis"),
        (lambda: updated(FIRST | {"n": np.zeros(M, int)}), r"gradients\['n'\] is int64; expected floating-point"),
        (
            lambda: updated({"b": FIRST["b"]}),
            r"arrays of shapes \(\), and the parameters \(\), \(2, 1\); expected the same",
        ),
        (lambda: updated(FIRST, rule=byzsim.fltrust()), "this rule needs the server's own data"),
        (
            lambda: updated(FIRST, None, byzsim.zeno(), server_loss=lambda p: p["b"]),
            r"the parameters are read: give params=\.\.\.",
        ),
    ],
)
def test_what_does_not_fit_is_told_while_it_is_traced(call, message):
    with pytest.raises(ValueError, match=message):
        call()


LOOPS = sorted((Path(__file__).parent.parent / "examples" / "training").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", LOOPS, ids=lambda path: path.stem)
def test_the_training_loops_of_others(path):
    """With Krum behind NNM they learn, and with the mean they do not."""
    pytest.importorskip({"equinox_loop": "equinox", "flax_linen": "optax.experimental"}.get(path.stem, "flax"))
    train = runpy.run_path(str(path))["train"]
    assert train(byzsim.chain(byzsim.nnm(), byzsim.krum())) > 0.9
    assert train(byzsim.mean()) < 0.7
