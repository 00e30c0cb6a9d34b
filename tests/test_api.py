"""The two one-liners."""

import copy
import functools
import math
import os
import re
import subprocess
import sys

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from byzsim import ATTACKS, api, grid
from byzsim.captured import MayChange, captured
from conftest import TINY

ROWS = [[1, 2, 3], [4, 6, 9], [10, 11, 12]]


@pytest.mark.parametrize(
    "rows",
    [ROWS, np.array(ROWS), np.array(ROWS, float), np.array(ROWS, np.uint8), jnp.array(ROWS, jnp.bfloat16),
     np.asfortranarray(ROWS), [np.array(row) for row in ROWS], [jnp.array(row, jnp.bfloat16) for row in ROWS],
     np.array(ROWS, jnp.bfloat16), np.ma.array(ROWS), pd.DataFrame(ROWS), pd.DataFrame(ROWS, dtype="Int64"),
     pd.DataFrame(ROWS).astype({0: "Float64"})],
    ids=["list", "int64", "float64", "uint8", "bfloat16", "fortran", "list of arrays", "list of bfloat16",
         "bfloat16 of NumPy", "no mask", "DataFrame", "nullable", "nullable in part"],
)  # fmt: skip
def test_any_matrix_will_do(rows):
    aggregate = byzsim.aggregate("median", rows)
    first = rows[0] if isinstance(rows, list) else rows
    assert getattr(aggregate, "dtype", None) == (
        jnp.bfloat16 if getattr(first, "dtype", None) == jnp.bfloat16 else jnp.float32
    )
    kind = {pd.DataFrame: pd.Series, np.ma.MaskedArray: np.ndarray, list: jax.Array}
    assert isinstance(aggregate, kind.get(type(first), type(first)))
    np.testing.assert_array_equal(aggregate, [4, 6, 9])


class Tensor:
    """What torch has, in its words: one that requires grad gives nothing to NumPy, and bfloat16 is nothing to it."""

    def __init__(self, values, dtype=np.float32, requires_grad=True):
        self.values, self.requires_grad = np.array(values, dtype), requires_grad
        self.dtype, self.ndim, self.shape = dtype, self.values.ndim, self.values.shape

    def detach(self):
        return Tensor(self.values, self.dtype, requires_grad=False)

    def cpu(self):
        return self

    def item(self):
        return self.values.item()

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.dtype == jnp.bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.values

    def __dlpack__(self, **options):
        return jnp.asarray(self.values).__dlpack__(**options)

    def __dlpack_device__(self):
        return jnp.asarray(self.values).__dlpack_device__()


def from_dlpack(array):
    """That of the library of `Tensor`."""
    return Tensor(array, array.dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, jnp.bfloat16])
def test_tensors_that_require_grad_are_detached(dtype):
    aggregate = byzsim.aggregate("median", Tensor(ROWS, dtype))
    assert isinstance(aggregate, Tensor)
    assert aggregate.dtype == (jnp.bfloat16 if dtype == jnp.bfloat16 else jnp.float32)
    np.testing.assert_array_equal(aggregate.values, [4, 6, 9])
    np.testing.assert_array_equal(byzsim.aggregate("median", [Tensor(row, dtype) for row in ROWS]).values, [4, 6, 9])
    sent = byzsim.forge(
        "scaling", Tensor(ROWS, dtype), n_byz=1, byzantine_gradients=Tensor(ROWS[:1], dtype), factor=Tensor(2.0)
    )
    np.testing.assert_array_equal(sent.values, [[2, 4, 6]])


def test_tensors_of_torch_come_back():
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        aggregate = byzsim.aggregate("median", torch.tensor(ROWS, dtype=dtype, requires_grad=True))
        assert aggregate.dtype == dtype and aggregate.tolist() == [4, 6, 9]
    layers = [{"w": torch.tensor(row)} for row in np.float32(ROWS)]
    assert byzsim.aggregate("median", layers)["w"].tolist() == [4, 6, 9]


def test_missing_values_of_a_frame_are_nan():
    frame = pd.DataFrame([[1, 2], [3, None], [5, 0], [7, 9]], dtype="Int64")
    np.testing.assert_array_equal(byzsim.aggregate("median", frame, middle="lower"), [3, 2])  # NaN counts as +inf
    np.testing.assert_array_equal(byzsim.aggregate("mean", frame), [4, np.nan])


@pytest.mark.slow
def test_every_rule_takes_one_worker(rule):
    expected = [1, -1] if rule == "sign_majority" else [1, -2]
    np.testing.assert_allclose(
        byzsim.aggregate(rule, [[1.0, -2.0]], f=0, server_gradient=[1.0, -2.0]), expected, rtol=1e-6
    )


def test_options_and_f_reach_the_rule():
    rows = [[0.0], [1.0], [9.0], [14.0], [18.0]]
    assert [float(byzsim.aggregate("krum", rows, f=f)[0]) for f in (0, 1)] == [9, 14]
    assert float(byzsim.aggregate("median", rows[:4], middle="lower")[0]) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([1.0, 2.0], r"shape \(2,\); expected \(m, d\)"),
        (np.zeros((2, 3, 4, 1)), r"shape \(2, 3, 4, 1\)"),
        ([], r"shape \(0,\)"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        (np.zeros((3, 0)), r"shape \(3, 0\)"),
        ([["a", "b"]], "expected real numbers"),
        ([[1, 2], [3]], "gradients are not an array"),
        ([[1j, 2]], "complex128; expected real numbers"),
        ([[True, False]], "bool; expected real numbers"),
        ([[None, 1]], r"object; expected real numbers, not Python objects \(NoneType, int\)"),
        (np.array(ROWS, object), r"Python objects \(int\). If all of them are numbers, np.asarray\(rows, float\)"),
        ({}, "gradients are a tree without arrays"),
        (
            {"w": np.ones((3, 2)), "b": np.ones(4)},
            r"arrays of shapes \['b'\] \(4,\), \['w'\] \(3, 2\); expected the same",
        ),
        ({"w": np.ones((3, 2)), "n": np.ones(3, int)}, r"gradients\['n'\] is int64; expected floating-point numbers"),
        ({"w": np.float32(1)}, r"expected the same number of workers, at least 1, as first axis"),
        (
            [{"w": np.ones(2)}, {"v": np.ones(2)}],
            r"gradients\[1\] is .*'v'.*, and gradients\[0\] .*'w'.*; expected the",
        ),
        (
            [{"w": np.ones(2)}, {"w": np.ones(3)}],
            r"gradients\[1\]\['w'\] is float64 of shape \(3,\), and gradients\[0\]",
        ),
        ([{"w": np.ones(2)}, {"w": np.float16([1, 2])}], r"gradients\[1\]\['w'\] is float16 of .* float64 of"),
        ([{"w": np.ones(2)}, np.ones(2)], r"gradients\[1\] is .*, and gradients\[0\]"),
        ([(np.ones((2, 2)), np.ones(3))] * 3, r"parts have shapes \(2, 2\), \(3,\).* for tree in trees\]\)"),
        (pd.DataFrame([["a", 1.0]]), "object; expected real numbers"),
        (pd.DataFrame([[True, None]], dtype="boolean"), "object; expected real numbers"),
        (np.ma.array(ROWS, mask=np.eye(3)), "masked entries, and a rule would read the values under the mask"),
        ([np.ma.array(row, mask=[0, 1, 0]) for row in ROWS], "masked entries"),
    ],
)
def test_what_is_no_matrix_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        byzsim.aggregate("mean", rows)


@pytest.mark.parametrize("f", [-1, 4, 1.0, True, np.float64(1)])
def test_f_out_of_range_is_refused(f):
    with pytest.raises(ValueError, match=rf"f={re.escape(repr(f))} is not a whole number from 0 to m=3"):
        byzsim.aggregate("median", ROWS, f=f)


@pytest.mark.parametrize("rule", ["krum", "nnm+median", "arc+mean"])
def test_f_is_left_out_only_where_the_rule_does_not_read_it(rule, compiled):
    with pytest.raises(
        ValueError,
        match=rf"{rule.replace('+', '.')} needs f, .*: pass f=... .0 for none.; the rule's guarantee covers f <= . for",
    ):
        byzsim.aggregate(rule, ROWS)
    none = jnp.int32(0)
    byzsim.aggregate(rule, ROWS, f=0)
    compiled.clear()
    byzsim.aggregate(rule, ROWS, f=np.int64(0))
    byzsim.aggregate(rule, ROWS, f=none)
    assert not compiled


def test_options_may_be_arrays_of_no_dimension():
    for one in (np.float32(1), np.array(1.0), jnp.float32(1), jnp.array(1)):
        np.testing.assert_array_equal(
            byzsim.aggregate("centered_clipping", ROWS, tau=one), byzsim.aggregate("centered_clipping", ROWS, tau=1.0)
        )
        np.testing.assert_array_equal(
            byzsim.forge("alie", ROWS, n_byz=1, z=one), byzsim.forge("alie", ROWS, n_byz=1, z=1)
        )
        assert (
            byzsim.RunConfig(rule="centered_clipping", rule_args={"tau": one}, lr=one).as_dict()["rule_args"]["tau"]
            == 1
        )
    assert byzsim.RunConfig(m=jnp.int32(10), lr=jnp.float32(0.5)) == byzsim.RunConfig(m=10, lr=0.5)


def test_what_is_called_traced_may_be_traced():
    def clipped(tau, lr):
        return byzsim.aggregate("centered_clipping", ROWS, tau=tau, lr=lr)

    np.testing.assert_allclose(jax.jit(clipped)(1.0, 0.1), clipped(1.0, 0.1), rtol=1e-6)
    shift = jax.vmap(lambda z: byzsim.forge("alie", ROWS, n_byz=1, z=z))(jnp.arange(2.0))
    np.testing.assert_allclose(shift[:, 0], [np.mean(ROWS, 0), np.mean(ROWS, 0) - np.std(ROWS, 0)], rtol=1e-6)
    slope = jax.grad(lambda rows: byzsim.aggregate("mean", rows).sum())(jnp.array(ROWS, jnp.float32))
    np.testing.assert_allclose(slope, np.full((3, 3), 1 / 3), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: byzsim.aggregate("centered_clipping", ROWS, steps=x),
            "centered_clipping: steps is traced by JAX, but shapes the compiled program",
        ),
        (
            lambda x: byzsim.aggregate("krum", ROWS, f=x),
            r"f is traced as float32 of shape \(\); expected one whole number",
        ),
        (lambda x: byzsim.aggregate("median", ROWS, seed=x), r"seed is traced as float32 of shape \(\); expected one"),
        (lambda x: byzsim.forge("alie", ROWS, n_byz=x), "n_byz is traced by JAX, but shapes the compiled program"),
        (
            lambda x: byzsim.RunConfig(rule="centered_clipping", rule_args={"tau": x}),
            "tau is traced by JAX, but shapes the compiled program",
        ),
        (
            lambda x: byzsim.robustness("centered_clipping", 11, 2, tau=x),
            "tau is traced by JAX, but shapes the compiled program",
        ),
        (
            lambda x: byzsim.aggregate("centered_clipping", ROWS, tau=x[None]),
            r"tau is an array of shape \(1,\); expected one",
        ),
    ],
)
def test_what_decides_the_program_may_not_be_traced(call, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(call, jnp.float32(1))


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown rule 'krumm'. Did you mean 'krum'"):
        byzsim.aggregate("krumm", ROWS)
    with pytest.raises(ValueError, match=r"unknown option of median 'midle'. Did you mean 'middle'"):
        byzsim.aggregate("median", ROWS, midle="lower")


def test_beyond_the_bound_is_a_warning():
    with pytest.warns(UserWarning, match="median's guarantee covers f <= 1 for m=3; got f=2"):
        byzsim.aggregate("median", ROWS, f=2)
    byzsim.aggregate("median", ROWS, f=1)  # warnings are errors


def test_beyond_the_bound_is_an_error_if_strict():
    with pytest.raises(ValueError, match="median's guarantee covers f <= 1 for m=3; got f=2"):
        byzsim.aggregate("median", ROWS, f=2, strict=True)
    byzsim.aggregate("median", ROWS, f=1, strict=True)
    with pytest.raises(ValueError, match="mean's guarantee covers f <= 0 for m=4; got n_byz=1, f=1"):
        byzsim.simulate((IMAGES, LABELS), (IMAGES, LABELS), m=4, n_byz=1, model="softmax", strict=True)


@pytest.mark.slow
def test_simulate_measures_after_every_epoch(world):
    done = []
    pair = (world.images, world.labels)
    history = byzsim.simulate(pair, pair, model="softmax", m=4, batch=4, epochs=3, on_epoch=done.append)
    assert done == [1, 2, 3] and not history.diverged
    assert all(series.shape == (3,) and np.isfinite(series).all() for series in (history.accuracy, *history[1:9]))


IMAGES, LABELS = np.zeros((64, 4, 4), np.uint8), np.zeros(64, int)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(str), LABELS, "train inputs"),
        (IMAGES[0], LABELS, r"train has \[4, 64\] examples in its arrays; expected the same number"),
        (IMAGES[:0], LABELS[:0], "train inputs are uint8 of shape"),
        (IMAGES, LABELS[:-1], r"train has \[63, 64\] examples in its arrays"),
        (IMAGES, LABELS.astype(float), "train labels are float32 of shape .*; expected whole numbers"),
        (IMAGES, None, "train labels are missing; expected whole numbers"),
        (IMAGES, LABELS + 2**40, "expected whole numbers of 32 bits"),
        (IMAGES[:12], LABELS[:12], "batch=4 is larger than a worker's shard"),
        (np.zeros((64, 5, 4), np.uint8), LABELS, "train and test inputs differ"),
    ],
)
def test_data_that_cannot_be_run_is_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        byzsim.simulate((images, labels), (IMAGES, LABELS), model="softmax", m=4, batch=4)


def test_classes_are_the_labels_that_are_there(world, monkeypatch):
    """What is trained on digits 3 and 7 is what is trained on the same data named 0 and 1; so under every attack."""
    seen = []
    monkeypatch.setattr(grid, "run", lambda static, dynamic, *data, **how: seen.append((static, data)) or [None])
    for named in ([3, 7], [0, 1], [1, 255]):
        pair = world.images, np.array(named)[world.labels % 2]
        byzsim.simulate(pair, pair, **TINY, rule="median", attack="label_flip", n_byz=1)
    (static, data), *others = seen
    assert static.task().n_classes == 2 and dict(static.task.model.static)["n_classes"] == 2
    np.testing.assert_array_equal(data[0].labels, world.labels % 2)
    for other, given in others:
        assert other == static
        jax.tree.map(np.testing.assert_array_equal, given, data)


def test_classes_of_the_test_set_count_too(world, monkeypatch):
    seen = []
    monkeypatch.setattr(grid, "run", lambda static, dynamic, *data, **how: seen.append((static, data)) or [None])
    few, all_of_them = (world.images, np.full(64, 7)), (world.images, world.labels * 3)
    byzsim.simulate(few, all_of_them, **TINY)
    ((static, (train, test)),) = seen
    assert static.task().n_classes == 5 and set(train.labels.tolist()) == {3}
    np.testing.assert_array_equal(np.unique(test.labels), [0, 1, 2, 4])


@pytest.mark.slow
@pytest.mark.parametrize("attack", [name for name, spec in byzsim.ATTACKS.items() if "data" in spec.traits])
def test_attacks_on_labels_do_not_know_gaps(attack, world):
    """The same bits as of the same classes numbered from 0."""
    digests = set()
    for named in ([3, 7], [0, 1]):
        pair = world.images, np.array(named)[world.labels % 2]
        digests.add(byzsim.simulate(pair, pair, **TINY, rule="median", attack=attack, n_byz=1).digest)
    assert len(digests) == 1


def test_lenet_says_that_images_are_too_small():
    with pytest.raises(ValueError, match=r"lenet|LeNet|small|image"):
        byzsim.simulate(
            (np.zeros((64, 8, 8), np.uint8), LABELS), (np.zeros((64, 8, 8), np.uint8), LABELS), m=4, batch=4
        )


HONEST = [[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]]


def test_several_rounds_go_through_a_memory():
    rounds = np.random.default_rng(0).normal(size=(4, 5, 3))
    out = byzsim.aggregate("centered_clipping", rounds, tau=1.0)
    assert out.shape == (4, 3)
    np.testing.assert_allclose(out[0], byzsim.aggregate("centered_clipping", rounds[0], tau=1.0), rtol=1e-6)
    assert np.linalg.norm(out[1] - byzsim.aggregate("centered_clipping", rounds[1], tau=1.0)) > 1e-3


def test_what_attackers_send():
    np.testing.assert_allclose(byzsim.forge("inner_product", HONEST, n_byz=2, epsilon=2.0), [[-6, -4]] * 2, rtol=1e-6)
    own = [[1.0, -1.0]]
    np.testing.assert_array_equal(
        byzsim.forge("scaling", HONEST, n_byz=1, byzantine_gradients=own, factor=3.0), [[3, -3]]
    )
    assert byzsim.forge("inner_product", [HONEST] * 4, n_byz=1).shape == (4, 1, 2)
    assert byzsim.forge("alie", HONEST, n_byz=0).shape == (0, 2)


def test_nobody_sends_nothing(attack):
    if "data" not in ATTACKS[attack].traits:
        assert byzsim.forge(attack, HONEST, n_byz=0).shape == (0, 2)
        assert byzsim.forge(attack, [HONEST] * 4, n_byz=0, byzantine_gradients=np.zeros((4, 0, 2))).shape == (4, 0, 2)


def test_own_work_is_asked_for_where_it_is_read():
    np.testing.assert_array_equal(byzsim.forge("sign_flip", HONEST, n_byz=1, gradient="mean"), [[-3, -2]])
    assert byzsim.forge("gaussian", HONEST, n_byz=1).shape == (1, 2)
    for name, options in (("sign_flip", {}), ("gaussian", {"noise": "add"}), ("burst+gaussian", {})):
        with pytest.raises(ValueError, match="reads what the attackers would send if they were honest"):
            byzsim.forge(name, HONEST, n_byz=1, **options)


FORKED = """
import multiprocessing, sys
import byzsim

def work(how):
    try:
        if how == "aggregate":
            byzsim.aggregate("median", [[1.0], [2.0], [3.0]])
        else:
            byzsim.forge("alie", [[1.0], [2.0], [3.0]], n_byz=1)
    except RuntimeError as error:
        return str(error)
    return "worked"

def results():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.map(work, ["aggregate", "attack"])

print(results() if "first" in sys.argv else [], flush=True)
work("aggregate")
print(results() if "first" not in sys.argv else [], flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("when", ["first", "later"])
def test_a_fork_after_work_is_told_and_does_not_hang(environment, when):
    command = [sys.executable, "-W", "ignore", "-c", FORKED, when]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    if when == "first":
        assert done.stdout.splitlines() == ["['worked', 'worked']", "[]"]
    else:
        assert done.stdout.count("in which JAX had started: it would hang. Use the start method 'spawn'") == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"name": "alei", "n_byz": 1}, "unknown attack 'alei'. Did you mean 'alie'"),
        ({"name": "label_flip", "n_byz": 1}, "label_flip changes labels, not gradients"),
        (
            {"name": "scaling", "n_byz": 1},
            r"would send if they were honest: pass byzantine_gradients=... of shape \(1, 2\)",
        ),
        (
            {"name": "scaling", "n_byz": 1, "byzantine_gradients": [[1.0]]},
            r"byzantine_gradients has shape \(1, 1\); expected \(1, 2\)",
        ),
        ({"name": "alie", "n_byz": -1}, "n_byz=-1 is not a whole number"),
        ({"name": "alie", "n_byz": 1.5}, "n_byz=1.5 is not a whole number"),
        ({"name": "alie", "n_byz": 1, "f": 9}, "f=9 is not a whole number from 0 to m=4"),
        ({"name": "alie", "n_byz": 1, "rule": "krumm"}, "unknown rule 'krumm'"),
        ({"name": "alie", "n_byz": 1, "zz": 1}, "unknown option of alie 'zz'"),
        ({"name": "alie", "n_byz": 1, "previous": [1.0, 2.0, 3.0]}, r"previous has shape \(3,\); expected \(2,\)"),
    ],
)
def test_calls_that_make_no_sense_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        byzsim.forge(honest=HONEST, **call)


def test_a_rule_that_asks_for_the_servers_data_says_so():
    with pytest.raises(ValueError, match=r"fltrust needs the server's own data: pass server_loss=... or"):
        byzsim.aggregate("fltrust", HONEST)
    with pytest.raises(ValueError, match=r"server_gradient has shape \(3,\); expected \(2,\)"):
        byzsim.aggregate("fltrust", HONEST, server_gradient=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"params has shape \(3,\); expected \(2,\)"):
        byzsim.aggregate("fltrust", HONEST, server_gradient=[1.0, 2.0], params=[1.0, 2.0, 3.0])


def test_a_function_of_the_server_is_compiled_once_while_it_reads_the_same():
    def call(centre, helper=jnp.square):
        """(whether it compiled, the aggregate)"""

        def loss(params):
            return helper(params - centre).sum()

        before = api._aggregating.cache_info().misses
        rows = np.eye(4, dtype=np.float32)
        out = np.asarray(byzsim.aggregate("zeno", rows, f=1, lr=0.1, params=np.ones(4), server_loss=loss))
        return api._aggregating.cache_info().misses > before, out.tolist()

    centre = np.zeros(4, np.float32)
    centre[0] = 9
    assert call(centre)[0]
    again, first = call(centre.copy())  # equal content, another array and another function object
    assert not again
    centre[:] = centre[::-1].copy()  # changed in place
    again, moved = call(centre)
    assert again and moved != first
    assert call(centre, helper=jnp.abs)[0]
    kept = jnp.zeros(4)
    assert [call(kept)[0], call(kept)[0], call(jnp.zeros(4))[0]] == [True, False, True]


def test_a_function_that_reads_an_object_is_compiled_at_every_call():
    class Server:
        centre = np.zeros(4, np.float32)

        def loss(self, params):
            return ((params - self.centre) ** 2).sum()

    server = Server()
    rows = np.eye(4, dtype=np.float32)
    outs = []
    for centre in ([9.0, 0, 0, 0], [0, 0, 0, 9.0]):
        server.centre = np.array(centre, np.float32)
        outs.append(np.asarray(byzsim.aggregate("zeno", rows, f=1, lr=0.1, server_loss=server.loss)))
    assert outs[0].tolist() != outs[1].tolist()


def test_what_a_function_reads_decides_whether_it_is_the_same():
    def of(value):
        return lambda x: x * value

    for value in (2, 2.0, "a", (1, [2]), {"w": np.ones(3)}, np.float32(1), None):
        assert captured(of(value)) == captured(of(copy.deepcopy(value))), value
    for value in (jnp.sin, math.sin, jnp.ones(2)):
        assert captured(of(value)) == captured(of(value)), value
    for one, other in ((2, 2.0), (np.ones(3), np.zeros(3)), ({"a": 1}, {"b": 1}), (jnp.sin, jnp.cos)):
        assert captured(of(one)) != captured(of(other))
    again = of(functools.partial(of(1), 2))
    assert captured(again) == captured(again)
    with pytest.raises(MayChange, match="of type set"):
        captured(of({1, 2}))
    with pytest.raises(MayChange, match="traced"):
        jax.jit(lambda x: captured(of(x)))(1.0)

    def factorial(n):
        return n * factorial(n - 1) if n else 1

    assert captured(factorial) == captured(factorial)
