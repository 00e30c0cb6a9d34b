"""The documentation site: formulas, links, cells of the leaderboard, the explorer's arithmetic."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import byzsim
import numpy as np
import pandas as pd
import pytest
from byzsim.experiments.errors import UserError
from byzsim.experiments.site import catalogue, docstrings, examples, links, pages, reference, settings, typeset

ROOT = Path(__file__).parent.parent
SITE = ROOT / "site"
EXPLORER = ROOT / "docs" / "assets" / "rules2d.js"


@pytest.mark.parametrize(
    ("plain", "html"),
    [
        ("s_i <= ||g_i||_2^2", "<i>s</i><sub>i</sub> ≤ ‖<i>g</i><sub>i</sub>‖<sub>2</sub><sup>2</sup>"),
        ("g_byz = mu - z * sigma", "<i>g</i><sub>byz</sub> = μ − <i>z</i> · σ"),
        ("sum_{k = 1..t} a_k", "∑<sub><i>k</i> = 1..<i>t</i></sub> <i>a</i><sub>k</sub>"),
        ("g_(k)c", "<i>g</i><sub>(k)c</sub>"),
        ("g_argmin(s)", "<i>g</i><sub>argmin (<i>s</i>)</sub>"),
        ("the sum of <a, b>", "the sum of ⟨<i>a</i>, <i>b</i>⟩"),
        ("a < b > c", "<i>a</i> &lt; <i>b</i> &gt; <i>c</i>"),
        ("a_{b", "<i>a</i><sub><i>b</i></sub>"),  # a bracket that is never closed
    ],
)
def test_formulas_are_typeset(plain, html):
    assert typeset.formula(plain) == html


def test_a_formula_keeps_every_word():
    words = docstrings.FENCE.findall(byzsim.AGGREGATORS["brsgd"].factory.__doc__)[0].replace(">=", "").split()
    shown = typeset.block("\n".join(words))
    assert all(word in shown for word in words if word.isalpha() and len(word) > 3)


def test_latex_becomes_mathml():
    page = typeset.mathml('<p><span class="arithmatex">\\(x^2 &lt; y\\)</span></p>')
    assert page.startswith("<p><math") and "arithmatex" not in page and "&lt;" in page.replace("&#x0003C;", "&lt;")


def test_docstrings_come_apart():
    doc = docstrings.parsed(byzsim.AGGREGATORS["aksel"].factory)
    assert set(doc.args) == {"count", "middle", "ties"} and doc.args["ties"].startswith("which rows")
    assert "formula" in doc.body and doc.sections["Tolerates"] == "f <= (m - 1) // 2."
    assert docstrings.parsed(byzsim.TASKS["least_squares"].factory).sections["References"].startswith("the statistical")


def test_links_lead_to_pages(tmp_path):
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "a.py").write_text("x = 1", "utf-8")
    known = {"docs/speed.md": "speed.md", "results/bench/README.md": "results/bench.md"}
    text = "[a](../sim/a.py) [b](speed.md#top) [c](../results/bench) [d](https://x.org) `[e](../sim/a.py)` [f](no.md)"
    shown, needed = links.rewritten(text, "docs/a.md", "how/a.md", known, tmp_path)
    assert shown == (
        "[a](../source/sim/a.py.md) [b](../speed.md#top) [c](../results/bench.md) [d](https://x.org) "
        "`[e](../sim/a.py)` [f](no.md)"
    )
    assert needed == {"sim/a.py"} and "x = 1" in links.source_page("sim/a.py", tmp_path)


def test_a_cell_has_the_runs_that_differ_in_their_seed():
    runs = [("krum", "alie", 0, 0.5), ("krum", "alie", 1, 0.7), ("krum", "nan", 0, None), ("mean", "alie", 0, 0.9)]
    frame = pd.DataFrame(runs, columns=["rule", "attack", "seed", "final_accuracy"])
    frame = frame.assign(alpha=0.2, diverged=frame["final_accuracy"].isna(), beyond_bound=frame["rule"] == "mean")
    frame["id"] = [f"id{i}" for i in range(len(frame))]
    frame["at"] = [[1, 2]] * len(frame)
    frame.attrs["axes"] = ["rule", "attack", "alpha", "at", "seed"]
    (setting,) = settings.of_folder("a", frame.assign(m=10, n_byz=2))
    assert setting.title == "a: α = 20 % (2 of 10), at = [1, 2]"
    assert {pair: cell.text for pair, cell in setting.cells.items()} == {
        ("krum", "alie"): "60.0 ± 14.1",
        ("krum", "nan"): "diverged",
        ("mean", "alie"): "90.0†",
    }
    assert setting.worst("mean") is None  # it was not run under every attack
    assert [(rule, attack) for rule, attack, _ in setting.ranked()] == [("krum", "nan")]
    assert setting.cells["krum", "alie"].ids == ("id0", "id1")


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
def test_the_explorer_computes_what_the_library_computes():
    draws = np.random.default_rng(0)
    cases = [(draws.normal(size=(m, 2), loc=1.0).round(2), f) for m, f in ((8, 1), (9, 3)) for _ in range(5)]
    cases.append(
        (np.array([[1.0, 1.0]] * 4 + [[0.0, 0.5], [4.0, 2.0], [-1.0, 3.0], [2.0, -2.0]]), 2)
    )  # copies and ties
    script = (
        f"const {{RULES, VARIANTS}} = require({json.dumps(str(EXPLORER))});"
        "const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        "console.log(JSON.stringify([VARIANTS, cases.map(([rows, f]) => "
        "Object.fromEntries(Object.entries(RULES).map(([name, rule]) => [name, rule(rows, f)])))]))"
    )
    given = json.dumps([(rows.tolist(), f) for rows, f in cases])
    said = subprocess.run(["node", "-e", script], input=given, capture_output=True, encoding="utf-8", check=True)
    variants, found = json.loads(said.stdout)
    assert set(found[0]) == {"mean", "median", "krum", "geometric_median", "brsgd", "aksel"}
    for name in found[0]:
        options = {"variant": variants[name]} if name in variants else {}
        for (rows, f), ours in zip(cases, found, strict=True):
            with np.errstate(all="ignore"):
                theirs = byzsim.aggregate(name, rows, f=0 if name == "mean" else f, **options)
            np.testing.assert_allclose(ours[name], theirs, atol=2e-4, err_msg=f"{name}, f = {f}: {rows.tolist()}")


SNIPPETS = [
    pytest.param(text, id=f"{page}-{i}")
    for page in ("index.md", "start/first-run.md")
    for i, text in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL))
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["krum", "fltrust", "nnm", "sign_flip", "full_gradient_negation", "label_flip", "burst"]
)
def test_the_code_of_a_member_runs(name):
    kind = next(kind for kind in catalogue.KINDS if name in kind.zoo)
    exec(catalogue.example(kind, name, kind.zoo[name]), {})  # our own text


@pytest.mark.slow
@pytest.mark.parametrize("text", SNIPPETS)
def test_snippets_of_the_first_pages_run(text):
    exec(text, {})  # our own files


@pytest.mark.slow
def test_a_public_name_without_a_docstring_is_refused(monkeypatch):
    monkeypatch.setattr(reference, "_homes", lambda: {"byzsim.STRENGTHS": "byzsim.kappa.STRENGTHS"})
    with pytest.raises(UserError, match=r"without a docstring: byzsim\.STRENGTHS"):
        reference.pages(ROOT / ".venv" / "links")


def test_examples_in_docstrings_are_fenced():
    text = "Sum.\n\n>>> f(1)\n[1. 2.]\n\nMore.\n"
    assert examples.fenced(text) == "Sum.\n\n```pycon\n>>> f(1)\n[1. 2.]\n```\n\nMore.\n"


def test_navigation_has_every_page_once():
    made = ["index.md", "glossary.md", "tables.md", "mine.md", "catalogue/rules/krum.md", "tutorials/a.md", "odd/b.md"]
    nav = pages.navigation([*made, "results/zoo/records/krum.md", "source/sim/a.py.md"])
    listed = json.dumps(nav)
    assert all(listed.count(f'"{page}"') == 1 for page in made) and "records" not in listed and "source" not in listed
    assert {"Tutorials": ["tutorials/a.md"]} in nav and {"Glossary": "glossary.md"} in nav
