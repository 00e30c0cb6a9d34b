"""The figures of a table: accuracy curves, a map of accuracies, and a map of the differences to the paper.

Only Matplotlib's object interface is used: without pyplot there is no global figure, no display and nothing to close.
Colours are those of Okabe and Ito, or a purple-orange scale; line styles, markers and numbers repeat their meaning.
"""

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from byzsim.experiments.files import write_whole
from byzsim.experiments.plan import NO_LABELS, Labels, label
from byzsim.experiments.report.summary import QUICK, Record, percent, runs_of
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

CHANCE = 10.0  # percent: ten classes, equally frequent
LIMIT = 20.0  # points; the difference at which the map's colour scale ends
SCALE = ScalarMappable(Normalize(-LIMIT, LIMIT), "PuOr")
ACCURACY = ScalarMappable(Normalize(0, 100), "viridis")
# One for each alpha, in order: the first (no attack) is solid black; all differ in colour, dashes and marker.
STYLES: list[dict[str, Any]] = [
    {"color": "#000000", "linestyle": "-", "marker": "o"},
    {"color": "#0072B2", "linestyle": "--", "marker": "s"},
    {"color": "#009E73", "linestyle": "-.", "marker": "^"},
    {"color": "#E69F00", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "D"},
    {"color": "#D55E00", "linestyle": ":", "marker": "v"},
    {"color": "#CC79A7", "linestyle": (0, (8, 2)), "marker": "P"},
]
DIVERGED: dict[str, Any] = {"marker": "x", "markersize": 8, "markeredgewidth": 1.8, "linestyle": "none"}


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png (160 dots per inch) and `stem`.svg; the same figure gives the same bytes."""
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    for path in paths:
        buffer = io.BytesIO()
        kind = path.suffix[1:]
        undated = {"Date": None} if kind == "svg" else {}
        with mpl.rc_context({"svg.hashsalt": "byzsim"}):
            figure.savefig(buffer, format=kind, dpi=160, metadata=undated)
        write_whole(path, buffer.getvalue())
    return paths


def mark_quick(figure: Figure, quick: bool) -> None:
    """Add a banner to a figure of shortened runs. Its gid can be found in the SVG, whose text is drawn as paths."""
    if quick:
        band = {"facecolor": "#D55E00", "edgecolor": "none", "pad": 3}
        figure.suptitle(QUICK, fontsize=18, weight="bold", color="white", bbox=band, gid="quick")


def accuracy_curves(
    records: Sequence[Record],
    *,
    rules: Sequence[str],
    attacks: Sequence[str],
    alphas: Sequence[float],
    quick: bool,
    labels: Labels = NO_LABELS,
) -> Figure:
    """Test accuracy (%) over epochs: a row for each attack, a column for each rule, a curve for each alpha.

    A curve is the mean over the runs that are still finite, its band their range. A run that diverges ends in a cross,
    at its last finite accuracy, or at zero in the first epoch if it has none. The layout of BrSGD's Figure 3.
    """
    size = (max(6.5, 1.2 + 2.3 * len(rules)), 1.2 + 1.8 * len(attacks))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(attacks), len(rules), sharex=True, sharey=True, squeeze=False)
    for axis, (attack, rule) in zip(grid.flat, itertools.product(attacks, rules), strict=True):
        _panel(axis, records, rule, attack, alphas)
    for axis, rule in zip(grid[0], rules, strict=True):
        axis.set_title(label(rule, labels), weight="bold")
    for axis, attack in zip(grid[:, 0], attacks, strict=True):
        axis.set_ylabel(label(attack, labels), weight="bold")
    for axis in grid[-1]:
        axis.set_xlabel("Epoch")
    grid[0, 0].xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))  # the axes share it
    figure.supylabel("Test accuracy (%)")
    figure.legend(handles=_legend(alphas), loc="outside lower center", ncols=4, frameon=False)
    mark_quick(figure, quick)
    return figure


def _panel(axis: Axes, records: Sequence[Record], rule: str, attack: str, alphas: Sequence[float]) -> None:
    axis.axhline(CHANCE, color="0.5", linewidth=0.8)
    axis.set_ylim(0, 100)
    axis.grid(color="0.92")
    for place, (alpha, style) in enumerate(zip(alphas, itertools.cycle(STYLES), strict=False)):
        runs = runs_of(records, rule, attack, alpha)
        if runs:
            _curve(axis, runs, style, place / len(alphas))


def _accuracies(runs: Sequence[Record]) -> np.ndarray:
    """Test accuracy in percent, (epochs, runs); NaN after divergence and after the end of a shorter run."""
    rows = list(itertools.zip_longest(*(r["accuracy"] for r in runs), fillvalue=None))
    return 100 * np.array(rows, dtype=float).reshape(-1, len(runs))


def _curve(axis: Axes, runs: Sequence[Record], style: dict[str, Any], shift: float) -> None:
    """Draw mean, range and crosses of one cell; `shift` in [0, 1) separates markers and nests crosses."""
    curves = _accuracies(runs)
    alive = np.isfinite(curves).any(axis=1)
    epochs, seen = np.flatnonzero(alive) + 1, curves[alive]
    every = max(1, len(epochs) // 5)
    mean = np.nanmean(seen, axis=1) if len(seen) else seen[:, 0]
    axis.plot(epochs, mean, **style, linewidth=1.4, markersize=4, markevery=(int(shift * every), every))
    if len(runs) > 1 and len(seen):
        low, high = np.nanmin(seen, axis=1), np.nanmax(seen, axis=1)
        axis.fill_between(epochs, low, high, color=style["color"], alpha=0.2, linewidth=0)
    for curve in curves.T[[r["diverged"] for r in runs]]:
        look: dict[str, Any] = DIVERGED | {"color": style["color"], "markersize": 15 - 7 * shift}
        axis.plot(*_end(curve), **look, clip_on=False, zorder=5)


def _end(curve: np.ndarray) -> tuple[float, float]:
    """Epoch (from 1) and value of the last finite point; (1, 0) if there is none."""
    finite = np.flatnonzero(np.isfinite(curve))
    return (finite[-1] + 1.0, curve[finite[-1]]) if len(finite) else (1.0, 0.0)


def _legend(alphas: Sequence[float]) -> list[Line2D]:
    curves = [
        Line2D([], [], **style, markersize=4, label=f"α = {percent(alpha)}")
        for alpha, style in zip(alphas, itertools.cycle(STYLES), strict=False)
    ]
    chance = Line2D([], [], color="0.5", linewidth=0.8, label=f"chance ({CHANCE:g} %)")
    return [*curves, Line2D([], [], color="0.3", **DIVERGED, label="diverged"), chance]


def difference_map(summary: pd.DataFrame, *, quick: bool, labels: Labels = NO_LABELS) -> Figure:
    """Our accuracy minus the paper's in points: a panel for each rule, a row for each attack, a column for each alpha.

    Hatched: the paper has no number; "div.": all our runs diverged; "*": some diverged; "–": not run. The colour scale
    ends at 20 points in both directions; the printed numbers do not.
    """
    rules, attacks = list(summary["rule"].unique()), list(summary["attack"].unique())
    alphas = list(summary["alpha"].unique())
    size = (max(9.5, 2.2 + 0.46 * len(rules) * len(alphas)), 2.1 + 0.45 * len(attacks))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(rules), sharey=True, squeeze=False)[0]
    for axis, rule in zip(panels, rules, strict=True):
        axis.set_title(label(rule, labels), weight="bold")
        axis.set_xticks(range(len(alphas)), [f"{100 * a:.4g}" for a in alphas])
        axis.set_yticks(range(len(attacks)), [label(a, labels) for a in attacks])
        axis.set(xlim=(-0.5, len(alphas) - 0.5), ylim=(len(attacks) - 0.5, -0.5))
        axis.tick_params(length=0)
        axis.set_xlabel("Byzantine fraction α (%)")
        for _, cell in summary[summary["rule"] == rule].iterrows():
            _tile(axis, alphas.index(cell["alpha"]), attacks.index(cell["attack"]), cell)
    bar = figure.colorbar(SCALE, ax=list(panels), extend="both", fraction=0.03, pad=0.01)
    bar.set_label("ours − paper (points)")
    figure.legend(handles=_difference_legend(), loc="outside lower center", ncols=4, frameon=False, handletextpad=0.4)
    mark_quick(figure, quick)
    return figure


def accuracy_map(summary: pd.DataFrame, *, quick: bool, labels: Labels = NO_LABELS) -> Figure:
    """Test accuracy (%) without published numbers: a panel for each alpha, attacks as rows, rules as columns.

    "div.": all runs diverged; "–": not run; "†": beyond the rule's guarantee; "°": the rule dropped no worker and
    shortened no row.
    """
    rules, attacks = list(summary["rule"].unique()), list(summary["attack"].unique())
    alphas = list(summary["alpha"].unique())
    # A letter of a name is about 0.08 inches wide, a panel's title 1.8 inches.
    across, down = (0.08 * max(len(label(name, labels)) for name in names) for names in (attacks, rules))
    width = max(2.5, 1.3 + across) + max(0.42 * len(rules), 1.8)
    size = (width, len(alphas) * (max(1.6, 0.6 + down) + 0.32 * len(attacks)))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(alphas), 1, squeeze=False)[:, 0]
    for axis, alpha in zip(panels, alphas, strict=True):
        axis.set_title(f"Byzantine fraction α = {percent(alpha)}", weight="bold")
        axis.set_xticks(range(len(rules)), [label(rule, labels) for rule in rules], rotation=90)
        axis.set_yticks(range(len(attacks)), [label(attack, labels) for attack in attacks])
        axis.set(xlim=(-0.5, len(rules) - 0.5), ylim=(len(attacks) - 0.5, -0.5))
        axis.tick_params(length=0)
        for _, cell in summary[summary["alpha"] == alpha].iterrows():
            _accuracy_tile(axis, rules.index(cell["rule"]), attacks.index(cell["attack"]), cell)
    bar = figure.colorbar(ACCURACY, ax=list(panels), fraction=0.03, pad=0.01)
    bar.set_label("test accuracy (%)")
    mark_quick(figure, quick)
    return figure


def _accuracy_tile(axis: Axes, x: int, y: int, cell: pd.Series) -> None:
    known = not np.isnan(cell["mean"])
    fill = mpl.colors.to_hex(tuple(ACCURACY.to_rgba(np.array(cell["mean"])))) if known else "white"
    axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=fill, edgecolor="0.8", linewidth=0.5))
    words = f"{cell['mean']:.0f}" if known else ("div." if cell["n"] else "–")
    words += "†" if cell["n"] and cell["beyond_bound"] else ""
    words += "°" if cell["idle"] else ""
    axis.text(x, y, words, ha="center", va="center", fontsize=7, color=_text_colour(fill))


def _text_colour(fill: str) -> str:
    """Black or white, whichever is readable on this fill, by Rec. 709 luminance."""
    return "black" if np.dot(mpl.colors.to_rgb(fill), (0.2126, 0.7152, 0.0722)) > 0.45 else "white"


def _difference_legend() -> list[Patch | Line2D]:
    hatched = Patch(**_look(np.nan, np.nan), label="no number in the paper")
    words = {"div.": "all our runs diverged", "*": "some diverged, mean of the rest", "–": "not run"}
    return [hatched, *(Line2D([], [], linestyle="none", label=f"{w}: {means}") for w, means in words.items())]


def _look(paper: float, difference: float) -> dict[str, Any]:
    """The look of a tile: hatched without a published number, white without our number, else the scale's colour."""
    if np.isnan(paper):
        return {"facecolor": "0.93", "edgecolor": "0.8", "hatch": "////", "linewidth": 0}
    fill = "white" if np.isnan(difference) else SCALE.to_rgba(np.array(difference))
    return {"facecolor": fill, "edgecolor": "0.8", "linewidth": 0.5}


def _tile(axis: Axes, x: int, y: int, cell: pd.Series) -> None:
    look = _look(cell["paper"], cell["difference"])
    axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **look))
    axis.text(x, y, _tile_text(cell), ha="center", va="center", fontsize=8.8, color=_text_colour(look["facecolor"]))


def _tile_text(cell: pd.Series) -> str:
    if cell["n"] == 0:
        return "–"
    if cell["n"] == cell["n_diverged"]:
        return "div."
    some = "*" if cell["n_diverged"] else ""
    return "" if np.isnan(cell["paper"]) else f"{cell['difference']:+z.1f}{some}".replace("-", "−")
