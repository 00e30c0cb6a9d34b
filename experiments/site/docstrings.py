"""Docstrings of members as the parts of a page."""

import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from byzsim.experiments.site import typeset

HEADINGS = ("Args", "Returns", "Raises", "Tolerates", "Cost", "Notes", "References")
HEADING = re.compile(rf"^({'|'.join(HEADINGS)}):[ \n]", re.MULTILINE)
FENCE = re.compile(r"```text\n(.*?)```", re.DOTALL)
ARGUMENT = re.compile(r"^(?=\w[\w, ]*: )", re.MULTILINE)


class Doc(NamedTuple):
    """A docstring in its parts, as Markdown."""

    summary: str
    body: str
    """between the summary and the first section, with formulas typeset"""
    sections: dict[str, str]
    args: dict[str, str]
    """option -> its meaning"""


def parsed(factory: Callable[..., Any]) -> Doc:
    """The parts of a factory's docstring."""
    text = inspect.getdoc(factory) or ""
    before, *rest = HEADING.split(text)
    summary, _, body = before.partition("\n")
    sections = {name: _dedented(content) for name, content in zip(rest[::2], rest[1::2], strict=True)}
    return Doc(summary, with_formulas(body.strip()), sections, _args(sections.get("Args", "")))


def with_formulas(text: str) -> str:
    """Markdown whose fences of plain formulas are typeset."""
    return FENCE.sub(lambda found: f"\n{typeset.block(found[1])}\n", text)


def _dedented(text: str) -> str:
    """Of a section, which begins on its heading's line or, indented, below it."""
    first, _, rest = text.partition("\n")
    return f"{first.strip()}\n{textwrap.dedent(rest)}".strip() if first[:1].strip() else textwrap.dedent(text).strip()


def _args(text: str) -> dict[str, str]:
    entries = [entry.partition(": ") for entry in ARGUMENT.split(text) if entry.strip()]
    return {name.strip(): " ".join(words.split()) for names, _, words in entries for name in names.split(",")}
