"""Tables by named axes: which runs follow from a table, what is refused, and how numbers are put together."""

import dataclasses
import json
import math
import re
from pathlib import Path

import pandas as pd
import pytest
from byzsim import RunConfig
from byzsim.experiments import cli, plan, records, report
from byzsim.experiments.cli import options
from byzsim.experiments.cli.commands.report import Report
from byzsim.experiments.cli.commands.run import Run
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan import (
    Axis,
    Ours,
    Published,
    Table,
    axis,
    changed,
    expand,
    override,
    published,
    runs,
    settings,
)
from byzsim.experiments.plan.runs import further_fields
from byzsim.experiments.records import folders
from byzsim.experiments.report import choice, page
from byzsim.experiments.report import settings as report_settings
from byzsim.experiments.report.summary import number
from byzsim.experiments.tables import TABLES

BASE = {"data": "digits", "model": "softmax", "m": 10, "lr": 0.5}


def table(*axes, **changes):
    return Table(**{"name": "toy", "title": "A toy", "source": "here", "base": BASE, "axes": axes} | changes)


RULES, ATTACKS = axis("rule", ["mean", "krum"]), axis("attack", ["gaussian", "alie"])
ALPHAS = axis("alpha", [0.0, 0.2])
LRS = axis("lr", [0.1, 0.5])
BOTH = axis("safeguard", {name: {"rule": "safeguard", "safeguard.variant": name} for name in ("double", "single")})


# What runs follow


def test_every_position_has_a_run_and_equal_runs_are_one():
    planned = expand(table(RULES, ATTACKS, ALPHAS))
    assert [tuple(each.position.values()) for each in planned][:3] == [
        ("mean", "gaussian", 0.0), ("mean", "gaussian", 0.2), ("mean", "alie", 0.0)
    ]  # fmt: skip
    assert len(planned) == 8 and len(runs(table(RULES, ATTACKS, ALPHAS))) == 2 * (2 + 1)
    assert {each.config.attack for each in planned if not each.position["alpha"]} == {"none"}
    assert all(each.config.n_byz == 2 and each.data == "digits" for each in planned if each.position["alpha"])


def test_a_setting_moves_any_number_of_fields():
    theirs = {"ours": {"momentum": "ema", "momentum_beta": 0.99, "lr": 0.1}, "plain": {"momentum": "none", "lr": 0.2}}
    first, second = (each.config for each in expand(table(axis("how", theirs))))
    assert (first.momentum, first.momentum_beta, first.lr) == ("ema", 0.99, 0.1)
    assert (second.momentum, second.momentum_beta, second.lr) == ("none", 0.9, 0.2)


def test_variants_of_a_rule_are_settings():
    double, single = (each.config for each in expand(table(BOTH, base=BASE | {"alpha": 0.4, "attack": "alie"})))
    assert double.rule == single.rule == "safeguard" and double.rule_args != single.rule_args
    assert double == RunConfig(rule="safeguard", rule_args={"variant": "double"}, attack="alie", n_byz=4, m=10,
                               model="softmax", lr=0.5)  # fmt: skip


def test_real_attackers_at_a_fixed_declared_f():
    s = axis("n_byz", [0, 1, 2, 3])
    planned = expand(table(s, base=BASE | {"rule": "krum", "attack": "alie", "f": 3}))
    assert [(each.config.n_byz, each.config.f) for each in planned] == [(0, 3), (1, 3), (2, 3), (3, 3)]


FIELDS = [field.name for field in dataclasses.fields(RunConfig)]
VALUES = {
    "rule": ["mean", "krum"], "attack": ["alie", "gaussian"], "task": ["classification", "least_squares"], "m": [5, 10],
    "model": ["mlp", "softmax"], "n_byz": [0, 1], "f": [0, 1], "batch": [None, 4], "sampling": ["shuffle", "keep_last"],
    "steps": [None, 2], "total_steps": [10, 20], "eval_every": [5, 10], "optimizer": ["sgd", "adam"],
    "schedule": ["constant", "cosine_decay_schedule"], "momentum": ["none", "ema"], "momentum_beta": [0.5, 0.6],
    "byzantine_momentum": [True, False], "local_optimizer": ["sgd", "adam"], "local_state": ["reset", "keep"],
    "sends": ["gradient", "difference"], "partition": ["iid", "dirichlet"], "byzantine_data": ["own", "none"],
    "participation": [0.5, 1.0], "weight_decay": [0.0, 0.1], "server_noise": [0.0, 0.1],
    "byzantine": [(0, 1), (2, 3)], "clip": [None, 1.0],
    "local_lr": [None, 0.1],
}  # fmt: skip


@pytest.mark.parametrize("field", [name for name in FIELDS if not name.endswith("_args")])
def test_any_field_is_an_axis(field):
    values = VALUES.get(field, [1, 2])
    base = {"m": 10, "total_steps": 20, "cosine_decay_schedule.decay_steps": 10, "sends": "difference", "alpha": 0.2}
    base = {name: value for name, value in base.items() if name != field and (name, field) != ("alpha", "n_byz")}
    if field != "schedule":
        base.pop("cosine_decay_schedule.decay_steps")
    settings_of = {
        str(value): {field: value} | ({"model": None} if value == "least_squares" else {}) for value in values
    }
    planned = expand(table(Axis(field, settings_of), base=base))
    assert len({repr(each.config) for each in planned}) == 2


def test_data_is_an_axis_and_none_for_a_task_with_its_own_examples():
    assert [each.data for each in expand(table(axis("data", ["digits", "mnist"])))] == ["digits", "mnist"]
    tasks = {"a": {"task": "least_squares", "model": None}, "b": {"task": "classification", "model": "mlp"}}
    assert [each.data for each in expand(table(axis("task", tasks)))] == ["none", "digits"]
    assert {data for data, _ in runs(override(TABLES["smoke"], {"task": ("least_squares",)}))} == {"none"}


def test_seeds_are_averaged_over_and_others_are_rows():
    asked = table(RULES, LRS, axis("seed", [0, 1]))
    assert asked.averaged == ["seed"] and asked.shown == ["rule", "lr"] and asked.places == (["lr"], ["rule"], ())
    assert [each.position["seed"] for each in expand(asked)] == [0] * 4 + [1] * 4
    by_seed = table(RULES, axis("seed", [0, 1]), rows=["seed"])
    assert by_seed.averaged == [] and by_seed.shown == ["rule", "seed"]
    summary = report.summarise([], by_seed)
    assert len(summary) == 4


def test_only_selects_along_any_axis():
    asked = table(BOTH, LRS, axis("seed", [0, 1]), base=BASE | {"alpha": 0.2, "attack": "alie"})
    assert len(expand(asked)) == 8 and len(expand(asked, ["safeguard=single,lr=0.1"])) == 2
    assert {each.config.lr for each in expand(asked, ["lr=0.50"])} == {0.5}
    with pytest.raises(UserError, match=r"unknown safeguard in --only 'singel'\. Did you mean 'single'"):
        expand(asked, ["safeguard=singel"])
    with pytest.raises(UserError, match="unknown key in --only 'rul'"):
        expand(asked, ["rul=krum"])


# What is refused


REFUSED = [
    ({"axes": (axis("lr", {"a": {"lrr": 1}}),)}, "unknown field in axis lr 'lrr'. Did you mean 'lr'"),
    ({"base": {"epoch": 1}}, "unknown field in the base 'epoch'. Did you mean 'epochs'"),
    ({"axes": (LRS, axis("how", {"a": {"lr": 1.0}, "b": {"lr": 2.0}}))}, "the axes lr and how both set lr"),
    ({"axes": (ALPHAS, axis("n_byz", [1, 2]))}, "the axes alpha and n_byz both set n_byz"),
    ({"axes": (axis("lr", []),)}, "no runs: the axis lr has no settings"),
    ({"axes": (LRS, LRS)}, "an axis is named twice: lr"),
    ({"axes": (LRS,), "rows": ["lrr"]}, "unknown axis of the table toy 'lrr'. Did you mean 'lr'"),
    ({"axes": (LRS,), "rows": ["lr"], "columns": ["lr"]}, "is named twice: lr"),
    ({"axes": (LRS,), "worst_over": "attack"}, "unknown axis of the table toy 'attack'"),
    ({"axes": (LRS,), "number": "mean"}, "expected last, best or mean_last_K"),
    ({"axes": (LRS,), "better": "larger"}, "unknown better 'larger'"),
    ({"axes": (axis("lr", {"a": {"lr": 1}, "b": {"lr": 1.0}}),)}, "the settings a and b give the same runs"),
    (
        {"axes": (RULES, axis("rfa", {"a": {"krum.variant": "byzfl"}, "b": {"krum.variant": "byzfl"}}))},
        "give the same runs",
    ),
    ({"axes": (axis("krum.variant", ["byzfl", "x"]), RULES)}, "unknown variant of krum 'x'"),
    ({"base": BASE | {"geometric_median.nu": 1}}, "unknown name of this table in --options 'geometric_median'"),
    ({"base": BASE | {"alpha": 0.25}}, "2.5 workers, not a whole number"),
    ({"base": BASE | {"data": "none"}}, "task classification makes no examples of its own"),
    ({"base": BASE | {"held_out": 1.5}}, "held_out=1.5 is not a share"),
    ({"base": BASE | {"lr": "fast"}}, "lr='fast' is not a number"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_table_that_cannot_be_is_refused(changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        expand(table(**changes))


def test_a_list_with_a_value_twice():
    with pytest.raises(UserError, match=r"axis lr has 0\.1 twice"):
        axis("lr", [0.1, 0.1])


def test_a_metric_that_the_task_does_not_measure_is_refused_before_anything_is_compiled(tmp_path, capsys):
    args = ["run", "smoke", "--results", str(tmp_path)]
    assert cli.main([*args, "--metric", "distance"]) == 2
    assert "unknown metric of task classification 'distance'. Known: accuracy, loss" in capsys.readouterr().err
    assert cli.main([*args, "--epochs", "3", "--number", "mean_last_5"]) == 2
    assert "needs 5 measurements, and a run has 3" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# The command line


def asked(*args, name="smoke", results="/nowhere"):
    return options.read("run", Run, [name, *args, "--results", results])


def test_lists_make_axes_and_single_values_the_base():
    given = asked(
        "--momentum", "ema", "--momentum-beta", "0", "0.9", "0.99", "--batch", "None", "--rules", "krum"
    ).table
    assert given.by_name["momentum_beta"] == axis("momentum_beta", [0.0, 0.9, 0.99])
    assert (given.base["momentum"], given.base["batch"]) == ("ema", None)
    assert given.by_name["rule"] == axis("rule", ["krum"]) and len(runs(given)) == 3 * 3
    assert given.places == (["attack", "alpha", "momentum_beta"], ["rule"], ())
    given = asked("--options", "krum.variant=blanchard2017,byzfl", "--partition", "iid", "dirichlet").table
    assert [*given.by_name] == ["rule", "attack", "alpha", "partition", "krum.variant"]


def test_every_field_is_an_option_under_its_name():
    known = {name.replace("_", "-") for name in plan.settings(TABLES["smoke"])}
    fields = {name.replace("_", "-") for name in FIELDS if not name.endswith("_args")}
    assert fields - known == {"rule", "attack", "seed"}  # which are lists: rules, attacks, seeds
    one = asked("--rule", "mean", "--attack", "alie", "--seed", "3", "--alpha", "0.2").table
    assert [(each.config.rule, each.config.attack, each.config.seed) for each in expand(one)] == [("mean", "alie", 3)]
    others = "--total-steps 20 --eval-every 10 --schedule cosine_decay_schedule"
    others += " --options cosine_decay_schedule.decay_steps=20 --weight-decay 0.1 --clip 1 --local-steps 2"
    others += " --participation 0.5 --f 2 --task classification"
    config = expand(asked(*others.split(), "--rules", "krum").table)[-1].config
    assert (config.total_steps, config.eval_every, config.clip, config.local_steps, config.f) == (20, 10, 1.0, 2, 2)
    assert (config.schedule, config.schedule_args["decay_steps"]) == ("cosine_decay_schedule", 20)


def test_lists_of_an_option_that_takes_a_list_are_in_brackets():
    args = ["--schedule", "piecewise", "--options", "piecewise.at=[5,10]", "piecewise.factors=[0.5,0.1]"]
    assert expand(asked(*args).table)[0].config.schedule_args == {"at": (5, 10), "factors": (0.5, 0.1)}


def test_an_axis_of_several_fields_keeps_its_settings():
    mine = table(
        Axis("rule", {"single": {"rule": "safeguard", "safeguard.variant": "single"}, "mean": {"rule": "mean"}})
    )
    given = override(mine, {"rules": ("single", "rfa")})
    assert given.by_name["rule"].settings == {
        "single": {"rule": "safeguard", "safeguard.variant": "single"}, "geometric_median": {"rule": "geometric_median"}
    }  # fmt: skip
    with pytest.raises(UserError, match="the table's axis safeguard sets rule, too"):
        override(table(BOTH), {"rules": ("krum",)})


def test_what_sets_the_same_field_goes():
    base = BASE | {"attack": "alie", "alpha": 0.2, "declared_f": "capped", "rule": "krum"}
    ((_, config),) = runs(override(table(base=base), {"n_byz": (3,), "f": (2,)}))
    assert (config.n_byz, config.f) == (3, 2)
    assert [run.n_byz for _, run in runs(override(table(base=base), {"n_byz": (0, 3)}))] == [0, 3]


def test_settings_of_a_table_are_what_overrides_give():
    given = override(TABLES["zoo"], {"lr": (0.1, 0.3), "options": ("krum.variant=byzfl",), "seeds": (0, 1)})
    now = settings(given)
    assert now["lr"] == (0.1, 0.3) and now["options"] == ("draco.r=5", "krum.variant=byzfl") and now["seeds"] == (0, 1)
    assert changed(TABLES["zoo"], given) == ["lr 0.2 -> 0.1 0.3", "options draco.r=5 -> draco.r=5 krum.variant=byzfl"]
    assert changed(TABLES["zoo"], override(TABLES["zoo"], {"rules": ("krum",), "seeds": (3,)})) == []


# Folders


def test_a_folder_remembers_its_axes(tmp_path):
    args = ("--momentum-beta", "0", "0.9", "--options", "krum.variant=blanchard2017,byzfl", "--worst-over", "attack")
    request = asked(*args, results=str(tmp_path))
    assert request.folder.name.startswith("smoke+") and "momentum_beta=0.0-0.9" in request.folder.name
    request.folder.mkdir()
    folders.write(request.folder, request.table, quick=False, words={"title": None, "labels": [], "plugins": []})
    again = options.read("run", Run, [str(request.folder)])
    assert again.table == request.table and again.folder == request.folder
    assert records.further_fields(request.folder) == ("momentum_beta", "krum.variant") == further_fields(request.table)
    assert asked(*args, results=str(tmp_path)).folder == request.folder
    with pytest.raises(UserError, match=r"are fixed, and lr 0.5 -> 0.1 would change them"):
        options.read("run", Run, [str(request.folder), "--lr", "0.1"])


def test_an_older_config_becomes_axes(tmp_path):
    old = {
        "rules": ["krum"], "attacks": ["alie"], "alphas": [0.1], "seeds": [0, 2], "data": "digits", "model": "softmax",
        "m": 10, "declared": "bounded", "batch": 16, "epochs": 10, "steps": None, "lr": 0.25, "optimizer": "sgd",
        "momentum": "none", "momentum_beta": 0.9, "sharding": "dirichlet", "dirichlet_alpha": 0.3,
        "options": ["krum.definition=byzfl"],
    }  # fmt: skip
    words = {"table": "smoke", "quick": False, "title": None, "labels": [], "plugins": []}
    (tmp_path / "config.json").write_text(json.dumps(words | {"config": old}))
    known = folders.read(tmp_path).table
    (data, config), *others = runs(known)
    assert len(others) == 1 and data == "digits" and (config.n_byz, config.f, config.lr) == (1, 1, 0.25)
    assert config.rule_args == {"variant": "byzfl"} and config.partition_args == {"alpha": 0.3}
    assert known.base["declared_f"] == "capped" and [run.seed for _, run in runs(known)] == [0, 2]


# Numbers


def result(config, data="digits", values=(0.5, 0.7, 0.6), metric="accuracy", **changes):
    """A record of a run with these measurements."""
    found = {
        "schema": 2, "table": "toy", "quick": False, "id": f"id{abs(hash(repr((config, data))))}", **config.as_dict(),
        "data": data, "data_digest": "d" * 64, "numerics": 2, "beyond_bound": config.beyond_bound, "metrics": [metric],
        metric: list(values), "byz_weight": [0.0] * len(values), "diverged": False, "diverged_epoch": None,
        "commit": "c0ffee", "dirty": False, "versions": {}, "device": "cpu", "seconds": 1.0,
    }  # fmt: skip
    if metric == "accuracy":
        found |= {"final_accuracy": values[-1]}
    return found | changes


@pytest.mark.parametrize(
    ("kind", "metric", "expected"),
    [("last", "accuracy", 60), ("best", "accuracy", 70), ("mean_last_2", "accuracy", 65), ("best", "distance", 0.5)],
)
def test_the_number_of_a_table(kind, metric, expected):
    found = result(RunConfig(), metric=metric)
    assert number(found, table(metric=metric, number=kind)) == pytest.approx(expected)
    with pytest.raises(UserError, match="unknown metric 'loss'"):
        number(found, table(metric="loss"))


def finals(asked, of):
    """Records in which the last accuracy is a function of position and configuration."""
    return [result(each.config, each.data, (of(each.position),)) for each in expand(asked)]


def test_cells_average_over_seeds_and_panels_split_them():
    asked = table(RULES, LRS, axis("seed", [0, 1]), rows=["lr"], columns=["rule"])
    found = finals(asked, lambda at: 0.5 + 0.1 * at["seed"] + 0.2 * (at["rule"] == "krum") + 0.01 * (at["lr"] == 0.1))
    summary = report.summarise(found, asked)
    assert summary["mean"].tolist() == pytest.approx([56, 55, 76, 75]) and set(summary["n"]) == {2}
    ((title, grid),) = report.printed_grids(summary, asked).items()
    assert title == "" and list(grid.columns) == ["Lr", "mean", "krum"] and grid["Lr"].tolist() == ["0.1", "0.5"]
    assert grid["krum"].tolist() == ["76.0 ± 7.1", "75.0 ± 7.1"]
    by_rule = report.printed_grids(summary, dataclasses.replace(asked, rows=[], columns=["lr"], panels=["rule"]))
    assert list(by_rule) == ["Rule: mean", "Rule: krum"] and by_rule["Rule: krum"].loc[0, "lr = 0.1"] == "76.0 ± 7.1"


def test_the_worst_over_attacks_is_a_row():
    asked = table(RULES, ATTACKS, base=BASE | {"alpha": 0.2}, worst_over="attack")
    numbers = {("mean", "gaussian"): 0.1, ("mean", "alie"): 0.6, ("krum", "gaussian"): 0.8, ("krum", "alie"): 0.7}
    found = finals(asked, lambda at: numbers[at["rule"], at["attack"]])
    worst = report.summarise(found, asked).query("attack == 'worst'").set_index("rule")["mean"]
    assert worst.to_dict() == pytest.approx({"mean": 10, "krum": 70})
    lower = dataclasses.replace(asked, metric="loss")
    losses = [each | {"loss": each["accuracy"], "metrics": ["accuracy", "loss"]} for each in found]
    assert report.summarise(losses, lower).query("attack == 'worst'")["mean"].tolist() == pytest.approx([0.6, 0.8])
    diverged = [
        each | ({"diverged": True} if each["rule"] == "krum" and each["attack"] == "alie" else {}) for each in found
    ]
    summary = report.summarise(diverged, asked)
    assert math.isnan(summary.query("attack == 'worst' and rule == 'krum'")["mean"].item())
    assert "diverged" in report.printed_grids(summary, asked)[""].set_index("Attack").loc["worst", "krum"]
    assert report.summarise(found[1:], asked).query("attack == 'worst' and rule == 'mean'")["n"].item() == 0


def test_the_setting_with_the_best_worst_case_is_chosen_on_held_out_examples():
    asked = table(RULES, ATTACKS, LRS, base=BASE | {"alpha": 0.2}, worst_over="attack", choose="lr")
    held_out = asked.validation()
    assert asked.shown == ["rule", "attack"] and held_out.shown == ["rule", "attack", "lr"]
    assert {each.data for each in expand(held_out)} == {"digits+held_out=0.2"} and not expand(asked)
    best = {"mean": 0.1, "krum": 0.5}
    found = finals(
        held_out,
        lambda at: 0.9 if (at["lr"], at["attack"]) == (0.1, "alie") else 0.6 + 0.1 * (at["lr"] == best[at["rule"]]),
    )
    chosen = choice.choose(asked, found)
    assert chosen == {("mean",): 0.1, ("krum",): 0.5}
    planned = expand(asked, chosen=chosen)
    assert [(each.config.rule, each.config.attack, each.config.lr) for each in planned] == [
        ("mean", "gaussian", 0.1), ("mean", "alie", 0.1), ("krum", "gaussian", 0.5), ("krum", "alie", 0.5)
    ]  # fmt: skip
    assert {each.data for each in planned} == {"digits"}
    assert choice.choose(asked, found[1:]) == {("krum",): 0.5}
    final = [result(each.config, each.data, (0.5,)) for each in planned]
    summary = report.summarise([*found, *final], asked, chosen=chosen)
    assert summary.query("attack != 'worst'")["lr"].tolist() == [0.1, 0.1, 0.5, 0.5] and set(summary["mean"]) == {50}
    assert "| mean | 0.1 | 0.1: 70, 0.5: 60 |" in choice.section(asked, found, {})


# Published numbers


def test_published_numbers_match_on_any_axes_with_sd_and_n():
    frame = pd.DataFrame({"rule": ["krum"], "lr": ["0.10"], "accuracy": [75.0], "sd": [1.5], "n": [3]})
    seen = []

    def verdict(ours, paper):
        seen.append((ours, paper))
        return "near"

    asked = table(RULES, LRS, published=frame, verdict=verdict)
    published.check(asked)
    numbers = published.numbers(asked, asked, quick=False)
    assert numbers == {("krum", 0.1): Published(75.0, 1.5, 3.0)}
    summary = report.summarise(finals(asked, lambda at: 0.7), asked, numbers)
    row = summary.query("rule == 'krum' and lr == 0.1").iloc[0]
    assert (row["paper"], row["paper_sd"], row["paper_n"], row["difference"], row["verdict"]) == (
        75,
        1.5,
        3,
        -5,
        "near",
    )
    assert len(seen) == 1 and seen[0][0][2:] == (1, 0) and seen[0][1] == Published(75, 1.5, 3)
    assert "70.0 / 75.00 ± 1.50 near" in report.printed_grids(summary, asked)[""]["krum"].tolist()
    assert published.numbers(asked, override(asked, {"m": (5,)}), quick=False) == {}
    assert published.numbers(asked, asked, quick=True) == {}
    assert (
        published.numbers(asked, override(asked, {"rules": ("krum", "median"), "seeds": (1, 2)}), quick=False)
        == numbers
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"rule": ["krun"], "lr": ["0.1"], "accuracy": [75.0]},
            "the published number of rule krun, lr 0.1 matches no cell",
        ),
        ({"rule": ["krum"], "accuracy": [75.0]}, "has no column 'lr'"),
        ({"rule": ["krum"], "lr": ["0.1"], "loss": [75.0]}, "has no column 'mean'"),
        ({"rule": ["krum"], "lr": ["0.1"], "accuracy": ["high"]}, "is not a table of numbers"),
        ({"rule": ["krum"] * 2, "lr": ["0.1", "0.10"], "accuracy": [75.0, 76]}, "two published numbers of krum, 0.1"),
    ],
)
def test_published_numbers_that_do_not_fit_are_refused(columns, message):
    with pytest.raises(UserError, match=re.escape(message)):
        published.check(table(RULES, LRS, published=pd.DataFrame(columns)))


@pytest.mark.parametrize("name", TABLES)
def test_our_tables_are_sound(name):
    plan.check(TABLES[name])
    published.check(TABLES[name])
    assert folders.place(Path("/nowhere"), TABLES[name], TABLES[name], quick=False).name == name


def test_the_verdict_sees_what_is_in_a_cell():
    verdict = TABLES["brsgd_table1"].verdict
    assert verdict(Ours(84.0, math.nan, 1, 0), Published(86.9, math.nan, math.nan)) == "✓"


# Several data sets


@pytest.mark.slow
def test_runs_on_several_data_sets_and_what_is_chosen_are_run_together(tmp_path, monkeypatch, capsys):
    own = table(RULES, LRS, base=BASE | {"epochs": 1, "alpha": 0.2, "attack": "gaussian"}, choose="lr")
    monkeypatch.setitem(TABLES, "toy", own)
    assert cli.main(["run", "toy", "--results", str(tmp_path)]) == 0
    found = records.read(tmp_path / "toy" / "runs.jsonl")
    assert [each["data"] for each in found] == ["digits+held_out=0.2"] * 4 + ["digits"] * 2
    assert "## What was chosen" in (tmp_path / "toy" / "README.md").read_text()
    capsys.readouterr()
    assert cli.main(["status", "toy", "--results", str(tmp_path)]) == 0
    assert "6 runs: 6 done" in capsys.readouterr().out
    assert cli.main(["verify", str(tmp_path / "toy"), "--sample", "1"]) == 0
    two = table(axis("data", {"whole": {}, "half": {"held_out": 0.5}}), base=BASE | {"epochs": 1})
    monkeypatch.setitem(TABLES, "toy", two)
    assert cli.main(["run", "toy", "--name", "two", "--results", str(tmp_path)]) == 0
    assert {each["data"] for each in records.read(tmp_path / "two" / "runs.jsonl")} == {"digits", "digits+held_out=0.5"}


# The page about tables

PAGE = (Path(__file__).parent.parent / "docs" / "tables.md").read_text(encoding="utf-8")


def test_the_tables_of_the_page_are_tables():
    names, found = {}, {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, names)
        spec = names["SPEC"]
        plan.check(spec)
        published.check(spec)
        found[spec.name] = len(runs(spec.validation() if spec.choose else spec))
    assert found == {"my_table": 4 * 2 * 2, "tuned": 2 * 2 * 2, "compared": 2 * 2}
    assert names["first"].config.lr == 0.1 and len(expand(names["larger"])) == 2 * 3 * 3


@pytest.mark.parametrize("line", re.findall(r"^byzsim run smoke (.*)$", PAGE, flags=re.MULTILINE))
def test_the_commands_of_the_page_are_commands(line):
    assert runs(asked(*line.split()).table)


def test_a_table_of_any_axes_has_curves_where_they_can_be_drawn(tmp_path):
    asked = table(RULES, ATTACKS, LRS, axis("seed", [0, 1]), base=BASE | {"alpha": 0.2}, worst_over="attack")
    found = [result(each.config, each.data, (0.3, 0.5 + 0.1 * each.config.seed)) for each in expand(asked)]
    report.build(found, tmp_path, asked, report.Wording(title="toy"))
    assert "](curves.png)" in (tmp_path / "README.md").read_text() and (tmp_path / "curves.svg").exists()
    rows = pd.read_csv(tmp_path / "table.csv")
    assert len(rows) == 2 * 2 * 3 and set(rows["mean"]) == {55.0} and {*rows["attack"]} == {"gaussian", "alie", "worst"}
    text = (tmp_path / "table.tex").read_text()
    assert text.count(r"\begin{tabular}{llrr}") == 1 and "worst over attack" in text
    frame = page._measurements(found, report.summarise(found, asked), asked)
    cell = frame.query("rule == 'krum' and attack == 'alie' and lr == 0.1 and measurement == 2")
    assert sorted(cell["accuracy"]) == [0.5, 0.6]
    four = dataclasses.replace(asked, axes=(*asked.axes, axis("momentum_beta", [0.5, 0.9])))
    found = [result(each.config, each.data) for each in expand(four)]
    report.build(found, tmp_path, four, report.Wording(title="toy"))
    assert not (tmp_path / "curves.svg").exists()


@pytest.mark.slow
def test_a_table_of_another_metric_is_run_verified_and_compared(tmp_path, capsys):
    args = "--task noisy_quadratic --rules mean --attacks none --alphas 0 --total-steps 4 --eval-every 2 --lr 0.1 0.2"
    assert (
        cli.main(["run", "smoke", *args.split(), "--metric", "distance", "--name", "q", "--results", str(tmp_path)])
        == 0
    )
    folder = str(tmp_path / "q")
    assert cli.main(["verify", folder, "--sample", "1"]) == 0
    assert cli.main(["diff", folder, folder]) == 0
    assert cli.main(["report", folder, "--number", "best", "--columns", "lr"]) == 0
    out = capsys.readouterr().out
    assert "1 of 1 agree" in out and "2 same bits" in out and "lr = 0.1" in out and "distance, the best of" in out


@pytest.mark.parametrize("name", TABLES)
def test_a_report_of_a_table_as_it_is_has_its_title(name, tmp_path):
    request = options.read("report", Report, [name, "--results", str(tmp_path)])
    title = report_settings.title(request.original, request.table, {}, quick=False, labels={})
    assert title == TABLES[name].title
