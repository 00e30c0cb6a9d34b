"""AKSEL's experiments: the verdicts on few real attackers and on several servers."""

import numpy as np
import pandas as pd
import pytest
from byzsim.experiments.plan import expand, shortened
from byzsim.experiments.tables import TABLES, aksel_servers
from byzsim.experiments.tables.aksel_few import CHANCE, accuracies, pictures, verdict
from scipy.stats import ttest_rel

FEW = TABLES["aksel_few"]


def toy_runs(gap=2.0, full=None):
    """Five seeds: AKSEL at 90 % and the median `gap` points below it, both in noise; Krum fails at s = f."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 5))
    levels = {"aksel": 90 + noise[0], "median": 90 - gap + noise[1], "krum": np.full(5, 99.0), "mean": np.full(5, 91.0)}
    at_f = {"aksel": 70, "median": 70, "krum": 20, "mean": 91} | (full or {})
    rows = []
    for s in (0, 6, 24):
        for rule, values in levels.items():
            found = values if s < 24 else np.full(5, at_f[rule])
            rows += [(rule, "alie", 24, s, seed, value) for seed, value in enumerate(found)]
    return pd.DataFrame(rows, columns=["rule", "attack", "f", "s", "seed", "accuracy"])


def test_the_verdict_is_about_rules_that_withstand_f():
    """Krum would be better, and does not withstand s = f; the mean has no guarantee."""
    found = verdict(toy_runs())
    assert found["s"].tolist() == [0, 6] and (found["best"] == "median").all() and found["withstands"].all()
    assert (found["top"] == "holds").all() and (found["alone"] == "holds").all()
    krum = verdict(toy_runs(full={"krum": 60}))
    assert (krum["best"] == "krum").all() and (krum["top"] == "fails").all() and (krum["alone"] == "fails").all()
    assert not verdict(toy_runs(full={"aksel": 50}))["withstands"].any()  # below (91 + 10) / 2


def test_half_a_point_counts_as_equal():
    for gap, top, alone in ((0.0, "holds", "fails"), (-2.0, "fails", "fails"), (-0.5, "undecided", "fails")):
        found = verdict(toy_runs(gap)).iloc[0]
        assert (found["top"], found["alone"]) == (top, alone)
    assert verdict(toy_runs(0.5)).iloc[0]["alone"] == "undecided"


def test_the_interval_is_that_of_the_paired_t_test():
    runs = toy_runs()
    found = verdict(runs).iloc[0]
    a, b = (runs[(runs["rule"] == rule) & (runs["s"] == 0)]["accuracy"] for rule in ("aksel", "median"))
    low, high = ttest_rel(a, b).confidence_interval(0.95)  # one rival: no correction
    assert (found["low"], found["high"]) == pytest.approx((low, high)) and low < found["difference"] < high


def test_one_seed_decides_nothing():
    runs = toy_runs()
    assert set(verdict(runs[runs["seed"] == 0])["top"]) == {"not run"}


def test_the_table_has_the_settings_of_the_source():
    planned = expand(FEW)
    assert {(each.config.n_byz, each.config.f) for each in planned} == {
        (0, 12),
        (3, 12),
        (12, 12),
        (0, 24),
        (6, 24),
        (24, 24),
    }
    assert {(each.config.m, each.config.batch, each.config.total_steps) for each in planned} == {(51, 83, 300)}
    bulyan = [each.config for each in planned if each.config.rule == "bulyan"]
    assert {each.f for each in bulyan if each.beyond_bound} == {24}  # its bound is f = 12, that of Krum 24
    assert {each.config.rule for each in planned if each.config.f == 24 and each.config.beyond_bound} == {
        "bulyan",
        "mean",
    }
    assert {each.config.total_steps for each in expand(shortened(FEW))} == {12}


def test_the_picture_and_its_text():
    runs = toy_runs()
    ids = [str(i) for i in range(len(runs))]
    series = [{"accuracy": [0.0, *[value / 100] * 4], "diverged": False} for value in runs["accuracy"]]
    series[0] |= {"diverged": True}
    records = [
        {"id": id, "seed": row.seed, "f": row.f, "n_byz": row.s, **each}
        for id, row, each in zip(ids, runs.itertuples(), series, strict=True)
    ]
    cells = runs.assign(ids=ids, s=[f"{s} of 24" for s in runs["s"]])
    found = accuracies(records, cells)
    assert found["accuracy"][0] == CHANCE and found["accuracy"][1:].to_numpy() == pytest.approx(runs["accuracy"][1:])
    made = pictures(records, cells, FEW.labels)["few"]
    assert len(made.figure.axes) == 1 and "| AKSEL, half | 0 | yes |" in made.text
    assert pictures([], cells.assign(ids=""), {}) == {}


SERVERS = TABLES["aksel_servers"]


def toy_servers(**changed):
    """Five seeds as the paper has it: servers as good as one while n_ps > 3 f_ps, and broken beyond."""
    noise = np.random.default_rng(0).normal(0, 0.1, 5)
    rows = []
    for cell, fields in aksel_servers.SETTINGS.items():
        n, f = fields["servers.n_ps"], fields["servers.f_ps"]
        level = changed.get(cell, 90 if n > 3 * f else 20)
        spread = [2.0, 0.5] * 4 if f and n > 3 * f else [2.0, 3.0] * 4
        rows += [(cell, seed, level + noise[seed], spread, 5) for seed in range(5)]
    return pd.DataFrame(rows, columns=["servers", "seed", "accuracy", "spread", "every"])


def test_the_verdict_on_servers():
    found = aksel_servers.verdict(toy_servers())
    assert len(found) == 6 + 6 + 2 and set(found["Verdict"]) == {"holds"}
    worse = aksel_servers.verdict(toy_servers(**{"4 servers (1 random)": 85, "7 servers (2 random)": 89}))
    said = dict(zip(worse["Servers"][:6], worse["Verdict"], strict=False))
    assert said["4 servers (1 random)"] == "fails" and said["7 servers (2 reversed)"] == "holds"
    whole = toy_servers(**{f"3 servers (1 {attack})": 90 for attack in aksel_servers.ATTACKS})
    assert aksel_servers.verdict(whole)["Verdict"].tolist()[-2:] == ["fails", "holds"]
    apart = toy_servers()
    apart.at[apart.index[apart["servers"] == "4 servers (1 random)"][0], "spread"] = [1.0, 2.0] * 4
    assert (aksel_servers.verdict(apart)["Verdict"] == "fails").sum() == 1
    assert set(aksel_servers.verdict(apart[apart["seed"] == 0])["Verdict"][:6]) == {"not run"}


def test_the_picture_of_servers():
    runs = toy_servers()
    ids = [str(i) for i in range(len(runs))]
    records = [
        {"id": id, "seed": row.seed, "accuracy": [row.accuracy / 100] * 4, "diverged": False}
        | {"spread": row.spread, "eval_every": 5}
        for id, row in zip(ids, runs.itertuples(), strict=True)
    ]
    made = aksel_servers.pictures(records, runs.assign(ids=ids), SERVERS.labels)["servers"]
    assert len(made.figure.axes) == 2 and "| 7 servers (2 sign_flip) | holds |" in made.text
    planned = {each.position["servers"]: each.config for each in expand(SERVERS)}
    assert planned["7 servers (2 reversed)"].task_args | {"hears": 12, "every": 10, "n_ps": 7, "f_ps": 2} == (
        planned["7 servers (2 reversed)"].task_args
    )
    assert planned["1 server"].task_args["n_ps"] == 1
