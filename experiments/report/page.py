"""The report of a table: README.md, table.md, table.csv, table.tex and figures, and the table put into another page.

Every number comes from the records given, so two reports of the same records are the same bytes.
"""

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from byzsim.experiments.errors import UserError
from byzsim.experiments.files import write_whole
from byzsim.experiments.plan import NO_LABELS, Labels, Verdict, label
from byzsim.experiments.report.figures import accuracy_map, figure3, heatmap, save
from byzsim.experiments.report.latex import to_tex
from byzsim.experiments.report.summary import Record, compared, percent, provenance, runs_of, summarise
from byzsim.experiments.report.text import BEYOND, IDLE, NEVER, to_csv, to_markdown
from matplotlib.figure import Figure

MOST_PANELS = 60  # of a figure of curves; more could not be read


def build(
    *,
    title: str,
    source: str,
    records: Sequence[Record],
    rules: Sequence[str],
    attacks: Sequence[str],
    alphas: Sequence[float],
    published: pd.DataFrame | None,
    verdict: Verdict,
    folder: Path,
    quick: bool,
    m: int | None = None,
    labels: Labels = NO_LABELS,
    appendix: Callable[[pd.DataFrame, Labels], str] | None = None,
) -> str:
    """Write README.md, table.md, table.csv, table.tex and the figures (png, svg) into `folder`.

    Returns table.md's text, which fits into another README. `labels` maps names of rules and attacks to
    what is printed, and verdicts to what they mean; `appendix` gives a section of the table's own, of the summary.
    Records outside the grid are left out. Where no cell has a published number, nothing speaks of a paper: no source,
    column, mark, difference or appendix. Raises UserError where quick and full runs are mixed, or where a
    cell has a seed twice.
    """
    used = _within(records, rules, attacks, alphas)
    _refuse_other(used, quick)
    summary = summarise(used, rules=rules, attacks=attacks, alphas=alphas, published=published, verdict=verdict, m=m)
    origin = provenance(used)
    common: dict[str, Any] = {"source": source, "origin": origin, "quick": quick, "labels": labels}
    body = to_markdown(summary, **common)
    table = f"**{title}**\n\n{body}"
    extra = appendix(summary, labels) if appendix and compared(summary) else ""
    pictures = _pictures(used, summary, quick, labels)
    shown = "\n".join(f"## {p.title}\n\n![{p.title}]({stem}.png)\n\n{p.text}\n" for stem, p in pictures.items())
    failed = _failed_within_bound(summary, labels) + _never_acted(summary, labels)
    files = {
        "table.md": table,
        "table.csv": to_csv(summary, origin=origin, quick=quick),
        "table.tex": to_tex(summary, title=title, **common),
        "README.md": f"# {title}\n\n{body}\n{failed}\n\n{shown}\n{extra}",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for stem in PICTURES:
        if stem in pictures:
            save(pictures[stem].figure, folder / stem)
        else:  # of an earlier report, which had it
            for kind in ("png", "svg"):
                (folder / f"{stem}.{kind}").unlink(missing_ok=True)
    for name, content in files.items():
        write_whole(folder / name, content.encode())
    return table


PICTURES = ("figure3", "differences", "accuracies")


class Picture(NamedTuple):
    """A figure with what a README says about it."""

    figure: Figure
    title: str
    text: str


def _pictures(records: Sequence[Record], summary: pd.DataFrame, quick: bool, labels: Labels) -> dict[str, Picture]:
    rules, attacks, alphas = (list(summary[key].unique()) for key in ("rule", "attack", "alpha"))
    found = {}
    if len(rules) * len(attacks) <= MOST_PANELS:
        curves = figure3(records, rules=rules, attacks=attacks, alphas=alphas, quick=quick, labels=labels)
        found["figure3"] = Picture(
            curves,
            "Test accuracy over epochs",
            "Attacks down, rules across, one curve per Byzantine share. Curves are means over seeds, bands their "
            "range, crosses the ends of diverged runs.",
        )
    if compared(summary):
        differences = heatmap(summary, quick=quick, labels=labels)
        text = "In points of test accuracy, per attack, rule and Byzantine share."
        found["differences"] = Picture(differences, "Ours minus the paper's", text)
    else:
        text = f"Attacks down, rules across. {BEYOND}: more attackers than the rule is proved for."
        text += f" {IDLE}: {NEVER}." * bool(summary["idle"].any())
        found["accuracies"] = Picture(
            accuracy_map(summary, quick=quick, labels=labels), "Test accuracy at the final epoch", text
        )
    return found


def _failed_within_bound(summary: pd.DataFrame, labels: Labels) -> str:
    """A sentence about cells that diverged although the rule is proved for that many attackers."""
    inside = summary[(summary["n"] > 0) & (summary["beyond_bound"] == False)]  # noqa: E712 (missing cells have neither)
    failed = inside[inside["n_diverged"] > 0]
    names = [f"{label(c['rule'], labels)} under {label(c['attack'], labels)}" for _, c in failed.iterrows()]
    return f"Of {len(inside)} cells with no more attackers than the rule is proved for, {len(failed)} diverged" + (
        f": {'; '.join(names)}." if names else "."
    )


def _never_acted(summary: pd.DataFrame, labels: Labels) -> str:
    """A sentence about cells in which a rule was the mean of what it got, whatever the attack."""
    cells = summary[summary["idle"]]
    names = [
        f"{label(c['rule'], labels)} under {label(c['attack'], labels)} ({percent(c['alpha'])})"
        for _, c in cells.iterrows()
    ]
    count = f"{len(names)} cell{'s' * (len(names) != 1)}"
    return f" In {count}, marked {IDLE}, {NEVER}: {'; '.join(names)}." if names else ""


def _within(
    records: Sequence[Record], rules: Sequence[str], attacks: Sequence[str], alphas: Sequence[float]
) -> list[Record]:
    """The records that some cell of the grid uses, each once, in their order."""
    used = {id(r) for cell in product(rules, attacks, alphas) for r in runs_of(records, *cell)}
    return [r for r in records if id(r) in used]


def _refuse_other(records: Sequence[Record], quick: bool) -> None:
    other = sum(r["quick"] != quick for r in records)
    if other:
        kind, wanted = ("full", "quick") if quick else ("quick", "full")
        raise UserError(
            f"{other} of {len(records)} records are {kind} runs, but this is a report of {wanted} runs. "
            "Give it one kind only."
        )


def inject(text: str, marker: str, block: str) -> str:
    """`text` with all between `<!-- TABLE:marker -->` and the next `<!-- /TABLE -->` replaced by `block`.

    Raises UserError unless the opening mark is there exactly once and a closing mark follows it.
    """
    opening, closing = f"<!-- TABLE:{marker} -->", "<!-- /TABLE -->"
    before, found, rest = text.partition(opening)
    _, closed, after = rest.partition(closing)
    if not (found and closed) or opening in rest:
        raise UserError(f"expected one {opening} and a {closing} after it. Add both where the table goes.")
    return f"{before}{opening}\n{block.strip()}\n{closing}{after}"
