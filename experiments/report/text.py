"""A summary as printed: markdown, CSV, and a terminal table."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import pandas as pd
from byzsim.experiments import files, plan
from byzsim.experiments.plan import NO_LABELS, WORST, Label, Labels, label
from byzsim.experiments.plan.table import in_percent
from byzsim.experiments.report.summary import QUICK, compared, percent
from rich.console import Console
from rich.table import Table

BEYOND = "†"
IDLE = "°"
MISSING = "–"


def number_text(value: float, metric: str, digits: int = 1) -> str:
    """A number of a metric as printed: percentages with `digits` after the point, others with four in all."""
    return f"{value:.{digits}f}" if in_percent(metric) else f"{value:.4g}"


def ours_text(cell: pd.Series, most: int, metric: str = "accuracy") -> str:
    """A cell's number as printed, with its number of seeds if that is below `most`, the largest of any cell."""
    if cell["n"] == 0:
        return MISSING
    finished = cell["n"] - cell["n_diverged"]
    text = "diverged" if finished == 0 else number_text(cell["mean"], metric)
    if finished > 1:
        text += f" ± {number_text(cell['sd'], metric)}"
    if 0 < cell["n_diverged"] < cell["n"]:
        text += f" ({cell['n_diverged']} of {cell['n']} diverged)"
    elif cell["n"] < most:
        text += f" (n = {cell['n']})"
    return text + (BEYOND if cell["beyond_bound"] else "") + (IDLE if cell["idle"] else "")


def _cell_text(cell: pd.Series, most: int, metric: str) -> str:
    paper = "" if math.isnan(cell["paper"]) else f" / {number_text(cell['paper'], metric, 2)}"
    if paper and not math.isnan(cell.get("paper_sd", math.nan)):
        paper += f" ± {number_text(cell['paper_sd'], metric, 2)}"
    return f"{ours_text(cell, most, metric)}{paper} {cell['verdict']}".rstrip()


AXES = {"alpha": "α"}


def axis_text(name: str, labels: Labels) -> str:
    """The name of an axis as printed."""
    text = label(name)
    # an option, and a symbol such as d, are printed as they are written
    plain = name if "." in name or len(name) == 1 else text[:1].upper() + text[1:]
    return labels.get(name, AXES.get(name, plain))


def setting_text(name: str, setting: Label, labels: Labels) -> str:
    """A setting of an axis as printed."""
    return percent(setting) if name == "alpha" and isinstance(setting, int | float) else label(setting, labels)


def _column(cell: pd.Series, columns: Sequence[str], table: plan.Table, labels: Labels) -> str:
    """The heading of a cell's column."""
    texts = {name: setting_text(name, cell[name], labels) for name in columns}
    words = [
        text if isinstance(cell[name], str) else f"{AXES.get(name, name)} = {text}" for name, text in texts.items()
    ]
    return ", ".join(words) or axis_text(table.metric, labels)


def printed_grids(summary: pd.DataFrame, table: plan.Table, labels: Labels = NO_LABELS) -> dict[str, pd.DataFrame]:
    """The summary as strings: for each panel, "" without one, a row and a column for each setting of these axes."""
    panels = list(table.places[2])
    parts = summary.groupby(panels, sort=False) if panels else [((), summary)]
    return {
        ", ".join(f"{axis_text(name, labels)}: {setting_text(name, part.iloc[0][name], labels)}" for name in panels):
        _grid(part, table, labels) for _, part in parts
    }  # fmt: skip


def _grid(summary: pd.DataFrame, table: plan.Table, labels: Labels) -> pd.DataFrame:
    row_names, columns, _ = table.places
    rows, most = [], summary["n"].max()
    for _, cells in summary.groupby(list(row_names), sort=False) if row_names else [((), summary)]:
        row = {axis_text(name, labels): setting_text(name, cells.iloc[0][name], labels) for name in row_names}
        if "alpha" in row_names:
            row[axis_text("alpha", labels)] += f" ({cells['n_byz'].max()})"
        for _, cell in cells.iterrows():
            row[_column(cell, columns, table, labels)] = _cell_text(cell, most, table.metric)
        rows.append(row)
    return pd.DataFrame(rows).fillna("")  # a position that `where` leaves out


NEVER = "the rule dropped no worker and shortened no row in any step of any run"


def _measured(table: plan.Table) -> str:
    """The number of a cell, in words."""
    what = "test accuracy in percent" if table.metric == "accuracy" else label(table.metric)
    what += ", in percent" if in_percent(table.metric) and table.metric != "accuracy" else ""
    last = table.number.removeprefix("mean_last_")
    in_steps = {"total_steps", "eval_every"} & {*table.base, *itertools.chain(*(each.fields for each in table.axes))}
    when = {"last": "at the end" if in_steps else "at the final epoch", "best": "the best of all measurements"}
    words = (
        f"{what} {when['last']}"
        if table.number == "last"
        else f"{what}, {when.get(last, f'mean of the last {last} measurements')}"
    )
    return words + ("; lower is better" if table.lower_is_better else "")


def legend(summary: pd.DataFrame, table: plan.Table, labels: Labels = NO_LABELS) -> list[str]:
    """One sentence for each mark that the printed table can have."""
    verdicts = [v for v in summary["verdict"].unique() if v in labels]
    has_paper, spread = compared(summary), "mean ± sample standard deviation over seeds; without ±, one seed finished."
    alpha = "α: the fraction of workers that are Byzantine (their number in brackets)."
    worst = f"{WORST}: the worst over {label(str(table.worst_over), labels)}, of the means over seeds."
    return [
        f"Cells: {'ours / the paper, ' * has_paper}{_measured(table)}.",
        *[alpha] * ("alpha" in table.places[0]),
        *[worst] * bool(table.worst_over),
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


def to_markdown(summary: pd.DataFrame, table: plan.Table, wording: Wording, origin: Mapping[str, str]) -> str:
    """Table, legend and provenance, without a heading, so that the text fits into any page."""
    lines = [f"> **{QUICK}.** Shortened runs that only show that everything works.", ""] if wording.quick else []
    lines += [f"Source of the paper's numbers: {wording.source}.", ""] if compared(summary) else []
    for panel, printed in printed_grids(summary, table, wording.labels).items():
        lines += [f"**{panel}**", ""] * bool(panel) + [files.markdown_table(printed.columns, printed.to_numpy()), ""]
    lines += [f"- {line}" for line in legend(summary, table, wording.labels)]
    lines += ["", "; ".join(f"{k}: {v}" for k, v in origin.items()) + ".", ""]
    return "\n".join(lines)


def to_csv(summary: pd.DataFrame, table: plan.Table, *, origin: Mapping[str, str], quick: bool) -> str:
    """The summary as tidy CSV; every row has the kind of run and the origin of its records."""
    kept = {k.lower(): v for k, v in origin.items() if k in ("Seeds", "Commits", "Devices", "Versions")}
    tidy = summary.round(dict.fromkeys(("mean", "sd", "paper", "difference"), 4))
    if not compared(summary):
        tidy = tidy.drop(columns=["paper", "difference", "verdict"])
    return files.csv(tidy.assign(run=QUICK if quick else "full", **kept), axes=table.shown)


def print_table(summary: pd.DataFrame, table: plan.Table, console: Console, wording: Wording) -> None:
    """Print the table and its legend on a terminal."""
    if wording.title:
        console.print(wording.title, markup=False, highlight=False)
    for panel, printed in printed_grids(summary, table, wording.labels).items():
        if panel:
            console.print(panel, markup=False, highlight=False)
        shown = Table(title=QUICK if wording.quick else None, title_style="bold red")
        for column in printed.columns:
            shown.add_column(column, overflow="fold")
        for rows in sections(printed, table):
            for row in rows.to_numpy():
                shown.add_row(*row)
            shown.add_section()
        console.print(shown)
    console.print(*legend(summary, table, wording.labels), sep="\n", markup=False, highlight=False)


def sections(printed: pd.DataFrame, table: plan.Table) -> list[pd.DataFrame]:
    """The rows in the parts between which a line is drawn: those of one setting of the first of several row axes."""
    if len(table.places[0]) < 2:
        return [printed]
    return [rows for _, rows in printed.groupby(printed.columns[0], sort=False)]
