"""The README: its snippets print what it says, its counts are the registry's, and it is short."""

import contextlib
import io
import re
from pathlib import Path

import byzsim
import pytest
from byzsim.testing import check_rule

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text("utf-8")
SNIPPETS = [
    re.split(r"((?:^# .*\n)*)\Z", code, flags=re.MULTILINE)[:2]
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
]
"""(code, what it prints, in comments after it)"""


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_quickstart_prints_what_the_readme_says():
    known = {}
    shown = [(code, output) for code, output in SNIPPETS if output]
    assert len(shown) == 3
    for code, output in shown:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, known)
        assert printed.getvalue() == output.replace("# ", "")


def test_the_rule_of_the_readme_keeps_every_promise():
    (code,) = [code for code, output in SNIPPETS if not output]
    known = {}
    exec(code, known)
    assert "resilience" in check_rule(known["SPECS"]["shortest"])


def test_counts_are_those_of_the_registries():
    for number, kind in re.findall(r"(\d+) (aggregation rules|preaggregators|attacks|modifier)", TEXT):
        registry = {"aggregation rules": "aggregators", "modifier": "modifiers"}.get(kind, kind)
        assert int(number) == len(getattr(byzsim, registry.upper())), kind


def test_the_readme_is_short_and_its_links_lead_somewhere():
    assert len(TEXT.splitlines()) <= 120
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / link).exists(), link
