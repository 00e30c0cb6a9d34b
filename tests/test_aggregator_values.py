"""What rules compute: against plain float64 loops written from the papers, and against vectors worked out by hand."""

import functools
import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from sim import AGGREGATORS, Round

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
OPTIONS = {
    "mean": [{}],
    "median": [{}, {"middle": "lower"}],
    "krum": [{}],
    "brsgd": [
        {},
        {"reading": "code"},
        {"beta": 0.3},
        {"beta": 1.0},
        {"threshold": "half"},
        {"threshold": 4.0},
        {"threshold": 0.5},
        {"threshold": 0.5, "empty": "c1"},
        {"threshold": 0.5, "empty": "median"},
        {"at_mean": "below"},
        {"column_tie": "below"},
        {"score_tie": "all"},
        {"middle": "lower"},
        {"non_finite": "keep"},
    ],
}
CHOICES = [(rule, options) for rule, several in OPTIONS.items() for options in several]


def inputs(m, d=9):
    draw = np.random.default_rng(m)
    normal = draw.normal(size=(m, d))
    outliers = normal.copy()
    outliers[1::3] *= 1000
    bad = normal.copy()
    bad[0, 0], bad[2], bad[5, 3] = np.nan, 1e38, np.inf
    few = {}
    for i in range(12):
        few[f"few columns {i}"] = np.zeros((m, d))  # the same for all, so without effect
        few[f"few columns {i}"][:, :3] = draw.integers(-3, 4, (m, 3)) / 2
    return few | {
        "normal": normal,
        "tied": draw.integers(-3, 4, (m, d)) / 2,  # exact in float32: equal scores, distances and column means
        "outliers": outliers,
        "bad": bad,
    }


@functools.cache
def compiled(rule, options):
    made = AGGREGATORS[rule].make(**dict(options))
    return jax.jit(lambda rows, f: made.apply(rows, made.init(*rows.shape), Round(jax.random.key(0), jnp.int32(0), f)))


def output(rule, rows, f, options):
    return np.asarray(compiled(rule, tuple(options.items()))(jnp.asarray(rows, jnp.float32), jnp.int32(f))[0])


def test_every_rule_has_a_reference(rule):
    assert rule in OPTIONS and callable(getattr(reference, rule))


@pytest.mark.parametrize("m", [7, 8])
@pytest.mark.parametrize(("rule", "options"), CHOICES, ids=str)
def test_like_the_reference(rule, options, m):
    for kind, rows in inputs(m).items():
        if kind == "bad" and options.get("non_finite") == "keep":
            continue
        exact = rows.astype(np.float32).astype(np.float64)
        for f in (0, 1, 2) if rule == "krum" else (1,):
            with np.errstate(invalid="ignore"):
                expected = getattr(reference, rule)(exact, f, **options)
            np.testing.assert_allclose(output(rule, rows, f, options), expected, rtol=1e-5, atol=1e-5, err_msg=kind)


def test_the_inputs_tell_the_rules_and_options_apart():
    seen = {}
    for rule, options in CHOICES:
        with np.errstate(invalid="ignore"):
            vectors = [
                getattr(reference, rule)(rows, 1, **options)
                for m in (7, 8)
                for kind, rows in inputs(m).items()
                if kind != "bad"
            ]
        seen[f"{rule} {options}"] = np.array(vectors)
    finite_only = seen.pop("brsgd {'non_finite': 'keep'}")
    np.testing.assert_array_equal(finite_only, seen["brsgd {}"])
    alike = [(a, b) for a, b in itertools.combinations(seen, 2) if np.allclose(seen[a], seen[b])]
    assert not alike


def test_brsgd_counts_bad_rows_only_when_told():
    """A NaN spoils every column mean, so all scores are alike and other rows are kept."""
    rows = inputs(7)["bad"]
    dropped, kept = (output("brsgd", rows, 3, {"non_finite": how}) for how in ("drop", "keep"))
    assert np.isfinite(dropped).all()
    assert not np.allclose(dropped, kept)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden['rule']} {golden['options']}")
def test_golden(golden):
    rows = np.array(golden["rows"], float)
    np.testing.assert_allclose(
        output(golden["rule"], rows, golden["f"], golden["options"]), golden["output"], rtol=1e-6, atol=1e-7
    )
    expected = getattr(reference, golden["rule"])(rows, golden["f"], **golden["options"])
    np.testing.assert_allclose(expected, golden["output"], rtol=1e-12)


@pytest.mark.parametrize(("bad", "count"), [(np.inf, 4), (np.inf, 5), (np.nan, 5), (-np.inf, 4), (-np.inf, 5)])
def test_median_beyond_its_bound_is_still_the_middle_value(bad, count):
    rows = np.ones((8, 2))
    rows[:count] = bad
    np.testing.assert_array_equal(output("median", rows, count, {}), reference.median(rows, count))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_brsgd_leaves_out_rows_that_are_not_usable_when_they_are_half(bad):
    rows = inputs(8)["normal"]
    rows[:4] = bad
    aggregate = output("brsgd", rows, 4, {})
    assert np.isfinite(aggregate).all() and aggregate.any()
