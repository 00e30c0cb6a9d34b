"""The two one-liners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY

import sim
from sim import grid

ROWS = [[1, 2, 3], [4, 6, 9], [10, 11, 12]]


@pytest.mark.parametrize(
    "rows",
    [ROWS, np.array(ROWS), np.array(ROWS, float), np.array(ROWS, np.uint8), jnp.array(ROWS, jnp.bfloat16),
     np.asfortranarray(ROWS), [np.array(row) for row in ROWS]],
    ids=["list", "int64", "float64", "uint8", "bfloat16", "fortran", "list of arrays"],
)  # fmt: skip
def test_any_matrix_will_do(rows):
    aggregate = sim.aggregate("median", rows)
    assert aggregate.dtype == jnp.float32
    np.testing.assert_array_equal(aggregate, [4, 6, 9])


@pytest.mark.slow
def test_every_rule_takes_one_worker(rule):
    np.testing.assert_allclose(sim.aggregate(rule, [[1.0, -2.0]], server_gradient=[1.0, -2.0]), [1, -2], rtol=1e-6)


def test_options_and_f_reach_the_rule():
    rows = [[0.0], [1.0], [9.0], [14.0], [18.0]]
    assert [float(sim.aggregate("krum", rows, f=f)[0]) for f in (0, 1)] == [9, 14]
    assert float(sim.aggregate("median", rows[:4], middle="lower")[0]) == 1


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
        ([[None, 1]], "object; expected real numbers"),
    ],
)
def test_what_is_no_matrix_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        sim.aggregate("mean", rows)


@pytest.mark.parametrize("f", [-1, 4, 1.0, True, None])
def test_f_out_of_range_is_refused(f):
    with pytest.raises(ValueError, match=f"f={f} is not a whole number from 0 to m=3"):
        sim.aggregate("median", ROWS, f=f)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown rule 'krumm'. Did you mean 'krum'"):
        sim.aggregate("krumm", ROWS)
    with pytest.raises(ValueError, match=r"unknown option of median 'midle'. Did you mean 'middle'"):
        sim.aggregate("median", ROWS, midle="lower")


def test_beyond_the_bound_is_a_warning():
    with pytest.warns(UserWarning, match="median withstands at most f=1 of m=3 workers, not f=2"):
        sim.aggregate("median", ROWS, f=2)
    sim.aggregate("median", ROWS, f=1)  # warnings are errors


@pytest.mark.slow
def test_simulate_measures_after_every_epoch(world):
    done = []
    pair = (world.images, world.labels)
    curve = sim.simulate(pair, pair, model="softmax", m=4, batch=4, epochs=3, on_epoch=done.append)
    assert done == [1, 2, 3] and not curve.diverged
    assert all(series.shape == (3,) and np.isfinite(series).all() for series in curve[:-3])


IMAGES, LABELS = np.zeros((64, 4, 4), np.uint8), np.zeros(64, int)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(np.float32), LABELS, "train images are float32"),
        (IMAGES[0], LABELS, r"train images are uint8 of shape \(4, 4\)"),
        (IMAGES[:0], LABELS[:0], "train images"),
        (IMAGES, LABELS[:-1], r"train labels are int64 of shape \(63,\); expected whole numbers, \(64,\)"),
        (IMAGES, LABELS.astype(float), "train labels are float64"),
        (IMAGES, LABELS - 1, "train labels go from -1 to -1"),
        (IMAGES, LABELS + 256, "expected 0 to 255"),
        (IMAGES[:12], LABELS[:12], "batch=4 is larger than a worker's shard"),
        (np.zeros((64, 5, 4), np.uint8), LABELS, "images differ"),
    ],
)
def test_data_that_cannot_be_run_is_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        sim.simulate((images, labels), (IMAGES, LABELS), model="softmax", m=4, batch=4)


def test_classes_are_the_labels_that_are_there(world, monkeypatch):
    """What is trained on digits 3 and 7 is what is trained on the same data named 0 and 1; so under every attack."""
    seen = []
    monkeypatch.setattr(grid, "run", lambda program, knobs, *data, **how: seen.append((program, data)) or [None])
    for named in ([3, 7], [0, 1], [1, 255]):
        pair = world.images, np.array(named)[world.labels % 2]
        sim.simulate(pair, pair, **TINY, rule="median", attack="label_flip", n_byz=1)
    (program, data), *others = seen
    assert program.n_classes == 2 and program.model.n_classes == 2
    np.testing.assert_array_equal(data[0].labels, world.labels % 2)
    for other, given in others:
        assert other == program
        jax.tree.map(np.testing.assert_array_equal, given, data)


def test_classes_of_the_test_set_count_too(world, monkeypatch):
    seen = []
    monkeypatch.setattr(grid, "run", lambda program, knobs, *data, **how: seen.append((program, data)) or [None])
    few, all_of_them = (world.images, np.full(64, 7)), (world.images, world.labels * 3)
    sim.simulate(few, all_of_them, **TINY)
    ((program, (train, test)),) = seen
    assert program.n_classes == 5 and set(train.labels.tolist()) == {3}
    np.testing.assert_array_equal(np.unique(test.labels), [0, 1, 2, 4])


@pytest.mark.slow
@pytest.mark.parametrize("attack", [name for name, entry in sim.ATTACKS.items() if "data" in entry.traits])
def test_attacks_on_labels_do_not_know_gaps(attack, world):
    """The same bits as of the same classes numbered from 0."""
    digests = set()
    for named in ([3, 7], [0, 1]):
        pair = world.images, np.array(named)[world.labels % 2]
        digests.add(sim.simulate(pair, pair, **TINY, rule="median", attack=attack, n_byz=1).digest)
    assert len(digests) == 1


def test_lenet_says_that_images_are_too_small():
    with pytest.raises(ValueError, match=r"lenet|LeNet|small|image"):
        sim.simulate((np.zeros((64, 8, 8), np.uint8), LABELS), (np.zeros((64, 8, 8), np.uint8), LABELS), m=4, batch=4)


HONEST = [[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]]


def test_several_rounds_go_through_a_memory():
    rounds = np.random.default_rng(0).normal(size=(4, 5, 3))
    out = sim.aggregate("centered_clipping", rounds, tau=1.0)
    assert out.shape == (4, 3)
    np.testing.assert_allclose(out[0], sim.aggregate("centered_clipping", rounds[0], tau=1.0), rtol=1e-6)
    assert np.linalg.norm(out[1] - sim.aggregate("centered_clipping", rounds[1], tau=1.0)) > 1e-3


def test_what_attackers_send():
    np.testing.assert_allclose(sim.attack("inner_product", HONEST, n_byz=2, epsilon=2.0), [[-6, -4]] * 2, rtol=1e-6)
    own = [[1.0, -1.0]]
    np.testing.assert_array_equal(sim.attack("scaling", HONEST, n_byz=1, own=own, factor=3.0), [[3, -3]])
    assert sim.attack("inner_product", [HONEST] * 4, n_byz=1).shape == (4, 1, 2)
    assert sim.attack("alie", HONEST, n_byz=0).shape == (0, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"name": "alei", "n_byz": 1}, "unknown attack 'alei'. Did you mean 'alie'"),
        ({"name": "label_flip", "n_byz": 1}, "label_flip changes labels, not gradients"),
        (
            {"name": "scaling", "n_byz": 1},
            r"scaling starts from the attackers' own work: give own=..., of shape \(1, 2\)",
        ),
        ({"name": "scaling", "n_byz": 1, "own": [[1.0]]}, r"own has shape \(1, 1\); expected \(1, 2\)"),
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
        sim.attack(honest=HONEST, **call)


def test_a_rule_that_asks_for_the_servers_data_says_so():
    with pytest.raises(ValueError, match=r"fltrust asks for the server's own data: give server_loss=... or"):
        sim.aggregate("fltrust", HONEST)
    with pytest.raises(ValueError, match=r"server_gradient has shape \(3,\); expected \(2,\)"):
        sim.aggregate("fltrust", HONEST, server_gradient=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"params has shape \(3,\); expected \(2,\)"):
        sim.aggregate("fltrust", HONEST, server_gradient=[1.0, 2.0], params=[1.0, 2.0, 3.0])
