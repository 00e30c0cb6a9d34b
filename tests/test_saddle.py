"""Escaping saddle points: the push, the server's noise, what is measured of a run, and the verdict, at toy size."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from byzsim import ATTACKS, TASKS, Context, simulate
from byzsim.experiments.plan import expand, shortened
from byzsim.experiments.tables import TABLES
from byzsim.experiments.tables.theory_saddle import (
    CLAIMS,
    DOUBLE,
    LARGE,
    PLAIN,
    SINGLE,
    SMALL,
    escapes,
    pictures,
    verdict,
)
from test_tasks import octopus_in_numpy

TAU = math.e
BYZ = np.array([True, False, False, True])
OCTOPUS = {"task": "octopus", "task_args": {"d": 3}, "model": None, "m": 5, "batch": 1, "lr": 0.01}


def pushed(x, **options):
    """What an attacker sends at x where honest workers send (1, 1, 1) and (3, 3, 3), less their mean."""
    rows = jnp.array([[9.0] * 3, [1.0] * 3, [3.0] * 3, [9.0] * 3])
    ctx = Context(jax.random.key(0), jnp.int32(0), jnp.int32(2), params=jnp.asarray(x, jnp.float32))
    made = ATTACKS["saddle_push"].factory(**options)
    sent = made.grads(rows, jnp.asarray(BYZ), (), ctx)[0]
    np.testing.assert_array_equal(sent[0], sent[3])
    return np.asarray(sent[0] - 2.0)


@pytest.mark.parametrize(
    ("x", "push"),
    [
        ([0.1, 5.0, 0.0], [1.5, 0, 0]),
        ([-0.1, 5.0, 0.0], [-1.5, 0, 0]),
        ([4 * TAU, -5.0, 1.0], [0, -1.5, 0]),  # the first saddle is passed
        ([-4 * TAU, 4 * TAU, 2.0], [0, 0, 1.5]),
        ([4 * TAU, -4 * TAU, 4 * TAU], [0, 0, 0]),  # all are
        ([0.0, 1.0, 1.0], [0, 0, 0]),  # at the saddle itself there is no side
    ],
)
def test_the_push_goes_back_to_the_next_saddle(x, push):
    np.testing.assert_allclose(pushed(x, c=0.75, v=2.0), push, atol=1e-6)


@pytest.mark.parametrize("x", [[0.3, -0.2, 0.1], [1.2 * TAU, 0.4, -0.3], [4 * TAU, 1.7 * TAU, 0.2], [4.1 * TAU] * 3])
def test_the_smallest_eigenvalue_is_that_of_finite_differences(x):
    step, basis = 1e-3, np.eye(3)

    def f(u, v):
        return octopus_in_numpy(np.array(x) + step * (u + v))

    second = [[f(a, b) - f(a, -b) - f(-a, b) + f(-a, -b) for b in basis] for a in basis]
    expected = np.linalg.eigvalsh(np.array(second) / (4 * step**2))[0]
    found = TASKS["octopus"].factory(d=3).measure(jnp.array(x), ())["min_eigenvalue"]
    assert float(found) == pytest.approx(expected, rel=2e-3, abs=2e-3)


def test_all_rules_get_the_same_noise_and_it_is_normal():
    """Without gradients' noise, two steps from 0 differ from those without the server's by lr nu xi."""
    calm = OCTOPUS | {"task_args": {"d": 200, "noise": 1e-6}, "total_steps": 1}
    moved = {rule: simulate(**calm, rule=rule, server_noise=3.0).params for rule in ("mean", "median", "krum")}
    xi = moved["mean"] / (-0.01 * 3.0)
    assert abs(xi.mean()) < 6 / 200**0.5 and abs((xi**2).mean() - 1) < 6 * (2 / 200) ** 0.5
    for params in moved.values():
        np.testing.assert_allclose(params, moved["mean"], atol=1e-7)
    assert (simulate(**calm, server_noise=3.0, seed=1).params != moved["mean"]).all()
    assert np.abs(simulate(**calm).params).max() < 1e-7
    with pytest.raises(ValueError, match="server_noise=-1"):
        simulate(**calm, server_noise=-1)


def record(saddles, *, seed=2, lost=0.0, kept=0.0, curvature=5.4, id="a"):
    series = {"saddles": saddles, "min_eigenvalue": [-2.0, curvature]}
    return series | {"id": id, "seed": seed, "eval_every": 10, "n_byz": 8, "honest_dropped": [lost], "byz_kept": [kept]}


def test_what_became_of_a_run():
    cell = {"rule": DOUBLE, "regime": SMALL, "d": 3, "c": 0.5}
    records = [record([0, 1, 1, 3], lost=1.0000001), record([0, 0, 2, 2], kept=8.0, curvature=-2.0, id="b")]
    runs = escapes(records, pd.DataFrame([cell | {"ids": "a b"}]))
    assert runs["at"].tolist() == [[20, 40, 40], [30, 30, math.inf]]
    assert runs["steps"].tolist() == [40, math.inf] and runs["curvature"].tolist() == [5.4, -2.0]
    assert runs["honest_lost"].tolist() == [1, 0] and runs["caught"].tolist() == [8, 0]
    assert runs["by"].tolist() == [0, math.inf]


def toy_runs(**changes):
    """One run in every cell, as the theorem has it: only `double` with the small step is not held up."""
    rows = []
    for rule in (*PLAIN, SINGLE, DOUBLE):
        for regime in (SMALL, LARGE):
            for c in (0.0, 0.25, 0.5, 1.0):
                held = c > 0.25 and (rule in PLAIN or regime == LARGE)
                rows.append({"rule": rule, "regime": regime, "d": 3, "c": c, "seed": 2, "every": 10, "within": 20}
                            | {"at": [math.inf if held else 100] * 3, "steps": math.inf if held else 100}
                            | {"curvature": -2.0 if held else 5.4, "honest_lost": 0}
                            | {"caught": 8, "by": 10})  # fmt: skip
    runs = pd.DataFrame(rows)
    at = (runs["rule"] == DOUBLE) & (runs["regime"] == SMALL) & (runs["c"] == 1.0)
    for name, value in changes.items():
        runs.loc[at, name] = value
    return runs


def test_the_verdict():
    assert verdict(toy_runs())["Verdict"].tolist() == ["holds"] * len(CLAIMS)
    changes = {"steps": math.inf, "curvature": -2.0, "caught": 7, "honest_lost": 1}
    broken = {name: verdict(toy_runs(**{name: value})) for name, value in changes.items()}
    fails = {name: [i for i, said in enumerate(each["Verdict"]) if said == "fails"] for name, each in broken.items()}
    assert fails == {"steps": [1, 5], "curvature": [2], "caught": [3], "honest_lost": [4]}
    assert broken["caught"].iloc[3, 3] == "double, d = 3, c = 1 (0%)"
    some = toy_runs()
    assert verdict(some[some["regime"] == SMALL])["Verdict"].tolist()[-1] == "not run"
    slower = some.assign(steps=[150 if math.isinf(steps) else steps for steps in some["steps"]])
    assert verdict(slower)["Verdict"].tolist()[-2:] == ["fails", "fails"]


def test_the_table_has_both_regimes_and_its_quick_edition_is_short():
    table = TABLES["theory_saddle"]
    planned = expand(table)
    assert len(planned) == 7 * 2 * 3 * 5 * 10
    runs = {each.position["regime"]: each.config for each in planned if each.position["rule"] == DOUBLE}
    assert [runs[name].total_steps * runs[name].lr for name in (SMALL, LARGE)] == pytest.approx([60, 60])
    assert runs[SMALL].rule_args["t0"] == 1000 and runs[SMALL].rule_args["t1"] == 10_000
    assert runs[SMALL].rule_args["th0"] == pytest.approx(2.5 * 1000**0.5 / 20)
    assert {each.config.f for each in planned} == {8}
    assert max(each.config.total_steps for each in expand(shortened(table))) == 3_000


def test_one_rule_leaves_a_saddle_and_another_does_not():
    """A few seconds of the table itself: d = 1, c = 1."""
    how = {"task": "octopus", "task_args": {"d": 1}, "model": None, "m": 20, "n_byz": 8, "batch": 1, "lr": 1e-3}
    how |= {"attack": "saddle_push", "attack_args": {"c": 1.0}, "server_noise": 4.0, "total_steps": 8_000}
    guards = {"thresholds": "given", "t0": 1000, "t1": 10_000, "th0": 3.95, "th1": 12.5}
    caught = simulate(**how, rule="safeguard", rule_args=guards, eval_every=1_000)
    held = simulate(**how, rule="median", eval_every=1_000)
    assert caught.metrics["saddles"][-1] == 1 and caught.byz_kept[-1] == 0
    assert held.metrics["saddles"][-1] == 0 and held.metrics["min_eigenvalue"][-1] < 0


def test_the_pictures():
    runs = toy_runs()
    ids = [str(i) for i in range(len(runs))]
    series = [([0, 3] if step < math.inf else [0, 0]) for step in runs["steps"]]
    records = [record(each, id=id, curvature=5.4 if each[-1] else -2.0) for id, each in zip(ids, series, strict=True)]
    made = pictures(records, runs.assign(ids=ids), {DOUBLE: "Double"})
    assert {*made} == {"escape", "saddles"}
    figure, _, text = made["escape"]
    assert len(figure.axes) == 2 and "| It catches all attackers | holds |" in text.replace("  ", " ")
    assert pictures([], runs.assign(ids="").iloc[:0], {}) == {}
