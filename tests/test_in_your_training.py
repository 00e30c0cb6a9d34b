"""Pages about training loops of others: their pieces run in order, and print what stands below them."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


def pieces(page):
    """(code, what it prints) of each piece."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```\n+```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(found) == text.count("```python") > 0
    return found


@pytest.mark.slow  # compiles what users compile, one program for each piece
def test_the_page_prints_what_it_shows():
    names: dict = {}
    for code, shown in pieces("in-your-training.md"):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, names)  # our own text
        assert printed.getvalue() == shown


@pytest.mark.slow  # a process with eight devices
def test_the_page_on_robust_pmean_prints_what_it_shows(environment):
    code, shown = map("".join, zip(*pieces("robust-pmean.md"), strict=True))
    eight = environment | {"JAX_NUM_CPU_DEVICES": "8"}
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, env=eight, encoding="utf-8")
    assert done.stdout.split("\n") == shown.split("\n")
