"""docs/in-your-training.md: its pieces run in order, and print what stands below them."""

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "in-your-training.md").read_text(encoding="utf-8")
PIECES = re.findall(r"^```python\n(.*?)^```\n+```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow  # compiles what users compile, one program for each piece
def test_the_page_prints_what_it_shows():
    assert len(PIECES) == PAGE.count("```python") == 4
    names: dict = {}
    for code, shown in PIECES:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, names)  # our own text
        assert printed.getvalue() == shown
