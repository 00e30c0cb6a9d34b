"""Slopes of the theory at toy size, the table theory_rates, and repetitions inside one program.

The slopes of rules are measured on drawn rows. `FAILURE` is the chance with which a test of a true slope may fail for
the seeds that are written here; each test asserts that its interval of that level is narrower than `WITHIN`.
"""

import functools
import math
from statistics import NormalDist

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from byzsim import Context, RunConfig, simulate
from byzsim.experiments import slopes
from byzsim.experiments.plan import expand, shortened
from byzsim.experiments.tables import TABLES
from byzsim.experiments.tables.theory_rates import (
    CLAIMS,
    LOGISTIC,
    NORMAL,
    OF_SKEW,
    RULES,
    SIZES,
    SKEWED,
    SWEEPS,
    WITHIN,
    Point,
    errors,
    pattern_shift,
    pictures,
    rate,
    slope,
    verdict,
    where,
)

FAILURE = 1e-3
TABLE = TABLES["theory_rates"]
RUN = {"rule": "median", "m": 6, "n_byz": 2, "attack": "alie", "attack_args": {"z": 1.0}, "batch": None, "lr": 1.0}
RUN |= {"task": "least_squares", "task_args": {"d": 2, "n": 8, "n_test": 4}, "total_steps": 4, "eval_every": 2}


# Repetitions


def test_repetitions_are_the_runs_of_the_next_seeds():
    together, alone = simulate(**RUN, repetitions=3, seed=5), [simulate(**RUN, seed=seed) for seed in (5, 6, 7)]
    for name in alone[0].metrics:
        each = np.array([history.metrics[name] for history in alone])
        np.testing.assert_allclose(together.metrics[name], each.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(together.metrics[f"{name}_sd"], each.std(axis=0, ddof=1), rtol=1e-3)
    np.testing.assert_allclose(together.error, np.mean([history.error for history in alone], axis=0), rtol=1e-4)
    np.testing.assert_allclose(together.params, [history.params for history in alone], rtol=1e-3, atol=1e-5)


def test_repetitions_diverge_together_and_count_in_the_identity_only_if_there_are_several():
    assert simulate(**RUN | {"lr": 1e30}, repetitions=2).diverged
    assert (
        "repetitions" not in RunConfig(**RUN).as_dict()
        and RunConfig(**RUN, repetitions=2).as_dict()["repetitions"] == 2
    )


def test_exponential_draws_have_the_same_variance_and_skew_the_gradient():
    task = byzsim.TASKS["least_squares"].factory(d=2, n=20_000, condition=4.0, draws="exponential")
    data, truth = task.generate(jax.random.key(0), 1), None
    x, (_, truth) = np.asarray(data.train.inputs, float), data.facts
    noise = np.asarray(data.train.labels, float) - x @ np.asarray(truth, float)
    np.testing.assert_allclose(x.std(axis=0), [1, 0.5], rtol=0.05)
    gradient = x[:, 0] * noise
    assert abs(gradient.mean()) < 0.05 and (gradient**3).mean() / gradient.std() ** 3 > 2


# Fits


@pytest.mark.parametrize("power", [-1.0, -0.5, 0.0, 1.0])
def test_a_fit_recovers_the_power(power):
    x = np.array([10.0, 20, 80, 100])
    found = slopes.fit(x, 3 * x**power, 0.01 * x**power)
    assert found.value == pytest.approx(power) and 0 < found.error < 0.02
    bent = slopes.fit(x, 3 * x**power * [1, 1.5, 1, 1.5], 0.01 * x**power)
    assert bent.error > 10 * found.error, "the line does not explain the points"


def test_the_interval_of_a_fit_covers_as_often_as_it_says():
    rng, x = np.random.default_rng(0), np.array([10.0, 20, 40, 80])
    y = x**-0.5
    fits = [slopes.fit(x, y * (1 + 0.02 * rng.standard_normal(4)), 0.02 * y) for _ in range(2000)]
    missed = np.mean([abs(each.value + 0.5) > each.half for each in fits])
    assert missed < 0.05, "Birge's factor only widens"
    raw = np.std([each.value for each in fits])
    assert raw == pytest.approx(0.02 / np.sqrt(((np.log(x) - np.log(x).mean()) ** 2).sum()), rel=0.06)


def test_a_fit_needs_two_finite_points():
    assert math.isnan(slopes.fit([1], [1], [1]).value) and math.isnan(slopes.fit([1, 2], [1, np.inf], [1, 1]).value)


# Slopes of rules on drawn rows: the mean estimation that a step at the optimum is


@functools.lru_cache
def drawn_error(rule, m, d=4, reps=300, skewed=False, shift=0.0, f=0, **options):
    """Mean distance of the rule's output from the true mean 0 of rows with standard deviation 1, and its error."""
    rng = np.random.default_rng([m, d, f])
    rows = rng.exponential(size=(reps, m, d)) - 1 if skewed else rng.standard_normal((reps, m, d))
    if f:
        rows[:, :f] = (rows[:, f:].mean(axis=1) - shift * rows[:, f:].std(axis=1))[:, None]
    made = byzsim.AGGREGATORS[rule].factory(**options)
    apply = jax.jit(
        jax.vmap(lambda grads: made.apply(grads, (), Context(jax.random.key(0), jnp.int32(0), jnp.int32(f)))[0])
    )
    found = np.linalg.norm(np.asarray(apply(jnp.asarray(rows, jnp.float32)), float), axis=1)
    return found.mean(), found.std() / np.sqrt(reps)


def drawn_slope(rule, sizes, **options):
    measured = [drawn_error(rule, m, **options) for m in sizes]
    found = slopes.fit(sizes, *zip(*measured, strict=True))
    assert NormalDist().inv_cdf(1 - FAILURE / 2) * found.error < WITHIN, "the test could fail by chance"
    return found.value


@pytest.mark.parametrize("rule", ["mean", "median", "geometric_median"])
def test_workers_buy_the_error_down_as_their_square_root(rule):
    assert drawn_slope(rule, (16, 256)) == pytest.approx(-0.5, abs=WITHIN)


def test_under_attack_they_do_not():
    measured = [drawn_error("median", m, shift=1.0, f=m // 4) for m in (256, 1024)]
    assert slopes.fit((256, 1024), *zip(*measured, strict=True)).value == pytest.approx(0, abs=WITHIN)


def test_the_floor_of_brsgd_as_printed_is_the_shift_along_the_majoritys_pattern():
    """Without attackers and without the threshold the output is off by `pattern_shift`, whatever m."""
    for m in (400, 1600):
        found, error = drawn_error("brsgd", m, d=5, reps=24, threshold=1e9)
        assert found == pytest.approx(pattern_shift(5), abs=0.05) and error < 0.02
    measured = [drawn_error("brsgd", m, d=5, reps=24)[0] for m in (400, 1600)]
    assert measured[1] > 0.9 * measured[0] > 0.9 * 0.4, "the threshold takes some of it away, and leaves a floor"
    assert drawn_error("brsgd", 1600, d=5, reps=24, variant="code")[0] < 0.4 * measured[1], "the authors' code has none"


def test_the_shift_is_that_of_drawn_signs():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200_000, 3))
    score = (rows > 0).sum(axis=1) + 1e-6 * rng.random(len(rows))
    kept = rows[np.argsort(score)[len(rows) // 2 :]]
    assert pattern_shift(3) == pytest.approx(np.linalg.norm(kept.mean(axis=0)), rel=0.01)
    assert pattern_shift(400) == pytest.approx(2 / math.pi, rel=0.01), "d without bound"


# The table


def test_the_runs_are_those_of_the_sweeps():
    planned = expand(TABLE)
    points = {each.position["point"] for each in planned}
    assert points == {*SIZES} and {each.config.batch for each in planned} == {None}
    for each in planned:
        size, config = SIZES[each.position["point"]], each.config
        assert (size.m, size.alpha, size.n, size.d) == (
            config.m,
            config.alpha,
            config.task_args["n"],
            config.task_args["d"],
        )
        assert config.f == (config.m // 4 if each.position["rule"] == "trimmed 25 %" else config.n_byz)
        assert (each.position["attack"] == "label_flip") <= (each.position["problem"] == LOGISTIC)
        assert config.rule != "krum" or config.m <= 320
    assert {each.config.repetitions for each in expand(shortened(TABLE))} == {10}
    assert where({"rule": "median"}) and not where({"rule": "krum", "problem": NORMAL, "point": Point(m=1280).name})


def measured(value, course=(0.5, 0.3, 0.2)):
    """Errors of every rule, problem and point: value(rule, point)."""
    rows = [
        {"rule": rule, "problem": problem, "point": name, "error": value(rule, point), "se": 1e-3 * value(rule, point)}
        for rule in RULES
        for problem in (NORMAL, LOGISTIC, SKEWED)
        for name, point in SIZES.items()
        if where({"rule": rule, "problem": problem, "point": name, "attack": "sign_flip"})
    ]
    return pd.DataFrame(rows).assign(course=[course] * len(rows))


def test_a_rate_that_is_the_theorys_keeps_each_claim_and_another_breaks_it():
    def lower_bound(rule, p):
        floor = 0.5 if rule.startswith("brsgd") and rule != "brsgd code" and not p.alpha else 2 * p.alpha
        skew = 1 / p.n if rule == "median" and p.m == 2560 else 0
        return math.sqrt(p.d) * (floor / math.sqrt(p.n) + (0 if floor or skew else 1 / math.sqrt(p.n * p.m)) + skew)

    kept = verdict(measured(lower_bound))
    assert list(kept["Verdict"]) == ["holds"] * (len(CLAIMS) + 1), kept.to_string()
    other = verdict(
        measured(lambda rule, p: p.n**-0.3 * p.m**-0.2 * (1 + p.alpha) * p.d, course=(0.5, 0.45, 0.4, 0.3, 0.2))
    )
    assert list(other["Verdict"]) == ["fails"] * (len(CLAIMS) + 1), other.to_string()
    assert (verdict(measured(lower_bound).head(3))["Verdict"] == "not run").all()


def test_the_contraction_is_read_before_the_floor():
    found = measured(lambda rule, p: 1.0, course=(0.5, 0.32, 0.0512, 0.05, 0.05))
    assert rate(found, "median") == pytest.approx((0.0512 / 0.5) ** (1 / 4))


def test_the_worst_attack_counts_and_a_point_is_whole_or_left_out():
    cells = [("median", name, attack, f"{name} {attack}") for name in [*SIZES][:2] for attack in ("a", "b")]
    summary = pd.DataFrame(cells, columns=["rule", "point", "attack", "ids"]).assign(problem=NORMAL)
    values = {"a": 0.1, "b": 0.3}
    records = [
        {"id": id.split()[0], "diverged": False, "repetitions": 4}
        | {"distance_to_truth": [1.0, values[attack]], "distance_to_truth_sd": [0.1, 0.02]}
        for _, _, attack, id in cells
    ]
    for cell, record in zip(cells, records, strict=True):
        record["id"] = cell[3].replace(" ", "_")
    summary["ids"] = summary["ids"].str.replace(" ", "_")
    found = errors(records, summary)
    assert list(found["error"]) == [0.3, 0.3] and list(found["se"]) == pytest.approx([0.01, 0.01])
    assert len(errors(records[:3], summary.assign(ids=[*summary["ids"][:3], ""]))) == 1


def test_pictures_of_a_part_and_of_nothing():
    found = measured(lambda rule, p: p.n**-0.5)
    rows = found.assign(attack="sign_flip", ids=[f"run{i}" for i in range(len(found))])
    records = [
        {"id": each.ids, "diverged": False, "repetitions": 4}
        | {"distance_to_truth": [0.5, each.error], "distance_to_truth_sd": [0.1, 0.01]}
        for each in rows.itertuples()
    ]
    made = pictures(records, rows, TABLE.labels)
    assert [*made] == ["rates", "floor"] and "0.67 standard deviations" in made["floor"].text
    assert pictures([], rows.assign(ids=""), TABLE.labels) == {}
    assert math.isnan(slope(found.head(2), "mean", NORMAL, SWEEPS["m"]).value) and OF_SKEW
