"""The catalogue's commands and pages."""

from pathlib import Path

import byzsim
import pandas as pd
import pytest
from byzsim import AGGREGATORS, ATTACKS, MODIFIERS, PREAGGREGATORS
from byzsim.experiments import cli
from byzsim.experiments.catalogue import attacks, definitions, rules

ROOT = Path(__file__).parent.parent
SIZE = rules.Size(m=7, f=1, d=3)


PAGE = ROOT / "docs" / "definitions.md"


@pytest.mark.slow
def test_the_page_of_definitions_is_what_the_registry_gives():
    """Mend with: byzsim definitions --output docs/definitions.md"""
    assert PAGE.read_text() == definitions.page()


@pytest.mark.parametrize("members", [AGGREGATORS, PREAGGREGATORS, ATTACKS])
def test_variants_differ_on_the_example(members):
    """Most names give several vectors there, or the example shows nothing."""
    shown = {}
    for section in PAGE.read_text().split("\n### ")[1:]:
        name, *lines = section.splitlines()
        shown[name] = {line.split(" | ")[-1] for line in lines if line.startswith("| ")} - {"on the example |"}
    several = [name for name, spec in members.items() if len(spec.variants) > 1]
    alike = [name for name in several if len(shown[name] - {"--- |"}) == 1]
    assert len(alike) <= 0.3 * len(several), alike


def test_definitions_go_to_a_file_or_to_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(definitions, "page", lambda names: "# The page\n" + "".join(names))
    assert cli.main(["definitions", "--output", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text() == "# The page\n"
    assert cli.main(["definitions"]) == 0
    assert capsys.readouterr().out == "# The page\n\n"
    assert cli.main(["definitions", "krum", "alie,nnm"]) == 2  # nnm has one definition
    assert cli.main(["definitions", "krum,alie"]) == 0
    assert capsys.readouterr().out == "# The page\nkrumalie\n"
    assert cli.main(["definitions", "--output", str(tmp_path / "none" / "page.md")]) == 2


@pytest.mark.slow
def test_definitions_of_one_name_are_its_part_of_the_page():
    page, whole = definitions.page(["krum"]), PAGE.read_text(encoding="utf-8")
    assert page.count("\n## ") == page.count("\n### ") == 1 and "### krum\n" in page
    assert page.partition("### krum\n")[2].strip() in whole


@pytest.mark.slow
def test_what_becomes_of_bad_rows():
    assert rules.non_finite(AGGREGATORS["mean"], SIZE) == "passed on"
    assert rules.non_finite(AGGREGATORS["krum"], SIZE) == "left out"


@pytest.mark.parametrize(("kappa", "shown"), [(0.75, "0.75"), (1e7, "unbounded")])
def test_facts_of_a_rule(kappa, shown, monkeypatch):
    monkeypatch.setattr(byzsim, "robustness", lambda *_, **__: byzsim.Robustness(kappa, "alie", "normal", 2.5))
    facts = rules._facts("median", AGGREGATORS["median"], SIZE)
    assert (facts["max_f"], facts["f"], facts["cost"]) == (3, 1, "O(m d)")
    assert (facts["kappa"], facts["published"], facts["found by"]) == (shown, "2.5", "alie, honest: normal")


def test_what_has_no_kappa_has_an_empty_place():
    assert rules._facts("zeno", AGGREGATORS["zeno"], SIZE)["kappa"] is None


def test_pages_name_every_member_with_its_source(tmp_path):
    facts = pd.DataFrame({"rule": list(AGGREGATORS), "source": [e.source for e in AGGREGATORS.values()]})
    rules.write(facts, SIZE, tmp_path)
    page = (tmp_path / "README.md").read_text()
    for members in (AGGREGATORS, PREAGGREGATORS, ATTACKS, MODIFIERS):
        for name, spec in members.items():
            assert f"| {name} | " in page and spec.source in page
    assert len(pd.read_csv(tmp_path / "rules.csv")) == len(AGGREGATORS)


def test_harm_is_measured_from_the_honest_mean():
    """Against the mean, ALIE moves the output by f / m times z standard deviations of each coordinate."""
    error = attacks._error("mean", "alie", {"z": 1.5}, 2, rules.Size(m=10, f=2, d=2000))
    assert error == pytest.approx(0.2 * 1.5, rel=0.02)


def test_the_comparison_is_written(tmp_path):
    names = list(attacks.ATTACKS_COMPARED)
    errors = pd.DataFrame([{"rule": r, "f": 1} | dict.fromkeys(names, x) for r, x in (("mean", 0.5), ("krum", 2.0))])
    errors.loc[0, "learned"] = 0.75
    attacks.write(errors, SIZE, tmp_path)
    text = (tmp_path / "learned.md").read_text()
    assert "exceeds ALIE in 1 of 2 rules, and every other attack in 1." in text
    assert {path.name for path in tmp_path.iterdir()} == {"learned.md", "learned.csv", "learned.png", "learned.svg"}


@pytest.mark.parametrize("size", [["--m", "2"], ["--f", "0"], ["--m", "9", "--f", "5"], ["--d", "0"]])
def test_sizes_that_make_no_sense_are_refused(size, capsys):
    assert cli.main(["zoo", *size]) == 2
    assert "expected 1 <= f <= (m - 1) // 2" in capsys.readouterr().err
