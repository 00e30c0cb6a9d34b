"""The report layer: numbers against hand computations, files read back, marks that must not get lost."""

import dataclasses
import functools
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from byzsim import RunConfig
from byzsim.experiments import files, load_results, records, report
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan import Table, axis
from byzsim.experiments.plan import published as numbers
from byzsim.experiments.report import figures, page
from byzsim.experiments.report.summary import QUICK
from byzsim.experiments.tables.brsgd_table1 import suspected_swap, swap_test
from rich.console import Console

PAPER = Path(report.__file__).parents[1] / "tables" / "published" / "brsgd_table1.csv"
EXCHANGED = functools.partial(suspected_swap, rows=("gaussian", "label_flip"))
LABELS = {"brsgd": "BrSGD", "label_flip": "Label flip_50%", "same": "within one point of the paper"}


def record(rule="brsgd", attack="gaussian", alpha=0.1, seed=0, final=0.84, **other):
    """One record; final=None is a run that diverged in its last of three epochs."""
    diverged, m = final is None, other.pop("m", 20)
    fields = {name: other.pop(name) for name in ("lr", "rule_args") if name in other}
    config = RunConfig(rule=rule, attack=attack, n_byz=round(m * alpha), m=m, seed=seed, **{"lr": 0.03} | fields)
    return {
        "table": "toy", "quick": False, "id": f"{rule}-{attack}-{alpha}-{seed}", "data": "fashion_mnist",
        **config.as_dict(), "beyond_bound": alpha >= 0.5,
        "accuracy": [0.5, 0.7, final], "final_accuracy": final, "best_accuracy": 0.99,
        "diverged": diverged, "diverged_epoch": 3 if diverged else None, "byz_weight": [0.1, 0.1, None],
        "commit": "abc123", "dirty": False, "versions": {"jax": "0.10.0"}, "device": "one CPU",
        "seconds": 1.5, "time": "2025-01-01",
    } | other  # fmt: skip


def verdict(ours, paper):
    if ours.n == ours.n_diverged:
        return "lost"
    return "same" if abs(ours.mean - paper.mean) < 1 else "off"


def published(**runs):
    """published(gaussian={0.1: 83.5}) for rule brsgd."""
    rows = [("brsgd", attack, alpha, value) for attack, row in runs.items() for alpha, value in row.items()]
    return pd.DataFrame(rows, columns=["rule", "attack", "alpha", "accuracy"])


def toy(rules=("brsgd",), attacks=("gaussian",), alphas=(0.1,), paper=None, **changes):
    axes = (axis("rule", rules), axis("attack", attacks), axis("alpha", alphas))
    base = {"m": changes.pop("m", 20)}
    table = Table(name="toy", title="A toy", source="Table 1", base=base, axes=axes, published=paper, verdict=verdict)
    return dataclasses.replace(table, **changes)


def summarise(records, **changes):
    table = toy(**changes)
    return report.summarise(records, table, numbers.numbers(table, table, quick=False))


def grid(records, **changes):
    return report.printed_grids(summarise(records, **changes), toy(**changes))[""]


def only(summary):
    assert len(summary) == 1
    return summary.iloc[0]


# --------------------------------------------------------------------------------------------- published


def test_published_table_has_the_papers_52_numbers():
    table = pd.read_csv(PAPER)
    assert list(table.columns) == ["rule", "attack", "alpha", "accuracy", "source"]
    assert len(table) == 52 and not table.duplicated(["rule", "attack", "alpha"]).any()
    assert table["source"].str.contains("arXiv 2108.06658").all()


TRANSCRIBED = """
gaussian    84.16 83.42 84.56 83.29  83.73 85.40 86.78   9.93  9.93  9.93  82.04 79.56 79.62
negation    85.87 83.89 84.07 82.13  83.29 84.47 82.84  10.84 10.84 10.84  80.44 81.18 79.36
scaling     85.29 84.33 83.67 82.87  81.00 61.13  9.80  85.87 82.47 60.67  77.20 81.33 70.76
label_flip  85.11 82.93 82.49 83.93  84.91 86.00 82.09  72.71 74.93 80.11  81.82 78.56 68.76
"""


@pytest.mark.parametrize("line", TRANSCRIBED.strip().splitlines())
def test_published_table_against_a_second_transcription(line):
    attack, *numbers = line.split()
    wide = pd.read_csv(PAPER).pivot(index="attack", columns=["rule", "alpha"], values="accuracy")
    columns = [
        ("brsgd", 0.0),
        *((r, a) for r in ("brsgd", "median", "mean", "krum") for a in (0.1, 0.25, 0.5)),
    ]
    assert wide.loc[attack, columns].tolist() == [float(n) for n in numbers]


# ----------------------------------------------------------------------------------------------- summary


def test_mean_sd_and_difference_by_hand():
    records = [record(seed=s, final=a) for s, a in enumerate([0.82, 0.84, 0.89])]
    run_config = only(summarise(records, paper=published(gaussian={0.1: 84.5})))
    assert (run_config["n"], run_config["n_diverged"], run_config["n_byz"]) == (3, 0, 2)
    assert run_config["mean"] == pytest.approx(85.0)  # (82 + 84 + 89) / 3
    assert run_config["sd"] == pytest.approx(math.sqrt(13))  # (9 + 1 + 16) / 2
    assert run_config["difference"] == pytest.approx(0.5)
    assert run_config["verdict"] == "same"


def test_one_seed_has_no_sd():
    run_config = only(summarise([record(final=0.84)]))
    assert math.isnan(run_config["sd"]) and math.isnan(run_config["difference"])
    assert report.ours_text(run_config, 1) == "84.0"
    assert report.ours_text(run_config, 3) == "84.0 (n = 1)"


def test_diverged_runs_are_counted_but_not_averaged():
    records = [record(seed=0, final=0.80), record(seed=1, final=0.82), record(seed=2, final=None)]
    run_config = only(summarise(records))
    assert (run_config["n"], run_config["n_diverged"]) == (3, 1)
    assert run_config["mean"] == pytest.approx(81.0) and run_config["sd"] == pytest.approx(math.sqrt(2))
    assert report.ours_text(run_config, 3) == "81.0 ± 1.4 (1 of 3 diverged)"


def test_the_flag_decides_even_when_an_accuracy_is_recorded():
    """After divergence a classifier of NaNs reads 10 %, which must not look like a result."""
    run_config = only(summarise([record(final=0.1) | {"diverged": True}]))
    assert math.isnan(run_config["mean"]) and run_config["n_diverged"] == 1


def test_all_diverged():
    run_config = only(summarise([record(alpha=0.5, final=None)], alphas=[0.5], paper=published(gaussian={0.5: 9.9})))
    assert math.isnan(run_config["mean"]) and math.isnan(run_config["difference"]) and run_config["verdict"] == "lost"
    assert report.ours_text(run_config, 1) == "diverged†"


def test_missing_cell():
    run_config = only(summarise([], paper=published(gaussian={0.1: 83.5})))
    assert (
        run_config["n"] == 0
        and run_config["paper"] == 83.5
        and run_config["verdict"] == ""
        and run_config["n_byz"] == 2
    )
    assert grid([]).loc[0, "brsgd"] == "–"


def test_honest_run_belongs_to_every_attack():
    summary = summarise([record(attack="none", alpha=0)], attacks=["gaussian", "scaling"], alphas=[0, 0.1])
    assert summary.loc[summary["alpha"] == 0, "mean"].tolist() == pytest.approx([84, 84])
    assert summary.loc[summary["alpha"] > 0, "n"].tolist() == [0, 0]


def test_verdict_sees_the_cell_and_only_published_ones():
    calls = []
    summarise(
        [record(final=0.8), record(seed=1, final=None), record(alpha=0.25)],
        alphas=[0.1, 0.25, 0.5],
        paper=published(gaussian={0.1: 83.5, 0.5: 80.0}),
        verdict=lambda ours, paper: calls.append((*ours, paper.mean)) or "seen",
    )
    np.testing.assert_allclose(calls, [(80, math.nan, 2, 1, 83.5)])


def test_records_of_other_settings_are_none_of_a_cell():
    assert only(summarise([record(), record(lr=0.1)]))["n"] == 1


# --------------------------------------------------------------------------------------------- swap test


PRINTED = {"scaling": {0.1: 80.0, 0.25: 70.0}, "label_flip": {0.1: 60.0, 0.25: 50.0}}


def swap(scaling, label_flip, paper=PRINTED, attacks=("scaling", "label_flip")):
    """The swap test of one rule at alpha 0.1 and 0.25; accuracies as fractions, None diverged, "" not run."""
    runs = {"scaling": scaling, "label_flip": label_flip}
    records = [
        record(attack=attack, alpha=alpha, final=final)
        for attack, row in runs.items()
        for alpha, final in zip((0.1, 0.25), row, strict=True)
        if final != ""
    ]
    summary = summarise(records, attacks=attacks, alphas=[0, 0.1, 0.25], paper=published(**paper))
    return swap_test(summary)


def test_swap_as_printed():
    test = swap([0.81, 0.73], [0.60, 0.50])
    whole = test.table.iloc[0]
    assert whole["mad_printed"] == pytest.approx(1.0)  # (1 + 3 + 0 + 0) / 4
    assert whole["mad_exchanged"] == pytest.approx(21.0)  # (21 + 23 + 20 + 20) / 4
    assert whole["rms_printed"] == pytest.approx(math.sqrt(10 / 4))
    assert whole["rms_exchanged"] == pytest.approx(math.sqrt((441 + 529 + 800) / 4))
    assert whole["nearer"] == "as printed"
    assert "nearer to the published ones as printed" in test.conclusion


def test_swap_exchanged_with_divergence_as_chance():
    test = swap([0.60, None], [0.80, 0.70])
    whole, rule = test.table.iloc[0], test.table.iloc[1]
    assert whole["mad_printed"] == pytest.approx(30)  # (20 + |10 - 70| + 20 + 20) / 4
    assert whole["mad_exchanged"] == pytest.approx(10)  # (0 + |10 - 50| + 0 + 0) / 4
    assert whole["nearer"] == rule["nearer"] == "exchanged"
    assert rule["rule"] == "brsgd"
    assert "nearer to the published ones exchanged" in test.conclusion and "chance level" in test.conclusion


def test_swap_undecided_within_the_margin():
    test = swap([0.701, 0.601], [0.70, 0.60])
    assert test.table["nearer"].tolist() == ["cannot tell", "cannot tell"]
    assert "cannot tell" in test.conclusion and "nearer to" not in test.conclusion


def test_swap_cannot_tell_when_cells_are_missing():
    test = swap([0.60, ""], [0.80, 0.70])
    assert test.table.iloc[0]["nearer"] == "cannot tell"
    assert "1 of 4 cells are not run" in test.conclusion


def test_swap_cannot_tell_without_published_rows():
    test = swap([0.60, 0.5], [0.80, 0.70], paper={"scaling": {0.1: 80.0}})
    assert test.table.iloc[0]["cells"] == 0 and "no cells of both" in test.conclusion


def test_swap_leaves_out_alpha_zero():
    paper = {attack: {0: 10.0} | row for attack, row in PRINTED.items()}
    assert swap([0.81, 0.73], [0.60, 0.50], paper=paper).table.iloc[0]["cells"] == 4


# ------------------------------------------------------------------------------------------------- files


GRID = {"rules": ["brsgd", "krum"], "attacks": ["gaussian", "label_flip"], "alphas": [0, 0.1, 0.5]}


def toy_records(**other):
    runs = [("none", 0), *((a, x) for a in GRID["attacks"] for x in (0.1, 0.5))]
    return [
        record(rule, attack, alpha, seed, None if alpha == 0.5 and seed == 1 else 0.8 + 0.02 * seed, **other)
        for rule in GRID["rules"]
        for attack, alpha in runs
        for seed in (0, 1)
        if (rule, attack, alpha) != ("krum", "label_flip", 0.1)
    ]


def build(folder, records=None, quick=False, **other):
    records = toy_records(quick=quick) if records is None else records
    paper = published(gaussian={0.1: 81.5, 0.5: 40.0}, label_flip={0.1: 60.0})
    table = toy(**GRID | {"paper": paper} | other)
    wording = report.Wording(title="A toy & its table_1", source="Table 1", quick=quick, labels=LABELS)
    return report.build(records, folder, table, wording, numbers.numbers(table, table, quick=False))[0]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full") / "toy"
    build(folder, appendix=EXCHANGED)
    return folder


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quick")
    build(folder, quick=True)
    return folder


def test_every_file_is_there_and_no_temporary_one(full):
    names = {"README.md", "table.md", "table.csv", "table.tex"}
    names |= {f"{stem}.{kind}" for stem in ("curves", "differences") for kind in ("png", "svg")}
    assert {p.name for p in full.iterdir()} == names
    assert all(p.stat().st_size > 500 for p in full.iterdir())
    assert (full / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_markdown_rows(full):
    text = (full / "table.md").read_text()
    assert "| Attack | α | BrSGD | krum |" in text
    assert "| gaussian | 10 % (2) | 81.0 ± 1.4 / 81.50 same | 81.0 ± 1.4 |" in text
    assert "| gaussian | 50 % (10) | 80.0 (1 of 2 diverged)† / 40.00 off | 80.0 (1 of 2 diverged)† |" in text
    assert "| Label flip_50% | 10 % (2) | 81.0 ± 1.4 / 60.00 off | – |" in text
    assert "- same: within one point of the paper." in text


def test_markdown_says_where_it_comes_from(full):
    text = (full / "table.md").read_text()
    for words in (
        "Runs: 18 (27 seconds",
        "Seeds: 0, 1;",
        "Epochs: 3;",
        "Commits: abc123;",
        "Devices: one CPU;",
    ):
        assert words in text
    assert "Versions: jax 0.10.0" in text and "lr = 0.03" in text and "m = 20" in text


def test_readme_shows_pictures_and_swap_test(full):
    text = (full / "README.md").read_text()
    assert all((full / name).exists() for name in re.findall(r"\]\((\S+)\)", text))
    assert "](curves.png)" in text and "](differences.png)" in text
    assert "## Are two rows of the paper exchanged?" in text


def test_dirty_and_several_commits_are_all_named():
    origin = report.provenance([record(), record(commit="def456", dirty=True)])
    assert origin["Commits"] == "abc123, def456 with uncommitted changes"


def test_csv_reads_back(full):
    table = pd.read_csv(full / "table.csv")
    assert len(table) == 12 and set(table["run"]) == {"full"} and set(table["commits"]) == {"abc123"}
    row = table.query("rule == 'brsgd' and attack == 'gaussian' and alpha == 0.1").iloc[0]
    assert (row["mean"], row["sd"], row["paper"], row["difference"]) == (81.0, 1.4142, 81.5, -0.5)


def test_tex_is_balanced_and_escaped(full):
    lines = (full / "table.tex").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("%"))
    bare = text.replace(r"\{", "").replace(r"\}", "").replace(r"{%", "{")
    assert bare.count("{") == bare.count("}")
    assert r"A toy \& its table\_1" in text and r"Label flip\_50\%" in text and r"81.0 $\pm$ 1.4" in text
    assert not re.search(r"(?<!\\)[%_]", bare) and bare.isascii()
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + 6 and {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {3}
    assert text.count(r"\midrule") == 2
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1


def test_csv_gives_back_names_and_keys_to_plain_pandas(tmp_path):
    """Readers take the text nan for a missing value, and a column of inf for numbers."""
    attacks, alphas = ["nan", "none", "inf", "gaussian"], [2 / 11, 3 / 11]
    records = [record("mean", attack, 2 / 11, seed, m=11) for attack in attacks for seed in (0, 1)]
    build(tmp_path, records=records, rules={"1e5": {"rule": "mean"}}, attacks=attacks, alphas=alphas, m=11, paper=None)
    table = pd.read_csv(tmp_path / "table.csv")
    assert table["attack"].str.removesuffix(" (attack)").tolist() == [a for a in attacks for _ in alphas]
    assert set(table["rule"]) == {"1e5 (rule)"}
    assert set(table["alpha"]) == set(alphas) and table["n_byz"].tolist() == [2, 3] * 4
    rows = table.dropna(subset="ids").assign(id=lambda rows: rows["ids"].str.split()).explode("id")
    joined = rows.merge(pd.DataFrame(records), on="id")
    assert len(joined) == len(records) == 8 and (joined["alpha_x"] == joined["alpha_y"]).all()


COMMITTED = {"brsgd_table1": 240, "zoo": 728}  # rows times seeds; at alpha = 0 all attacks have the same records


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_tables_join_with_their_records(name):
    folder = Path(report.__file__).parents[2] / "results" / name
    rows = pd.read_csv(folder / "table.csv")
    rows = rows.assign(id=rows["ids"].str.split()).explode("id")
    joined = rows.merge(load_results(folder), on="id", suffixes=("", "_there"))
    assert len(joined) == COMMITTED[name] == len(rows)
    assert (joined["alpha"] == joined["alpha_there"]).all() and (joined["n_byz"] == joined["n_byz_there"]).all()
    same = joined["attack"].str.removesuffix(" (attack)") == joined["attack_there"]
    assert same[joined["alpha"] > 0].all() and rows[["rule", "attack", "n_byz"]].notna().all(axis=None)


@pytest.mark.parametrize("name", ["rules", "learned"])
def test_committed_csv_of_rules_has_every_name(name):
    table = pd.read_csv(Path(report.__file__).parents[2] / "results" / "rules" / f"{name}.csv")
    assert table["rule"].notna().all() and {"mean", "krum"} <= set(table["rule"])


def test_the_valid_records_are_the_last_ones(tmp_path):
    lines = [record(seed=0, lr=0.1), record(seed=1), record(seed=0, id="newer")]
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(each | {"data": "d"}) + "\n" for each in lines))
    valid = pd.DataFrame(records.valid(tmp_path))
    assert dict(zip(valid["seed"], valid["id"], strict=True)) == {0: "newer", 1: lines[1]["id"]}
    assert valid["accuracy"][0] == [0.5, 0.7, 0.84] and valid["versions"][0] == {"jax": "0.10.0"}
    back = pd.read_csv(io.StringIO(files.csv(valid)))
    assert back["id"].tolist() == valid["id"].tolist() and json.loads(back["accuracy"][0]) == [0.5, 0.7, 0.84]


@pytest.mark.parametrize("published", [None, published(gaussian={0.3: 81.5})])
def test_without_a_published_number_nothing_speaks_of_a_paper(tmp_path, monkeypatch, published):
    monkeypatch.setattr(page, "save", lambda figure, stem: stem.with_suffix(".svg").write_text("<svg/>"))
    build(tmp_path, appendix=EXCHANGED)
    build(tmp_path, paper=published, appendix=EXCHANGED)
    assert {p.stem for p in tmp_path.iterdir()} == {"README", "table", "curves", "accuracies"}
    for path in tmp_path.glob("*.[mct][dse]*"):
        assert not re.search(r"paper|Source|same|off\b|differen|exchanged|verdict", path.read_text()), path
    text = (tmp_path / "table.md").read_text()
    assert "| gaussian | 10 % (2) | 81.0 ± 1.4 | 81.0 ± 1.4 |" in text
    assert "Mean ± sample standard deviation" in text


@pytest.mark.parametrize("name", ["README.md", "table.md", "table.csv", "table.tex"])
def test_quick_is_marked_in_every_text(full, quick, name):
    assert QUICK in (quick / name).read_text()
    assert QUICK not in (full / name).read_text()


@pytest.mark.parametrize("name", ["curves.svg", "differences.svg"])
def test_quick_is_marked_in_every_figure(full, quick, name):
    assert 'id="quick"' in (quick / name).read_text()
    assert 'id="quick"' not in (full / name).read_text()


def test_a_second_report_is_the_same_bytes(full, tmp_path):
    build(tmp_path, appendix=EXCHANGED)
    assert all(p.read_bytes() == (full / p.name).read_bytes() for p in tmp_path.iterdir())


def test_quick_and_full_runs_do_not_mix(tmp_path):
    with pytest.raises(UserError, match="1 of 19 records are quick runs"):
        build(tmp_path, records=[*toy_records(), record(seed=9, quick=True)])
    assert not list(tmp_path.iterdir())


def test_records_outside_the_grid_are_left_out(full, tmp_path):
    records = [*toy_records(), record(rule="median", commit="other"), record(alpha=0.3, quick=True)]
    build(tmp_path, records=records)
    assert (tmp_path / "table.md").read_bytes() == (full / "table.md").read_bytes()


def test_report_before_the_first_run(tmp_path):
    text = build(tmp_path, records=[], rules=["brsgd"], attacks=["gaussian"], alphas=[0.1])
    assert "| gaussian | 10 % (2) | – / 81.50 |" in text and "Runs: none yet." in text


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "table.md"
    files.write_whole(path, b"old")
    monkeypatch.setattr(files.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full disk")))
    with pytest.raises(OSError, match="full disk"):
        files.write_whole(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("short", [False, True])
def test_console(short):
    console = Console(file=io.StringIO(), width=160)
    changes = {"paper": published(gaussian={0.1: 83.5})}
    report.print_table(summarise([record()], **changes), toy(**changes), console, report.Wording(quick=short))
    text = console.file.getvalue()
    assert "84.0 / 83.50 same" in text and "mean ± sample standard deviation" in text
    assert (QUICK in text) == short


# ----------------------------------------------------------------------------------------------- figures


def curves(records, alphas=(0.1,)):
    figure = figures.accuracy_curves(records, rules=["brsgd"], attacks=["gaussian"], alphas=alphas, quick=False)
    axis = figure.axes[0]
    lines = [line for line in axis.get_lines() if line.get_marker() != "None"]  # all but the chance level
    return axis, lines


def test_curve_is_the_mean_and_the_band_the_range():
    axis, lines = curves([record(seed=0, final=0.8), record(seed=1, final=0.9)])
    np.testing.assert_allclose(lines[0].get_xydata(), [(1, 50), (2, 70), (3, 85)])
    band = axis.collections[0].get_paths()[0].vertices
    assert {(3.0, 80.0), (3.0, 90.0)} <= {tuple(v) for v in band.round(6).tolist()}


def test_diverged_curve_ends_in_a_cross_at_its_last_finite_point():
    _, (curve, cross) = curves([record(final=None)])
    assert cross.get_marker() == "x" and cross.get_xydata().tolist() == [[2.0, 70.0]]
    np.testing.assert_allclose(curve.get_xydata(), [(1, 50), (2, 70)])


def test_a_run_without_any_finite_point_is_a_cross_on_the_axis():
    _, (_, cross) = curves([record(final=None, accuracy=[None, None])])
    assert cross.get_marker() == "x" and cross.get_xydata().tolist() == [[1.0, 0.0]]


def test_one_seed_has_no_band_and_one_curve_per_alpha():
    axis, lines = curves([record(alpha=0, attack="none"), record(alpha=0.1)], alphas=(0, 0.1, 0.5))
    assert len(lines) == 2 and not axis.collections
    assert lines[0].get_linestyle() != lines[1].get_linestyle()
    assert lines[0].get_color() != lines[1].get_color()


def test_heatmap_words_and_hatches():
    records = [record(), record(alpha=0.25, final=None), record(alpha=0.45), record(alpha=0.5, final=0.3)]
    records += [record(alpha=0.5, seed=1, final=None)]
    paper = published(gaussian={0: 85.0, 0.1: 83.5, 0.25: 10.0, 0.5: 80.0})
    figure = figures.difference_map(summarise(records, alphas=[0, 0.1, 0.25, 0.45, 0.5], paper=paper), quick=False)
    axis = figure.axes[0]
    assert [t.get_text() for t in axis.texts] == ["–", "+0.5", "div.", "", "−50.0*"]
    assert [bool(tile.get_hatch()) for tile in axis.patches] == [False, False, False, True, False]
    assert axis.texts[4].get_color() == "white" and axis.texts[1].get_color() == "black"


@pytest.mark.filterwarnings("error")
def test_an_accuracy_map_of_one_row_has_room_for_long_names():
    rules = ["geometric_median_of_means", "brsgd"]
    summary = summarise([record(rule=rule) for rule in rules], rules=rules)
    figure = figures.accuracy_map(summary, quick=False)
    figure.draw_without_rendering()
    panel, bar = (axes.get_window_extent() for axes in figure.axes)
    assert panel.height > 20 and panel.x1 < bar.x0
    assert figure.axes[0].title.get_window_extent().x1 < bar.x1


# ------------------------------------------------------------------------------------------------ inject


def test_inject_replaces_only_its_own_block():
    text = "a\n<!-- TABLE:x -->\nold\n<!-- /TABLE -->\nb\n<!-- TABLE:y -->\nkeep\n<!-- /TABLE -->\n"
    once = report.inject(text, "x", lambda only: f"new{only}\n")
    assert once == text.replace("old", "new")
    assert report.inject(once, "x", lambda only: "new\n") == once
    part = text.replace("TABLE:x", "TABLE:x alpha=0.2")
    assert report.inject(part, "x", lambda only: f"rows of {only}") == part.replace("old", "rows of alpha=0.2")


@pytest.mark.parametrize(
    "text",
    [
        "nothing here",
        "<!-- /TABLE --> <!-- TABLE:x -->",
        "<!-- TABLE:x --><!-- /TABLE --><!-- TABLE:x --><!-- /TABLE -->",
    ],
)
def test_inject_refuses_a_missing_or_double_mark(text):
    with pytest.raises(UserError, match="TABLE:x"):
        report.inject(text, "x", lambda only: "new")


# --------------------------------------------------------------------------------------------- rules that never act


@pytest.mark.parametrize(
    ("series", "idle"),
    [
        ({"honest_dropped": [0, 0, 0], "byz_kept": [2, 2, 2]}, True),
        ({"honest_dropped": [0, 0, 0.5], "byz_kept": [2, 2, 2]}, False),
        ({"honest_dropped": [0, 0, 0], "byz_kept": [2, 1.5, 2]}, False),
        ({"honest_dropped": [0, 0, None], "byz_kept": [2, 2, None]}, True),
        ({"honest_dropped": [None] * 3, "byz_kept": [None] * 3, "byz_weight": [None] * 3}, False),
        ({"clipped": [0, 0, 0]}, True),
        ({"clipped": [0, 0.1, 0]}, False),
        ({"honest_dropped": [0, 0, 0], "byz_kept": [2, 2, 2], "clipped": [1, 1, 1]}, False),
        ({"honest_dropped": [0, 0, 0], "byz_kept": [0, 0, 0], "byz_weight": [0, 0, 0]}, False),  # all, and nobody else
        ({"honest_dropped": [0, 0, 0], "byz_kept": [2, 2, 2], "byz_weight": [0.2, 0.1, 0.1]}, False),  # weighed
        ({}, False),  # a rule that does neither, or an older record
        ({"alpha": 0.0, "n_byz": 0, "attack": "none", "honest_dropped": [0, 0, 0], "byz_kept": [0, 0, 0]}, False),
    ],
)
def test_a_rule_that_never_acts_is_said(tmp_path, series, idle):
    run = record(alpha=0.1) | series
    summary = summarise([run], alphas=(run["alpha"],))
    assert only(summary)["idle"] == idle
    report.build([run], tmp_path, toy(alphas=(run["alpha"],)), report.Wording(title="toy", labels=LABELS))
    for name in ("README.md", "table.md", "table.tex"):
        assert (report.NEVER in (tmp_path / name).read_text("utf-8")) == idle, name
    page = (tmp_path / "README.md").read_text("utf-8")
    assert ("In 1 cell, marked °, the rule dropped no worker" in page and "BrSGD under gaussian (10 %)" in page) == idle


def test_series_are_no_settings():
    run = record(cosine=[1.0, 1.0, 1.0], clipped=[0, 0, 0], honest_dropped=[0, 0, 0])
    assert "cosine" not in report.provenance([run])["Settings of all runs"]
    assert "lr = 0.03" in report.provenance([run])["Settings of all runs"]
