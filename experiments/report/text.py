"""A summary as printed: markdown, CSV, and a terminal table."""

import dataclasses
import math
from collections.abc import Mapping

import pandas as pd
from byzsim.experiments import files
from byzsim.experiments.plan import NO_LABELS, Labels, label
from byzsim.experiments.report.summary import QUICK, compared, percent
from rich.console import Console
from rich.table import Table

BEYOND = "†"
IDLE = "°"
MISSING = "–"


def accuracy_text(cell: pd.Series, most: int) -> str:
    """A cell's accuracy as printed, with its number of seeds if that is below `most`, the largest of any cell."""
    if cell["n"] == 0:
        return MISSING
    finished = cell["n"] - cell["n_diverged"]
    text = "diverged" if finished == 0 else f"{cell['mean']:.1f}"
    if finished > 1:
        text += f" ± {cell['sd']:.1f}"
    if 0 < cell["n_diverged"] < cell["n"]:
        text += f" ({cell['n_diverged']} of {cell['n']} diverged)"
    elif cell["n"] < most:
        text += f" (n = {cell['n']})"
    return text + (BEYOND if cell["beyond_bound"] else "") + (IDLE if cell["idle"] else "")


def _cell_text(cell: pd.Series, most: int) -> str:
    paper = "" if math.isnan(cell["paper"]) else f" / {cell['paper']:.2f}"
    return f"{accuracy_text(cell, most)}{paper} {cell['verdict']}".rstrip()


def printed_grid(summary: pd.DataFrame, labels: Labels = NO_LABELS) -> pd.DataFrame:
    """The summary as strings: one row for each attack and alpha, one column for each rule."""
    most = summary["n"].max()
    rows = []
    for _, cells in summary.groupby(["attack", "alpha"], sort=False):
        first, n_byz = cells.iloc[0], cells["n_byz"].max()
        share = percent(first["alpha"]) + ("" if pd.isna(n_byz) else f" ({n_byz})")
        ours = {label(cell["rule"], labels): _cell_text(cell, most) for _, cell in cells.iterrows()}
        rows.append({"Attack": label(first["attack"], labels), "α": share} | ours)
    return pd.DataFrame(rows)


NEVER = "the rule dropped no worker and shortened no row in any step of any run"


def legend(summary: pd.DataFrame, labels: Labels = NO_LABELS) -> list[str]:
    """One sentence for each mark that the printed table can have."""
    verdicts = [v for v in summary["verdict"].unique() if v in labels]
    has_paper, spread = compared(summary), "mean ± sample standard deviation over seeds; without ±, one seed finished."
    return [
        f"Cells: {'ours / the paper, ' * has_paper}test accuracy in percent at the final epoch.",
        "α: the fraction of workers that are Byzantine (their number in brackets).",
        f"Ours: {spread}" if has_paper else spread.capitalize(),
        '"diverged": parameters became non-finite in every run; "(1 of 3 diverged)": mean over the remaining runs.',
        '"(n = 2)": fewer seeds than in other cells.',
        f"{BEYOND}: more Byzantine workers than the rule's guarantee covers. {MISSING}: not run.",
        *[f"{IDLE}: {NEVER}, so it was the mean. Its thresholds may be too large for these gradients."]
        * bool(summary["idle"].any()),
        *["No slash: the paper has no number."] * has_paper,
        *(f"{v}: {labels[v]}." for v in verdicts),
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wording:
    """The words of a report beside its numbers."""

    title: str = ""
    source: str = ""
    """of the published numbers"""
    quick: bool = False
    """whether the runs are shortened, which every file then says"""
    labels: Labels = dataclasses.field(default_factory=dict)
    """how names of rules, attacks and verdicts are printed"""


def to_markdown(summary: pd.DataFrame, wording: Wording, origin: Mapping[str, str]) -> str:
    """Table, legend and provenance, without a heading, so that the text fits into any page."""
    table = printed_grid(summary, wording.labels)
    lines = [f"> **{QUICK}.** Shortened runs that only show that everything works.", ""] if wording.quick else []
    lines += [f"Source of the paper's numbers: {wording.source}.", ""] if compared(summary) else []
    lines += [files.markdown_table(table.columns, table.to_numpy()), ""]
    lines += [f"- {line}" for line in legend(summary, wording.labels)]
    lines += ["", "; ".join(f"{k}: {v}" for k, v in origin.items()) + ".", ""]
    return "\n".join(lines)


def to_csv(summary: pd.DataFrame, *, origin: Mapping[str, str], quick: bool) -> str:
    """The summary as tidy CSV; every row has the kind of run and the origin of its records."""
    kept = {k.lower(): v for k, v in origin.items() if k in ("Seeds", "Commits", "Devices", "Versions")}
    tidy = summary.round(dict.fromkeys(("mean", "sd", "paper", "difference"), 4))
    if not compared(summary):
        tidy = tidy.drop(columns=["paper", "difference", "verdict"])
    return files.csv(tidy.assign(run=QUICK if quick else "full", **kept))


def print_table(summary: pd.DataFrame, console: Console, wording: Wording) -> None:
    """Print the table and its legend on a terminal."""
    printed = printed_grid(summary, wording.labels)
    if wording.title:
        console.print(wording.title, markup=False, highlight=False)
    table = Table(title=QUICK if wording.quick else None, title_style="bold red")
    for column in printed.columns:
        table.add_column(column, overflow="fold")
    for _, rows in printed.groupby("Attack", sort=False):
        for row in rows.to_numpy():
            table.add_row(*row)
        table.add_section()
    console.print(table)
    console.print(*legend(summary, wording.labels), sep="\n", markup=False, highlight=False)
