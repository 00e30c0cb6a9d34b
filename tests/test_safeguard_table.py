"""SafeguardSGD's table: its settings, the losses, and the verdict, at toy size."""

import math

import pandas as pd
import pytest
from byzsim import grid
from byzsim.experiments.plan import expand, published, shortened
from byzsim.experiments.tables import TABLES
from byzsim.experiments.tables.safeguard_table import CLAIMS, MEMORYLESS, PAPERS, losses, order, pictures, verdict

SMALL, FULL = TABLES["safeguard_table"], TABLES["safeguard_table_full"]


def summary(ours=None):
    """One run in each cell. Safeguards lose 1 point, Zeno 5, the others 30, unless `ours` says otherwise."""
    lost = {"ideal": 0.0, "double": 1.0, "single": 1.0, "zeno": 25.0} | dict.fromkeys(MEMORYLESS[:-1], 30.0)
    numbers = published.numbers(SMALL, SMALL, quick=False)
    rows = []
    for rule in SMALL.by_name["rule"].settings:
        for attack in SMALL.by_name["attack"].settings:
            loss = (ours or {}).get((rule, attack), lost[rule])
            paper = numbers[rule, attack].mean if (rule, attack) in numbers else math.nan
            rows.append({"rule": rule, "attack": attack, "mean": 60.0 - loss, "n": 1, "n_diverged": 0, "n_byz": 4}
                        | {"paper": paper, "ids": ""})  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("table", [SMALL, FULL], ids=["small", "full"])
def test_the_settings_are_the_papers(table):
    at = {(each.position["rule"], each.position["attack"]): each.config for each in expand(table)}
    assert {config.m for config in at.values()} == {10}
    attackers = {rule: config.n_byz for (rule, _), config in at.items()}
    assert attackers == dict.fromkeys(attackers, 4) | {"ideal": 0, "krum 3": 3}
    assert all(config.f == config.n_byz for config in at.values())
    assert not at["krum 3", "delayed"].beyond_bound and at["krum 4", "delayed"].beyond_bound
    epoch = at["double", "delayed"].steps_per_epoch(50_000)
    assert epoch == 200 and at["single", "delayed"].rule_args["window"] == 3 * epoch
    assert at["double", "delayed"].rule_args["t0"] is at["double", "delayed"].rule_args["t1"] is None  # 1 and 6 epochs
    assert at["double", "delayed"].epochs >= 30
    assert at["zeno", "delayed"].rule_args["rho"] == pytest.approx(at["zeno", "delayed"].lr / 200)
    assert at["mean", "bursts"].attack_args["on"] == epoch and at["mean", "bursts"].attack_args["off"] == 2 * epoch
    assert at["mean", "variance"].attack_args["z"] == 0.3
    assert [at["mean", f"safeguard x{c}"].attack_args["c"] for c in (0.4, 0.5, 0.6, 0.7)] == [0.4, 0.5, 0.6, 0.7]
    assert at["mean", "delayed"].attack_args["delay"] == 1000


def test_the_full_edition_is_that_of_a_resnet_and_the_quick_one_is_short():
    first = expand(FULL)[0].config
    assert (first.model, first.epochs, first.schedule_args["at"]) == ("resnet20", 200, (20_000, 30_000))
    hash(grid.resolve(first, grid.Source(10, 50_000)).static)  # a program is found by it
    assert {(each.config.epochs, each.config.steps) for each in expand(shortened(SMALL))} == {(1, 4)}
    whole = first.length(50_000)
    assert (whole.measurements, whole.steps) == (200, 40_000)


def test_the_losses_are_those_against_the_ideal_of_the_same_edition():
    table = summary({("double", "delayed"): -0.5})
    table.loc[(table["rule"] == "mean") & (table["attack"] == "variance"), "n_diverged"] = 1
    cells = losses(table).set_index(["rule", "attack"])
    assert cells.loc[("double", "delayed"), "ours"] == pytest.approx(-0.5)
    assert cells.loc[("double", "delayed"), "paper"] == pytest.approx(90.8 - 91.7)
    assert cells.loc[("zeno", "variance"), "paper"] == pytest.approx(90.8 - 29.0)
    assert cells.loc[("mean", "variance"), "ours"] == pytest.approx(60.0 - 10.0)
    assert math.isnan(cells.loc[("median", "delayed"), "paper"])
    missing = summary()
    missing.loc[missing["rule"] == "single", "n"] = 0
    assert losses(missing).query("rule == 'single'")["ours"].isna().all()


@pytest.mark.parametrize(
    ("ours", "broken"),
    [
        ({}, None),
        ({("double", "delayed"): 3.5}, 0),
        ({("double", "bursts"): 50.0}, None),  # of the second version nothing is claimed
        ({("zeno", "sign_flip"): -0.5}, 1),
        ({("zeno", "zero_gradient"): 35.0}, 2),
        ({("mean", "variance"): 10.0}, 2),
    ],
)
def test_the_verdict(ours, broken):
    table = verdict(losses(summary(ours)), SMALL.labels)
    fails = [i for i, said in enumerate(table["Verdict"]) if said == "fails"]
    assert len(table) == len(CLAIMS) and {*table["Verdict"]} <= {"holds", "fails"}
    assert (broken in fails) if broken is not None else not fails
    assert verdict(losses(summary(ours)).assign(ours=math.nan), {})["Verdict"].tolist() == ["not run"] * len(CLAIMS)


def test_the_order_is_kendalls_tau_over_the_published_cells():
    cells = losses(summary())
    same = cells.assign(ours=cells["paper"] / 3)
    assert order(same) == (pytest.approx(1.0), 3 * len(PAPERS))
    assert order(same.assign(ours=-same["paper"]))[0] == pytest.approx(-1.0)
    three = pd.DataFrame({"ours": [1.0, 2.0, 3.0], "paper": [1.0, 3.0, 2.0]})  # 2 of 3 pairs in order, 1 against
    assert order(three)[0] == pytest.approx(1 / 3)
    assert math.isnan(order(cells.assign(paper=math.nan))[0])


def test_the_picture():
    made = pictures([], summary(), SMALL.labels)["losses"]
    words = {text.get_text() for text in made.figure.axes[0].texts}
    assert {"25.0", "(61.8)", "(−0.9)"} <= words
    assert pictures([], pd.concat([summary()] * 2), {}) == {}
    assert "the orders" in made.text and "not run" in pictures([], summary().assign(paper=math.nan), {})["losses"].text
