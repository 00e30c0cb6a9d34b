"""Whom a rule drops, and when: what SafeguardSGD says of its tests, traces as frames, and the detection table."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from byzsim import AGGREGATORS, PREAGGREGATORS, Context, chain
from byzsim.engine import Trace
from byzsim.experiments import detection
from byzsim.experiments.plan import expand, runs, shortened
from byzsim.experiments.records import traces
from byzsim.experiments.records.traces import load_trace
from byzsim.experiments.tables import TABLES
from byzsim.experiments.tables.safeguard_detection import (
    ALL,
    BANT,
    BANT_WINDOWS,
    BURSTS,
    CLAIMS,
    EPFML,
    LASTING,
    NOBODY,
    PROJECTED,
    READMITTED,
    SECOND,
    THEORY,
    caught_figure,
    outcomes,
    verdict,
)

TABLE = TABLES["safeguard_detection"]


def said(options, rows):
    """(steps, tests, m) of suspicion and (steps, m) of weight."""
    rule = AGGREGATORS["safeguard"].factory(**options)
    state, found = rule.init(*rows.shape[1:]), []
    for step, grads in enumerate(rows):
        ctx = Context(jax.random.key(step), jnp.int32(step), jnp.int32(1))
        _, state, info = rule.apply(jnp.asarray(grads), state, ctx)
        found.append((np.asarray(info.suspicion), np.asarray(info.weight)))
    return map(np.stack, zip(*found, strict=True))


def test_suspicion_is_the_distance_over_the_limit_by_hand():
    """Four workers stay at 0, the last sends 5, a fifth of which counts: 1 after a step, too far to be the median."""
    rows = np.array([[[0.0], [0.0], [0.0], [0.0], [5.0]]] * 3, np.float32)
    suspicion, weight = said({"thresholds": "given", "t0": 2, "t1": 4, "th0": 0.9, "th1": 0.95}, rows)
    np.testing.assert_allclose(suspicion[:2, 0, 4], [1 / 1.9, 2 / 1.9], rtol=1e-6)
    np.testing.assert_allclose(suspicion[:2, 1, 4], [1 / 1.8, 2 / 1.8], rtol=1e-6)
    assert (suspicion[:, :, :4] == 0).all()
    assert (weight[:, 4] > 0).tolist() == [True, True, False]  # it counts in the step that catches it


def test_rows_that_are_mixed_are_no_workers():
    rule = chain(PREAGGREGATORS["bucketing"].factory(s=2), AGGREGATORS["safeguard"].factory())

    def info():
        return rule.apply(jnp.ones((4, 2)), rule.init(4, 2), Context(jax.random.key(0), jnp.int32(0), jnp.int32(1)))[2]

    assert jax.eval_shape(info).suspicion == ()


def trace_by_hand():
    """Three workers for four steps: 0 is dropped after two and comes back, 1 is dropped for good, 2 stays."""
    weight = np.array([[1, 1, 1], [1, 1, 1], [0, 1, 1], [1, 0, 1]]) / 3
    suspicion = np.array([[[0.5, 0.2, 0.0]], [[1.5, 0.9, 0.0]], [[np.inf, 1.2, 0.0]], [[0.1, np.inf, 0.0]]])
    shape = weight.shape
    return Trace(weight, np.ones(shape), np.ones(shape), np.broadcast_to(np.arange(3.0), shape), suspicion)


def test_workers_says_who_was_dropped_when_and_who_came_back():
    found = detection.workers(detection.frame_of(trace_by_hand(), [0]))
    assert found["byzantine"].tolist() == [True, False, False]
    assert found["dropped_at"].fillna(-1).tolist() == [3, 4, -1]
    assert found["returned_at"].fillna(-1).tolist() == [4, -1, -1]
    assert found["steps_dropped"].tolist() == [1, 1, 0] and found["kept"].tolist() == [True, False, True]


def test_suspicion_is_in_the_file_of_a_trace(tmp_path):
    traces.write(tmp_path, "ab", trace_by_hand(), [0])
    read = load_trace(tmp_path, "ab")
    expected = detection.frame_of(trace_by_hand(), [0])
    np.testing.assert_allclose(read["suspicion_1"], expected["suspicion_1"])
    assert list(read) == list(expected) and "suspicion_2" not in read


def test_the_figure_has_a_cross_where_a_worker_is_dropped():
    frame = detection.frame_of(trace_by_hand(), [0])
    (axes,) = detection.figure(frame, names=["by hand"]).axes
    crosses = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert axes.get_title(loc="left") == "by hand" and sorted(crosses) == [[[2, 1.5]], [[3, 1.2]]]
    with pytest.raises(ValueError, match="no column suspicion_1"):
        detection.figure(frame.drop(columns="suspicion_1"))


# The table


def record(id, kept, lost):
    measured = {"byz_kept": kept, "honest_dropped": lost, "variance": [0.25, 0.25], "accuracy": [0.1, 0.9]}
    return measured | {"id": id, "seed": 0, "eval_every": 10, "n_byz": 4, "diverged": None in kept}


def test_what_became_of_a_run():
    records = [record("a", [4.0, 2.5, 0.0], [0.0, 0.0, 1.0000001]), record("b", [4.0, 4.0, 4.0], [0, 0, 0])]
    records.append(record("c", [3.0, None, None], [2.0, None, None]) | {"accuracy": [0.5, None]})
    found = outcomes(records, pd.DataFrame([{"thresholds": PROJECTED, "attack": "variance", "ids": "a b c"}]))
    assert found["first"].tolist() == [20, math.inf, 10] and found["all"].tolist() == [30, math.inf, math.inf]
    assert found["caught"].tolist() == [4, 0, 1] and found["lost"].tolist() == [1, 0, 2]
    assert found["deviation"].tolist() == [0.5] * 3 and found["accuracy"].fillna(-1).tolist() == [90, 90, -1]
    assert found["lost_at_once"].tolist() == [0, 0, 2]
    assert found["diverged"].tolist() == [False, False, True]


def toy(changes=None):
    """One run in every cell, as the claims have it, but for {(thresholds, attack, column): value}."""
    rows = []
    for way in (PROJECTED, READMITTED, SECOND, EPFML, BANT, BANT_WINDOWS, THEORY):
        for attack in ALL:
            caught = 4 if way in (PROJECTED, READMITTED) and attack in LASTING else 0
            lost = 2 if way in (EPFML, BANT, BANT_WINDOWS) else 0
            rows.append({"thresholds": way, "attack": attack, "seed": 0, "first": 20, "all": 40, "caught": caught}
                        | {"lost": lost, "lost_at_once": lost, "deviation": 1.0, "accuracy": 90.0}
                        | {"diverged": False})  # fmt: skip
    found = pd.DataFrame(rows)
    for (way, attack, name), value in (changes or {}).items():
        found.loc[(found["thresholds"] == way) & (found["attack"] == attack), name] = value
    return found


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        ({}, []),
        ({(PROJECTED, BURSTS, "lost"): 1}, [0]),
        ({(PROJECTED, "variance", "caught"): 3}, [1]),
        ({(READMITTED, "sign flip", "lost"): 1}, [2]),
        ({(THEORY, NOBODY, "lost"): 1}, [3]),
        ({(SECOND, "sign flip", "caught"): 1}, [4]),
        ({(BANT, NOBODY, "lost"): 0}, [5]),
        ({(BANT_WINDOWS, "variance", "lost"): 0, (BANT_WINDOWS, "variance", "caught"): 4}, [6]),
    ],
)
def test_the_verdict(change, fails):
    table = verdict(toy(change))
    assert [i for i, each in enumerate(table["Verdict"]) if each != "holds"] == fails
    assert verdict(toy().iloc[:0])["Verdict"].tolist() == ["not run"] * len(CLAIMS)


def test_the_table_compares_thresholds_and_nothing_else():
    planned = expand(TABLE)
    args = {each.position["thresholds"]: each.config.rule_args for each in planned}
    assert {args[way]["t0"] for way in args} == {1, 50} and (args[BANT_WINDOWS]["t0"], args[BANT_WINDOWS]["t1"]) == (
        1,
        6,
    )
    differ = {name for name in args[PROJECTED] if args[PROJECTED][name] != args[READMITTED][name]}
    assert differ == {"readmit"}
    assert {each.config.total_steps for each in planned} == {600} and len(runs(TABLE)) == 8 * 5 * 3
    assert max(each.config.total_steps for each in expand(shortened(TABLE))) == 40


def test_the_picture_says_who_is_caught():
    texts = [text.get_text() for text in caught_figure(toy(), TABLE.labels).axes[0].texts]
    assert "4 caught, first by 20\n0 honest lost" in texts and "2 honest lost" in texts
