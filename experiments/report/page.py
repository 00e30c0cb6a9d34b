"""Records to tables: a summary beside the paper's numbers, written as markdown, CSV, LaTeX and pictures.

Accuracies are percent on the test set at the final epoch; the best epoch is never reported. Every number
comes from the records given, so two reports of the same records are the same bytes.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from byzsim import Curve
from byzsim.experiments import files
from byzsim.experiments.errors import UserError
from byzsim.experiments.report.figures import (
    CHANCE,
    NO_LABELS,
    QUICK,
    Labels,
    Record,
    accuracy_map,
    figure3,
    heatmap,
    label,
    percent,
    runs_of,
    save,
    write_whole,
)
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

# (mean, sd, seeds, seeds that diverged, the paper's number), accuracies in percent -> the mark to print.
Verdict = Callable[[float, float, int, int, float], str]

BEYOND = "†"
IDLE = "°"
MISSING = "–"
MOST_PANELS = 60  # of a figure of curves; more could not be read
MARGIN = 1.0  # points; a smaller difference between two distances decides nothing

# ---------------------------------------------------------------------------------------------------------
# Summary
# ---------------------------------------------------------------------------------------------------------


def summarise(
    records: Sequence[Record],
    *,
    rules: Sequence[str],
    attacks: Sequence[str],
    alphas: Sequence[float],
    published: pd.DataFrame | None,
    verdict: Verdict,
    m: int | None = None,
) -> pd.DataFrame:
    """One row per (rule, attack, alpha), run or not; accuracies in percent, differences in points.

    Columns: rule, attack, alpha, n_byz, beyond_bound, n (seeds), n_diverged, mean and sd (ddof = 1) over the
    seeds that did not diverge, paper, difference (mean - paper), verdict, ids of the records. `verdict` is asked
    only about cells that were run and published; elsewhere it is "". n_byz of cells that were not run follows from
    `m`, the number of workers; idle: see `_is_idle`. Raises UserError where a cell has a seed twice.
    """
    paper = _paper(published)
    rows = [
        _cell(runs_of(records, rule, attack, alpha), rule, attack, alpha, paper, verdict)
        for rule, attack, alpha in product(rules, attacks, alphas)
    ]
    summary = pd.DataFrame(rows).astype({"n_byz": "Int64", "beyond_bound": "boolean"})
    return summary if m is None else summary.fillna({"n_byz": (summary["alpha"] * m).round().astype("Int64")})


def compared(summary: pd.DataFrame) -> bool:
    """Does any cell have a published number beside it?"""
    return bool(summary["paper"].notna().any())


def _paper(published: pd.DataFrame | None) -> dict[tuple[str, str, str], float]:
    """Published accuracies in percent by rule, attack and printed alpha."""
    if published is None:
        return {}
    rows = zip(*(published[c] for c in ("rule", "attack", "alpha", "accuracy")), strict=True)
    return {(rule, attack, percent(alpha)): float(accuracy) for rule, attack, alpha, accuracy in rows}


def _cell(
    runs: Sequence[Record], rule: str, attack: str, alpha: float, paper: Mapping, verdict: Verdict
) -> dict[str, Any]:
    _refuse_twins(runs)
    finals = [100 * r["final_accuracy"] for r in runs if not r["diverged"]]
    mean = statistics.fmean(finals) if finals else math.nan
    sd = statistics.stdev(finals) if len(finals) > 1 else math.nan
    n, lost = len(runs), len(runs) - len(finals)
    printed = paper.get((rule, attack, percent(alpha)), math.nan)
    return {
        "rule": rule,
        "attack": attack,
        "alpha": alpha,
        "n_byz": runs[0]["n_byz"] if runs else None,
        "beyond_bound": runs[0]["beyond_bound"] if runs else None,
        "idle": bool(runs) and all(map(_is_idle, runs)),
        "n": n,
        "n_diverged": lost,
        "mean": mean,
        "sd": sd,
        "paper": printed,
        "difference": mean - printed,
        "verdict": verdict(mean, sd, n, lost, printed) if runs and not math.isnan(printed) else "",
        "ids": " ".join(r["id"] for r in runs),
    }


def _is_idle(run: Record) -> bool:
    """Under attack all through a run, a rule that leaves workers out or shortens rows did neither: it was the mean.

    A rule that weighs workers, as the geometric median, is no mean without either: Byzantine weight is not their share.
    """
    dropped, kept, clipped = (run.get(name) for name in ("honest_dropped", "byz_kept", "clipped"))
    if run["alpha"] == 0 or (dropped is None and clipped is None):
        return False
    n_byz, share = run["n_byz"], run["n_byz"] / run["m"]
    of_the_mean = [(dropped or [], 0), (kept or [], n_byz), (clipped or [], 0), (run["byz_weight"], share)]
    gaps = [abs(value - mean) for values, mean in of_the_mean for value in values if value is not None]
    return bool(gaps) and max(gaps) < 1e-4  # no number at all: the run diverged in its first epoch


def _refuse_twins(runs: Sequence[Record]) -> None:
    """Two runs of one cell with the same seed differ in a setting: averaging them would mix experiments."""
    seen: dict[int, Record] = {}
    for run in runs:
        twin = seen.setdefault(run["seed"], run)
        if twin is not run:
            differ = ", ".join(k for k in _settings([twin]) if twin[k] != run.get(k)) or "no setting"
            raise UserError(
                f"two records of {run['rule']}, {run['attack']}, alpha {run['alpha']:g} have seed "
                f"{run['seed']} (they differ in {differ}). Keep one, or report the two settings apart."
            )


# ---------------------------------------------------------------------------------------------------------
# Provenance
# ---------------------------------------------------------------------------------------------------------

OUTCOMES = [*Curve._fields, "final_accuracy", "best_accuracy"]
CIRCUMSTANCES = ["table", "quick", "seed", "commit", "dirty", "versions", "device", "mode", "seconds", "time"]
DIRTY = " with uncommitted changes"


def _settings(records: Sequence[Record]) -> dict[str, Any]:
    """The settings (all a record holds but its outcome and circumstances) that the records agree on."""
    first = records[0]
    keys = [k for k in first if k not in OUTCOMES + CIRCUMSTANCES]
    return {k: first[k] for k in keys if all(k in r and r[k] == first[k] for r in records)}


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(v) for v in sorted(set(values))) or "none"


def provenance(records: Sequence[Record]) -> dict[str, str]:
    """What the records say of their origin, as printed: runs, seeds, epochs, commits, devices, versions..."""
    if not records:
        return {"Runs": "none yet"}
    return {
        "Runs": f"{len(records)} ({sum(r['seconds'] for r in records):,.0f} seconds in total)",
        "Seeds": _listed(r["seed"] for r in records),
        "Epochs": _listed(len(r["accuracy"]) for r in records),
        "Commits": _listed(f"{r['commit']}{DIRTY if r['dirty'] else ''}" for r in records),
        "Devices": _listed(f"{r['device']}{', ' + r['mode'] if 'mode' in r else ''}" for r in records),
        "Versions": _listed(f"{name} {v}" for r in records for name, v in r["versions"].items()),
        "Settings of all runs": ", ".join(f"{k} = {v}" for k, v in _settings(records).items()) or "none",
    }


# ---------------------------------------------------------------------------------------------------------
# Text
# ---------------------------------------------------------------------------------------------------------


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
    lines += [_row(table.columns), _row(["---"] * len(table.columns)), *map(_row, table.to_numpy()), ""]
    lines += [f"- {line}" for line in legend(summary, labels)]
    lines += ["", "; ".join(f"{k}: {v}" for k, v in origin.items()) + ".", ""]
    return "\n".join(lines)


def _row(words: Iterable[str]) -> str:
    return "| " + " | ".join(word.replace("|", "\\|") for word in words) + " |"


def to_csv(summary: pd.DataFrame, *, origin: Mapping[str, str], quick: bool) -> str:
    """The tidy summary; every row also says whether it is quick and where it comes from."""
    kept = {k.lower(): v for k, v in origin.items() if k in ("Seeds", "Commits", "Devices", "Versions")}
    tidy = summary.round(dict.fromkeys(("mean", "sd", "paper", "difference"), 4))
    if not compared(summary):
        tidy = tidy.drop(columns=["paper", "difference", "verdict"])
    return files.text(tidy.assign(run=QUICK if quick else "full", **kept))


TEX = {
    **{c: f"\\{c}" for c in "%_&#${}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "−": "$-$",
    "≈": r"$\approx$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "α": r"$\alpha$",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    BEYOND: r"$^\dagger$",
    IDLE: r"$^\circ$",
    MISSING: "--",
}


def _tex(text: str) -> str:
    """Escaped for pdfLaTeX, which knows European letters; what it does not know becomes "?"."""
    return "".join(TEX.get(c, c if ord(c) < 0x180 else "?") for c in text)


def to_tex(
    summary: pd.DataFrame, *, title: str, source: str, origin: Mapping[str, str], quick: bool, labels: Labels
) -> str:
    """A complete `table` environment; a rule between attacks, legend below, provenance in comments."""
    table = grid(summary, labels)
    caption = f"{QUICK}. {title}" if quick else title
    caption += f". Source of the paper's numbers: {source}." if compared(summary) else "."
    return "\n".join(
        [
            "% Needs the packages booktabs, amssymb (check marks) and graphicx (to fit the line).",
            *(f"% {k}: {v}" for k, v in origin.items()),
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{_tex(caption)}}}",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{ll{'r' * (len(table.columns) - 2)}}}",
            r"\toprule",
            " & ".join(map(_tex, table.columns)) + r" \\",
            r"\midrule",
            *_tex_rows(table),
            r"\bottomrule",
            r"\end{tabular}}",
            rf"\par\smallskip\footnotesize {_tex(' '.join(legend(summary, labels)))}",
            r"\end{table}",
            "",
        ]
    )


def _tex_rows(table: pd.DataFrame) -> list[str]:
    lines = []
    for _, rows in table.groupby("Attack", sort=False):
        lines += [" & ".join(map(_tex, row)) + r" \\" for row in rows.to_numpy()] + [r"\midrule"]
    return lines[:-1]


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


# ---------------------------------------------------------------------------------------------------------
# Are two published rows exchanged?
# ---------------------------------------------------------------------------------------------------------


class SwapTest(NamedTuple):
    """`table`: one row for all rules and one per rule, distances in points; `conclusion`: a sentence."""

    table: pd.DataFrame
    conclusion: str


def swap_test(
    summary: pd.DataFrame, row_a: str = "scaling", row_b: str = "label_flip", labels: Labels = NO_LABELS
) -> SwapTest:
    """Is our table nearer to the published one as printed, or with the rows of two attacks exchanged?

    Over the cells of both attacks that the paper has, but alpha = 0: there both of ours are the same run,
    as far from one row as from the other. Distances are the mean absolute (mad) and the root mean square
    (rms) difference in points; a diverged run counts as chance level, 10 %. A rule is decided only if no
    cell is missing, both distances agree, and the mads are at least 1 point apart.
    """
    cells = _pairs(summary, row_a, row_b)
    parts = {"all": cells} | dict(iter(cells.groupby("rule", sort=False)))
    table = pd.DataFrame([{"rule": str(rule), **_distances(part)} for rule, part in parts.items()])
    return SwapTest(table, _conclude(table, label(row_a, labels), label(row_b, labels), labels))


def _pairs(summary: pd.DataFrame, row_a: str, row_b: str) -> pd.DataFrame:
    """Columns rule, ours (NaN if not run), printed, exchanged; a row per cell with both published numbers."""
    published = summary.set_index(["rule", "alpha", "attack"])["paper"]
    lost = (summary["n_diverged"] / summary["n"]).where(summary["n"] > 0)
    ours = summary["mean"].fillna(0) * (1 - lost) + CHANCE * lost
    cells = summary.assign(ours=ours, printed=summary["paper"])
    cells = cells[cells["attack"].isin([row_a, row_b]) & (cells["alpha"] > 0)]
    other = {row_a: row_b, row_b: row_a}
    keys = zip(cells["rule"], cells["alpha"], cells["attack"].map(other), strict=True)
    cells = cells.assign(exchanged=[published.get(key, math.nan) for key in keys])
    return cells.dropna(subset=["printed", "exchanged"])[["rule", "ours", "printed", "exchanged"]]


def _distances(cells: pd.DataFrame) -> dict[str, Any]:
    gaps = {row: (cells["ours"] - cells[row]).dropna() for row in ("printed", "exchanged")}
    out: dict[str, Any] = {"cells": len(cells), "missing": int(cells["ours"].isna().sum())}
    out |= {f"mad_{row}": gap.abs().mean() for row, gap in gaps.items()}
    out |= {f"rms_{row}": np.sqrt((gap**2).mean()) for row, gap in gaps.items()}
    mad, rms = (out[f"{d}_printed"] - out[f"{d}_exchanged"] for d in ("mad", "rms"))
    decided = out["missing"] == 0 and abs(mad) >= MARGIN and mad * rms > 0
    return out | {"nearer": ("exchanged" if mad > 0 else "as printed") if decided else "cannot tell"}


def _conclude(table: pd.DataFrame, a: str, b: str, labels: Labels) -> str:
    whole, rules = table.iloc[0], table.iloc[1:]
    undecided = f"Whether the rows {a} and {b} are exchanged: cannot tell"
    if whole["cells"] == 0:
        return f"{undecided}, the paper has no cells of both."
    if whole["missing"]:
        return f"{undecided}, {whole['missing']} of {whole['cells']} cells are not run."
    nearer = f"Our rows {a} and {b} are nearer to the published ones"
    verdicts = {
        "exchanged": f"{nearer} exchanged than as printed",
        "as printed": f"{nearer} as printed than exchanged",
        "cannot tell": undecided,
    }
    by_rule = ", ".join(f"{label(r['rule'], labels)} {r['nearer']}" for _, r in rules.iterrows())
    return (
        f"{verdicts[whole['nearer']]}: mean absolute difference {whole['mad_printed']:.1f} points as printed "
        f"and {whole['mad_exchanged']:.1f} exchanged (RMS {whole['rms_printed']:.1f} and "
        f"{whole['rms_exchanged']:.1f}) over {whole['cells']} cells, diverged runs counted as chance level, "
        f"{CHANCE:g} %; by rule: {by_rule}."
    )


def _swap_section(test: SwapTest, labels: Labels) -> str:
    table = test.table.round(1).astype(object).fillna(MISSING)
    table["rule"] = [label(rule, labels) for rule in table["rule"]]
    head = ["Rules", "Cells", "Not run", "MAD printed", "exchanged", "RMS printed", "exchanged", "Nearer"]
    rows = [_row(map(str, row)) for row in [head, ["---"] * len(head), *table.to_numpy()]]
    return "\n".join(["## Are two rows of the paper exchanged?", "", test.conclusion, "", *rows, ""])


# ---------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------


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
    swap: tuple[str, str] | None = None,
) -> str:
    """Write README.md, table.md, table.csv, table.tex and the figures (png, svg) into `folder`.

    Returns table.md's text, which fits into another README. `labels` maps names of rules and attacks to
    what is printed, and verdicts to what they mean; `swap` names two attacks whose published rows may be
    exchanged. Records outside the grid are left out. Where no cell has a published number, nothing speaks of a paper:
    no source, column, mark, difference or exchange. Raises UserError where quick and full runs are mixed, or where a
    cell has a seed twice.
    """
    used = _within(records, rules, attacks, alphas)
    _refuse_other(used, quick)
    summary = summarise(used, rules=rules, attacks=attacks, alphas=alphas, published=published, verdict=verdict, m=m)
    origin = provenance(used)
    common: dict[str, Any] = {"source": source, "origin": origin, "quick": quick, "labels": labels}
    body = to_markdown(summary, **common)
    table = f"**{title}**\n\n{body}"
    both = swap is not None and compared(summary) and {*swap} <= {*attacks}
    extra = _swap_section(swap_test(summary, *swap, labels=labels), labels) if swap and both else ""
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
