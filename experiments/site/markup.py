"""Small pieces of HTML and Markdown that several pages have."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from byzsim.experiments.site.settings import Cell, Setting


def esc(value: Any) -> str:
    """Text for HTML."""
    return html.escape(str(value), quote=True)


def chips(traits: Iterable[str], words: Mapping[str, str]) -> str:
    """Traits as small labels with their meaning on hover."""
    return " ".join(
        f'<span class="chip" title="{esc(words.get(each, ""))}">{esc(each)}</span>' for each in sorted(traits)
    )


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, kind: str = "") -> str:
    """An HTML table of cells that are HTML already, which Markdown leaves alone; scripts find it by its kind."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "\n".join(f"<tr>{''.join(_td(cell) for cell in row)}</tr>" for row in rows)
    opening = f'<table data-kind="{kind}">' if kind else "<table>"
    return f"{opening}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


class Sorted(str):
    """A cell that is sorted by a number other than its text."""

    value: float

    def __new__(cls, text: str, value: float) -> "Sorted":
        """The text of the cell and the number."""
        made = super().__new__(cls, text)
        made.value = value
        return made


def _td(cell: Any) -> str:
    if isinstance(cell, Sorted):
        return f'<td data-value="{cell.value:.6g}">{cell}</td>'
    return f"<td>{cell}</td>"


def accuracy(setting: Setting, rule: str, attack: str, top: str) -> Sorted:
    """The accuracy of a cell, which links to its records; `top` leads from the page to the top of the site."""
    cell = setting.cells.get((rule, attack))
    if cell is None:
        return Sorted("–", -2)
    seeds = ", ".join(map(str, cell.seeds))
    text = f'<a href="{record(setting, rule, cell, top)}" title="seeds {seeds}">{esc(cell.text)}</a>'
    return Sorted(text, cell.rank)


def record(setting: Setting, rule: str, cell: Cell, top: str) -> str:
    """The address of a cell's first record."""
    return f"{top}results/{setting.folder}/records/{slug(rule)}.html#{cell.ids[0]}"


def slug(name: str) -> str:
    """A label as the name of a file."""
    return "".join(each if each.isalnum() or each in "_-" else "-" for each in name)


def code(text: str, language: str = "python") -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def folded(title: str, content: str) -> str:
    """Content that a click on its title shows."""
    return f"<details>\n<summary>{esc(title)}</summary>\n{content}\n</details>"
