"""The report of a table: README.md, table.md, table.csv, table.tex and figures, and a table within another page.

Every number comes from the given records, so two reports of the same records have the same bytes.
"""

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from byzsim.experiments.errors import UserError, counted
from byzsim.experiments.files import write_whole
from byzsim.experiments.plan import Labels, label
from byzsim.experiments.report.figures import accuracy_curves, accuracy_map, difference_map, save
from byzsim.experiments.report.latex import to_tex
from byzsim.experiments.report.summary import Layout, Record, compared, percent, provenance, runs_of, summarise
from byzsim.experiments.report.text import BEYOND, IDLE, NEVER, Wording, to_csv, to_markdown
from matplotlib.figure import Figure

MAX_PANELS = 60  # of the figure of curves; more would be unreadable


def build(
    records: Sequence[Record],
    folder: Path,
    layout: Layout,
    wording: Wording,
    *,
    appendix: Callable[[pd.DataFrame, Labels], str] | None = None,
) -> str:
    """Write README.md, table.md, table.csv, table.tex and the figures (png, svg) into `folder`.

    Records outside the layout are left out. Where no cell has a published number, the report does not mention a paper:
    no source, column, mark, difference or appendix.

    Args:
        appendix: makes a section of the table's own from the summary.
    Returns:
        The text of table.md, which fits into another page.
    Raises:
        UserError: quick and full runs are mixed, or a cell has two runs with the same seed.
    """
    used = _within(records, layout)
    _refuse_mixed(used, wording.quick)
    summary, origin, labels = summarise(used, layout), provenance(used), wording.labels
    body = to_markdown(summary, wording, origin)
    table = f"**{wording.title}**\n\n{body}"
    extra = appendix(summary, labels) if appendix and compared(summary) else ""
    pictures = _pictures(used, summary, wording)
    shown = "\n".join(f"## {p.title}\n\n![{p.title}]({stem}.png)\n\n{p.text}\n" for stem, p in pictures.items())
    failed = _failed_within_bound(summary, labels) + _never_acted(summary, labels)
    files = {
        "table.md": table,
        "table.csv": to_csv(summary, origin=origin, quick=wording.quick),
        "table.tex": to_tex(summary, wording, origin),
        "README.md": f"# {wording.title}\n\n{body}\n{failed}\n\n{shown}\n{extra}",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for stem in (*PICTURES, *OLD_PICTURES):
        if stem in pictures:
            save(pictures[stem].figure, folder / stem)
        else:  # an earlier report may have made it
            for kind in ("png", "svg"):
                (folder / f"{stem}.{kind}").unlink(missing_ok=True)
    for name, content in files.items():
        write_whole(folder / name, content.encode())
    return table


PICTURES = ("curves", "differences", "accuracies")
OLD_PICTURES = ("figure3",)  # the name of "curves" in earlier versions


class Picture(NamedTuple):
    """A figure with its title and its description in the README."""

    figure: Figure
    title: str
    text: str


def _pictures(records: Sequence[Record], summary: pd.DataFrame, wording: Wording) -> dict[str, Picture]:
    quick, labels = wording.quick, wording.labels
    rules, attacks, alphas = (list(summary[key].unique()) for key in ("rule", "attack", "alpha"))
    found = {}
    if len(rules) * len(attacks) <= MAX_PANELS:
        curves = accuracy_curves(records, rules=rules, attacks=attacks, alphas=alphas, quick=quick, labels=labels)
        found["curves"] = Picture(
            curves,
            "Test accuracy over epochs",
            "One row for each attack, one column for each rule, one curve for each α. Curves are means over seeds, "
            "bands their range; a cross marks the end of a diverged run.",
        )
    if compared(summary):
        differences = difference_map(summary, quick=quick, labels=labels)
        text = "In points of test accuracy, for each attack, rule and α."
        found["differences"] = Picture(differences, "Ours minus the paper's", text)
    else:
        text = f"One row for each attack, one column for each rule. {BEYOND}: beyond the rule's guarantee."
        text += f" {IDLE}: {NEVER}." * bool(summary["idle"].any())
        found["accuracies"] = Picture(
            accuracy_map(summary, quick=quick, labels=labels), "Test accuracy at the final epoch", text
        )
    return found


def _failed_within_bound(summary: pd.DataFrame, labels: Labels) -> str:
    """A sentence about cells that diverged although the rule's guarantee covers their Byzantine workers."""
    inside = summary[(summary["n"] > 0) & (summary["beyond_bound"] == False)]  # noqa: E712 (missing cells have neither)
    failed = inside[inside["n_diverged"] > 0]
    names = [f"{label(c['rule'], labels)} under {label(c['attack'], labels)}" for _, c in failed.iterrows()]
    return f"Of {len(inside)} cells within the rule's guarantee, {len(failed)} diverged" + (
        f": {'; '.join(names)}." if names else "."
    )


def _never_acted(summary: pd.DataFrame, labels: Labels) -> str:
    """A sentence about cells in which a filtering or clipping rule behaved as the mean."""
    cells = summary[summary["idle"]]
    names = [
        f"{label(c['rule'], labels)} under {label(c['attack'], labels)} ({percent(c['alpha'])})"
        for _, c in cells.iterrows()
    ]
    return f" In {counted(len(names), 'cell')}, marked {IDLE}, {NEVER}: {'; '.join(names)}." if names else ""


def _within(records: Sequence[Record], layout: Layout) -> list[Record]:
    """The records that a cell of the layout uses, each once, in their order."""
    places = product(layout.rules, layout.attacks, layout.alphas)
    used = {id(r) for place in places for r in runs_of(records, *place)}
    return [r for r in records if id(r) in used]


def _refuse_mixed(records: Sequence[Record], quick: bool) -> None:
    other = sum(r["quick"] != quick for r in records)
    if other:
        kind, wanted = ("full", "quick") if quick else ("quick", "full")
        raise UserError(
            f"{other} of {len(records)} records are {kind} runs, but this is a report of {wanted} runs. "
            "A report takes one kind only."
        )


def inject(text: str, marker: str, block: str) -> str:
    """Replace all between `<!-- TABLE:marker -->` and the next `<!-- /TABLE -->` in `text` by `block`.

    Raises:
        UserError: the opening marker does not occur exactly once, or no closing marker follows it.
    """
    opening, closing = f"<!-- TABLE:{marker} -->", "<!-- /TABLE -->"
    before, found, rest = text.partition(opening)
    _, closed, after = rest.partition(closing)
    if not (found and closed) or opening in rest:
        raise UserError(f"the page needs one {opening} and a {closing} after it. Add both where the table belongs.")
    return f"{before}{opening}\n{block.strip()}\n{closing}{after}"
