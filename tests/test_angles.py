"""The angular error of rules: what is drawn, how the worst attack and slopes are found, and the page."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from byzsim import kappa, oneshot
from byzsim.experiments.catalogue import angles
from byzsim.experiments.catalogue.angles import Cell, Sweep

PLANNED = angles.sweeps(quick=True)


def test_the_mean_of_normal_rows_has_a_known_angle():
    """Its error is N(0, I / m): across g a chi variable with d - 1 = 2 degrees, of mean sqrt(pi / 2)."""
    found = angles.angular_errors(Cell(m=5, f=1, s=0, d=3, length=100.0), {"mean": ("mean", {})}, draws=10, seed=0)
    expected = math.sqrt(math.pi / 2) / math.sqrt(5) / 100
    assert found["mean"]["angle"] == pytest.approx(expected, rel=0.05) and found["mean"]["attack"] == "none"


def test_the_worst_attack_is_that_of_the_largest_mean():
    given = np.array([[0.1, 0.3, 0.9], [0.3, 0.4, 0.0]])
    found = angles._worst(given, ["a", "b", "c"])
    assert found["attack"] == "c" and found["angle"] == pytest.approx(0.45)
    assert found["deviation"] == pytest.approx(np.std([0.9, 0.0], ddof=1) / math.sqrt(2))
    assert angles._worst(np.array([[math.nan], [1.0]]), ["a"])["angle"] == pytest.approx((math.pi + 1) / 2)


def test_the_battery_is_what_its_names_say(monkeypatch):
    monkeypatch.setattr(kappa, "_attacks", lambda: ["alie", "zero_gradient"])
    updates, byz = jax.random.normal(jax.random.key(0), (5, 3)), jnp.arange(5) < 2
    rows = kappa.battery(updates, byz, oneshot.make_context(jax.random.key(1), 2, 3))
    names, honest = kappa.battery_names(), np.asarray(updates[2:], np.float64)
    assert len(rows) == len(names) == 1 + len(kappa.STRENGTHS) + 1 and names[-1] == "zero_gradient()"
    strong = rows[names.index("alie(z=3)")]
    np.testing.assert_allclose(strong[:2], [honest.mean(axis=0) - 3 * honest.std(axis=0)] * 2, rtol=1e-5)
    np.testing.assert_array_equal(strong[2:], updates[2:])


def law(slope, *, sweep="d", rule="aksel", x=(4, 16, 64), beyond=False):
    rows = [
        {"sweep": sweep, "x": at, "rule": rule, "beyond": beyond, "angle": 0.01 * at**slope, "attack": "a"} for at in x
    ]
    return pd.DataFrame(rows)


def test_slopes_are_those_of_power_laws():
    (row,) = angles.slopes(law(0.47), PLANNED).to_dict("records")
    assert row["slope"] == pytest.approx(0.47) and row["low"] == pytest.approx(0.47) and row["verdict"] == "holds"
    wild = law(0.5).assign(angle=[0.02, 0.05, 0.07])
    (row,) = angles.slopes(wild, PLANNED).to_dict("records")
    assert row["low"] < np.polyfit(np.log(wild["x"]), np.log(wild["angle"]), 1)[0] < row["high"]
    assert math.isnan(angles.slopes(law(0.5, beyond=True), PLANNED)["slope"][0])
    assert math.isnan(angles.slopes(law(2.0), PLANNED)["slope"][0])  # two of its angles are large


@pytest.mark.parametrize(
    ("slope", "bound", "said"),
    [
        (0.45, False, "holds"),
        (0.65, False, "fails"),
        (0.3, False, "fails"),
        (0.3, True, "holds"),
        (0.65, True, "fails"),
    ],
)
def test_a_bound_may_be_undercut(slope, bound, said):
    assert angles.verdict(slope, Sweep("", "", (), (), 0.5, "", bound)) == said
    assert angles.verdict(slope, Sweep("", "", (), (), None, "")) == "" == angles.verdict(math.nan, PLANNED["d"])


def test_full_gradient_rules_are_found_by_their_traits():
    found = angles.rules()
    assert {"aksel", "aksel, n - f", "krum", "multi_krum", "bulyan", "geometric_median", "median", "mean"} <= {*found}
    assert not {"meamed", "phocas", "safeguard", "zeno", "draco", "mda", "caf"} & {*found}


def test_the_page(tmp_path):
    frames = [
        law(0.5, sweep=name, rule=rule, x=sweep.x) for name, sweep in PLANNED.items() for rule in ("aksel", "new")
    ]
    found = pd.concat(frames, ignore_index=True)
    found.loc[(found["sweep"] == "noise"), "angle"] *= 50
    assert 1 < angles.breaking(found)["aksel"] < 10
    angles.write(found, PLANNED, tmp_path, "Made by a test.")
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| aksel | dimension (s = f = 5) | holds |" in page and (tmp_path / "angles.svg").exists()
    assert len(pd.read_csv(tmp_path / "slopes.csv")) == 2 * len(PLANNED)
