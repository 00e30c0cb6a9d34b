"""`aggregate` and `forge` take gradients as users hold them, and answer in kind."""

import collections

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

M = 5
DRAW = np.random.default_rng(0)
TREE = {"w": DRAW.normal(size=(M, 3, 2)).astype(np.float32), "b": DRAW.normal(size=(M, 2)).astype(np.float32)}
MATRIX = np.concatenate([TREE["b"], TREE["w"].reshape(M, 6)], axis=1)  # leaves in the order of their names
Pair = collections.namedtuple("Pair", ["w", "b"])


def listed(tree):
    return [{name: leaf[i] for name, leaf in tree.items()} for i in range(M)]


def flat(tree):
    return np.concatenate([np.ravel(tree["b"]), np.ravel(tree["w"])])


@pytest.mark.parametrize(
    "tree",
    [
        TREE,
        listed(TREE),
        {name: jnp.asarray(leaf) for name, leaf in TREE.items()},
        Pair(**TREE),
        [Pair(**each) for each in listed(TREE)],
        nnx.State({name: nnx.Param(jnp.asarray(leaf)) for name, leaf in TREE.items()}),
    ],
    ids=["dict", "list of dicts", "of JAX", "NamedTuple", "list of NamedTuples", "state of NNX"],
)
def test_a_tree_is_its_matrix(tree):
    found = byzsim.aggregate("krum", tree, f=1)
    assert type(found) is (type(tree[0]) if isinstance(tree, list) else type(tree))
    found = found._asdict() if isinstance(found, Pair) else {name: jnp.asarray(found[name][...]) for name in TREE}
    assert found["w"].shape == (3, 2) and found["b"].shape == (2,)
    np.testing.assert_array_equal(flat(found), byzsim.aggregate("krum", MATRIX, f=1))


def test_what_the_server_knows_has_the_form_of_a_tree():
    at, slope = ({"w": np.full((3, 2), x, np.float32), "b": np.full(2, x + 1, np.float32)} for x in (0.5, -0.25))
    rows = MATRIX, flat(at), flat(slope)
    found = byzsim.aggregate("fltrust", TREE, server_gradient=slope)
    np.testing.assert_array_equal(flat(found), byzsim.aggregate("fltrust", rows[0], server_gradient=rows[2]))
    of_tree = byzsim.aggregate("zeno", TREE, f=1, params=at, server_loss=lambda p: (p["w"] ** 2).sum() + p["b"].sum())
    of_rows = byzsim.aggregate(
        "zeno", MATRIX, f=1, params=rows[1], server_loss=lambda p: (p[2:] ** 2).sum() + p[:2].sum()
    )
    np.testing.assert_array_equal(flat(of_tree), of_rows)


def test_attackers_send_trees():
    own = {name: 2 * leaf[:2] for name, leaf in TREE.items()}
    found = byzsim.forge("scaling", TREE, n_byz=2, byzantine_gradients=own, factor=3.0)
    assert {name: leaf.shape for name, leaf in found.items()} == {"w": (2, 3, 2), "b": (2, 2)}
    np.testing.assert_array_equal(found["w"], 6 * TREE["w"][:2])
    rows = byzsim.forge("alie", MATRIX, n_byz=2)
    for sent in (byzsim.forge("alie", TREE, n_byz=2), byzsim.forge("alie", listed(TREE), n_byz=2)):
        np.testing.assert_array_equal(flat({name: leaf[1] for name, leaf in sent.items()}), rows[1])
    assert byzsim.forge("alie", TREE, n_byz=0)["w"].shape == (0, 3, 2)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.float32])
def test_the_dtype_is_kept_and_sums_are_in_float32(dtype):
    """1 + 256 ulps would be lost in a sum of 16 bits."""
    rows = np.array([[1.0], [256.0], [1.0], [1.0], [1.0]] * 4, dtype)
    for given in (rows, jnp.asarray(rows), {"w": rows}, [{"w": row} for row in rows]):
        found = byzsim.aggregate("mean", given)
        found = found["w"] if isinstance(found, dict) else found
        assert found.dtype == dtype and float(found[0]) == float(np.float32(52.0).astype(dtype))
        sent = byzsim.forge("inner_product", given, n_byz=1, epsilon=1.0)
        sent = sent["w"] if isinstance(sent, dict) else sent
        assert sent.dtype == dtype and float(sent[0, 0]) == -52.0
    mixed = byzsim.aggregate("krum", {"w": rows, "b": np.float32(rows)}, f=1)
    assert (mixed["w"].dtype, mixed["b"].dtype) == (dtype, np.float32)


def test_the_kind_that_came_in_comes_back():
    frame = pd.DataFrame(MATRIX, columns=list("abcdefgh"))
    found = byzsim.aggregate("median", frame)
    assert isinstance(found, pd.Series) and found.index.tolist() == list("abcdefgh")
    np.testing.assert_array_equal(found, np.median(MATRIX, axis=0))
    sent = byzsim.forge("alie", frame, n_byz=2)
    assert isinstance(sent, pd.DataFrame) and sent.shape == (2, 8) and sent.columns.tolist() == list("abcdefgh")
    assert type(byzsim.aggregate("median", MATRIX)) is np.ndarray
    assert isinstance(byzsim.aggregate("median", MATRIX.tolist()), jax.Array)
    found = byzsim.aggregate("median", MATRIX)
    found += 1  # it is the user's own


def test_a_rule_itself_will_do_and_compiles_once(compiled):
    def call(variant):
        return byzsim.aggregate(byzsim.chain(byzsim.nnm(), byzsim.krum(variant=variant)), MATRIX, f=1)

    np.testing.assert_array_equal(call("byzfl"), byzsim.aggregate("nnm+krum", MATRIX, f=1, variant="byzfl"))
    other = call("torchjd")
    compiled.clear()
    np.testing.assert_array_equal(call("torchjd"), other)
    call("byzfl")
    assert not compiled
    sent = byzsim.forge(byzsim.alie(z=1.0), MATRIX, n_byz=1, rule=byzsim.median())
    np.testing.assert_array_equal(sent, byzsim.forge("alie", MATRIX, n_byz=1, z=1.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: byzsim.aggregate(byzsim.krum, MATRIX), r"rule is the function krum; call it .* as in byzsim.krum\(\)"),
        (lambda: byzsim.forge(byzsim.alie, MATRIX, n_byz=1), r"attack is the function alie; call it"),
        (lambda: byzsim.aggregate(byzsim.krum(), MATRIX, variant="byzfl"), "the rule is made already: give variant to"),
        (lambda: byzsim.aggregate(byzsim.krum(), MATRIX), "the rule needs f, the number of workers"),
        (
            lambda: byzsim.aggregate(byzsim.fltrust(), MATRIX),
            "this rule needs the server's own data: pass server_loss=",
        ),
        (lambda: byzsim.aggregate("zeno", TREE, f=1, server_loss=sum, params=MATRIX[0]), "params are .*; expected the"),
        (
            lambda: byzsim.aggregate("fltrust", TREE, server_gradient=TREE),
            r"server_gradient has an array of shape \(5, 2\); expected \(2,\)",
        ),
        (lambda: byzsim.forge("scaling", TREE, n_byz=2), "arrays with 2 workers as first axis"),
    ],
)
def test_what_does_not_match_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_numbers_of_a_call_compile_nothing(compiled):
    rows = jnp.asarray(MATRIX)
    for _ in range(2):
        byzsim.aggregate("nnm+krum", rows, f=1, lr=0.1)
    compiled.clear()
    for step in range(3):
        byzsim.aggregate("nnm+krum", rows, f=step % 2, seed=step, lr=step / 8)
    assert not compiled
