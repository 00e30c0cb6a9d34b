"""A summary as printed: markdown, CSV, and on a terminal."""

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
    """Ours as printed; `most` is the largest number of seeds of any cell, and fewer than that is said."""
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


def grid(summary: pd.DataFrame, labels: Labels = NO_LABELS) -> pd.DataFrame:
    """The summary as printed: a row per attack and alpha, a column per rule. All strings."""
    most = summary["n"].max()
    rows = []
    for _, cells in summary.groupby(["attack", "alpha"], sort=False):
        first, n_byz = cells.iloc[0], cells["n_byz"].max()
        share = percent(first["alpha"]) + ("" if pd.isna(n_byz) else f" ({n_byz})")
        ours = {label(cell["rule"], labels): _cell_text(cell, most) for _, cell in cells.iterrows()}
        rows.append({"Attack": label(first["attack"], labels), "α": share} | ours)
    return pd.DataFrame(rows)


PAIR = "ours / the paper's, "
NEVER = "in no step of any run did the rule leave anybody out or shorten a row"


def legend(summary: pd.DataFrame, labels: Labels = NO_LABELS) -> list[str]:
    """A sentence for every mark the printed table can show."""
    verdicts = [v for v in summary["verdict"].unique() if v in labels]
    beside, spread = compared(summary), "mean ± sample standard deviation over seeds; without ±, one seed finished."
    return [
        f"Cells: {PAIR if beside else ''}test accuracy in percent at the final epoch.",
        "α: the share of workers that attack (in brackets, how many).",
        f"Ours: {spread}" if beside else spread.capitalize(),
        '"diverged": parameters became non-finite in every run; "(1 of 3 diverged)": mean over the others.',
        '"(n = 2)": fewer seeds than elsewhere.',
        f"{BEYOND}: more attackers than the rule is proved for. {MISSING}: not run.",
        *[f"{IDLE}: {NEVER}: it was the mean. Its thresholds may be too large for these gradients."]
        * bool(summary["idle"].any()),
        *["No slash: the paper has no number."] * beside,
        *(f"{v}: {labels[v]}." for v in verdicts),
    ]


def to_markdown(summary: pd.DataFrame, *, source: str, origin: Mapping[str, str], quick: bool, labels: Labels) -> str:
    """Table, legend and provenance, without a heading, so that it fits any README."""
    table = grid(summary, labels)
    lines = [f"> **{QUICK}.** Shortened runs that only show that everything works.", ""] if quick else []
    lines += [f"Source of the paper's numbers: {source}.", ""] if compared(summary) else []
    lines += [files.markdown_table(table.columns, table.to_numpy()), ""]
    lines += [f"- {line}" for line in legend(summary, labels)]
    lines += ["", "; ".join(f"{k}: {v}" for k, v in origin.items()) + ".", ""]
    return "\n".join(lines)


def to_csv(summary: pd.DataFrame, *, origin: Mapping[str, str], quick: bool) -> str:
    """The tidy summary; every row also says whether it is quick and where it comes from."""
    kept = {k.lower(): v for k, v in origin.items() if k in ("Seeds", "Commits", "Devices", "Versions")}
    tidy = summary.round(dict.fromkeys(("mean", "sd", "paper", "difference"), 4))
    if not compared(summary):
        tidy = tidy.drop(columns=["paper", "difference", "verdict"])
    return files.csv(tidy.assign(run=QUICK if quick else "full", **kept))


def print_table(
    summary: pd.DataFrame, console: Console, *, title: str = "", quick: bool = False, labels: Labels = NO_LABELS
) -> None:
    """The same table and legend on a terminal."""
    printed = grid(summary, labels)
    if title:
        console.print(title, markup=False, highlight=False)
    table = Table(title=QUICK if quick else None, title_style="bold red")
    for column in printed.columns:
        table.add_column(column, overflow="fold")
    for _, rows in printed.groupby("Attack", sort=False):
        for row in rows.to_numpy():
            table.add_row(*row)
        table.add_section()
    console.print(table)
    console.print(*legend(summary, labels), sep="\n", markup=False, highlight=False)
