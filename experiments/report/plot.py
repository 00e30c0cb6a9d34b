"""Figures of results in one line each, for a paper's column or page, and in a notebook.

    runs = load_results("results/brsgd_table1")
    measurements = load_results("results/brsgd_table1", per="measurement")

    curves(measurements, rows="attack", columns="rule", lines="alpha")      accuracy over epochs, a band over seeds
    curves(measurements, "byz_weight", columns="attack", lines="rule")      any diagnostic over epochs
    heatmap(runs, rows="attack", columns="rule", panels="alpha")            a number for each pair of settings
    against(runs, "n_byz", columns="attack", lines="rule")                  accuracy against the number of attackers
    trace(load_trace("results/smoke", runs["id"][0]))                       who was kept, step by step
    partition(partition_table("dirichlet", alpha=0.1))                      how much each worker has of each class

Each returns a Matplotlib figure, which a notebook shows and `figure.savefig("name.pdf")` writes. Only seeds are
averaged: where other settings differ between the runs of one curve or tile, that is an error which names them. Colours
are those of Okabe and Ito, or viridis; line styles, markers and numbers repeat their meaning.
"""

import functools
import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from byzsim.experiments.plan import NO_LABELS, Labels, label
from byzsim.experiments.report.figures import DIVERGED, STYLES
from byzsim.experiments.report.summary import percent
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

COLUMN, PAGE = 3.4, 7.0  # inches: the widths of a column and of a page in the usual two-column styles
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7.5,
    "legend.handlelength": 2.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,  # letters stay letters
    "svg.hashsalt": "byzsim",
}
NAMES = {
    "accuracy": "Test accuracy (%)",
    "loss": "Test loss",
    "train_loss": "Honest training loss",
    "byz_weight": "Byzantine weight",
    "cosine": "Cosine to honest mean",
    "error": "Relative error",
    "variance": "Honest variance",
    "honest_dropped": "Honest workers dropped",
    "byz_kept": "Byzantine workers kept",
    "clipped": "Rows clipped",
    "measurement": "Epoch",
    "step": "Step",
    "n_byz": "Byzantine workers",
    "alpha": "Byzantine fraction α",
    "f": "Declared f",
    "lr": "Learning rate",
    "weight": "Weight in the aggregate",
    "norm": "Norm",
}
CROSS: dict[str, Any] = DIVERGED | {"markersize": 6, "markeredgewidth": 1.3}
HONEST, BYZANTINE = "#0072B2", "#D55E00"
MOST_BINS = 240  # columns of a picture over steps
Band = Literal["range", "sd"]
P = ParamSpec("P")


class Picture(Figure):
    """A figure that a notebook shows, whether or not pyplot is imported."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=160)
        return content.getvalue()


def _styled(draw: Callable[P, Picture]) -> Callable[P, Picture]:
    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Picture:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


@_styled
def curves(
    frame: pd.DataFrame,
    y: str = "accuracy",
    *,
    x: str = "measurement",
    rows: str | None = None,
    columns: str | None = None,
    lines: str | None = None,
    band: Band = "range",
    labels: Labels = NO_LABELS,
) -> Picture:
    """A metric or a diagnostic over measurements: a curve for each setting, the mean over seeds, with a band.

    A run that diverges ends in a cross, and no longer counts in the mean from there on.

    Args:
        frame: `load_results(folder, per="measurement")`.
        y: a metric such as accuracy or loss, or a diagnostic such as byz_weight or cosine.
        x: measurement, or step where there is an `eval_every`.
        rows, columns, lines: the axes of the table that go there; those that are left out are chosen.
        band: "range" of the seeds, or one "sd" on each side of the mean.
        labels: how settings are printed.
    Raises:
        ValueError: there is no such column, or a curve would mix settings.
    """
    _check(frame, x, y)
    layout = _Layout.of(frame, rows=rows, columns=columns, lines=lines)
    figure, grid = layout.figure(labels)
    for axes, part in layout.panels(grid):
        for style, _, runs in layout.lines_of(part):
            _curve(axes, _runs(runs, x, y), style, band)
        _finish(axes, y)
    _name_axes(figure, grid, NAMES.get(x, x), NAMES.get(y, y))
    grid[0, 0].xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=2))
    layout.legend(figure, grid, labels, _notes(frame, band))
    return figure


@_styled
def against(
    frame: pd.DataFrame,
    x: str = "n_byz",
    y: str = "final_accuracy",
    *,
    rows: str | None = None,
    columns: str | None = None,
    lines: str | None = None,
    band: Band = "range",
    labels: Labels = NO_LABELS,
) -> Picture:
    """The number of each run against a setting: a curve for each other setting, the mean over seeds, with a band.

    Hollow markers: more Byzantine workers than the rule's guarantee covers. A cross at the bottom: every run diverged.

    Args:
        frame: `load_results(folder)`.
        x: a setting that is a number: n_byz for the workers that really attack, f, alpha, lr and so on.
        y: the number of a run, final_accuracy or another.
        rows, columns, lines, band, labels: as in `curves`.
    Raises:
        ValueError: there is no such column, or a point would mix settings.
    """
    _check(frame, x, y)
    taken = {x, "alpha", "n_byz"} if x in ("alpha", "n_byz") else {x}
    layout = _Layout.of(frame, rows=rows, columns=columns, lines=lines, taken=taken)
    figure, grid = layout.figure(labels)
    for axes, part in layout.panels(grid):
        for style, _, runs in layout.lines_of(part):
            _points(axes, runs, x, y, style, band)
        _finish(axes, y)
    name = y.removeprefix("final_")
    _name_axes(figure, grid, NAMES.get(x, x), NAMES.get(name, name))
    if (frame[x] == frame[x].round()).all():
        grid[0, 0].xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=2))
    notes = _notes(frame, band)
    if "beyond_bound" in frame and frame["beyond_bound"].any():
        notes.append(Line2D([], [], color="0.4", marker="o", mfc="white", ls="none", ms=4, label="beyond bound"))
    layout.legend(figure, grid, labels, notes)
    return figure


@_styled
def heatmap(
    frame: pd.DataFrame,
    value: str = "final_accuracy",
    *,
    rows: str,
    columns: str,
    panels: str | None = None,
    labels: Labels = NO_LABELS,
) -> Picture:
    """The number of each run as a tile: the mean over seeds.

    "div.": every run diverged; "*": some did, and the mean is that of the others; "–": not run.

    Args:
        frame: `load_results(folder)`.
        value: the number of a run, final_accuracy or another.
        rows, columns, panels: the axes of the table that go there.
        labels: how settings are printed.
    Raises:
        ValueError: there is no such column, or a tile would mix settings.
    """
    _check(frame, value, rows, columns)
    layout = _Layout.of(frame, rows=panels, columns=None, lines=None, taken={rows, columns}, chosen=False)
    frame = layout.frame
    down, across = _values(frame, rows), _values(frame, columns)
    height = 0.35 + 0.17 * len(down) + 0.06 * max(len(_text(columns, one, labels)) for one in across)
    width = max(COLUMN, 0.3 * len(across) + 0.07 * max(len(_text(rows, one, labels)) for one in down) + 0.9)
    count = len(layout.rows)
    figure = Picture(figsize=(width, height * count + 0.25), layout="constrained")
    grid = figure.subplots(count, 1, squeeze=False)
    percentages = value.endswith("accuracy")
    scale = 100.0 if percentages else 1.0
    numbers = scale * frame[value].to_numpy(float)
    finite = numbers[np.isfinite(numbers)]
    limits = (0.0, 100.0) if percentages else (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    scaled = mpl.colors.Normalize(*limits)
    colours = mpl.cm.ScalarMappable(scaled, "viridis")
    for axes, part in layout.panels(grid):
        tiles = {key: _tile(runs, value, scale) for key, runs in part.groupby([rows, columns], observed=True)}
        picture = np.array([[tiles.get((i, j), (np.nan, "–"))[0] for j in across] for i in down])
        axes.imshow(np.ma.masked_invalid(picture), cmap="viridis", norm=scaled, aspect="auto")
        for (r, i), (c, j) in itertools.product(enumerate(down), enumerate(across)):
            number, words = tiles.get((i, j), (np.nan, "–"))
            colour = "black" if np.isnan(number) else _readable(colours.to_rgba(np.array(number)))
            axes.text(c, r, words, ha="center", va="center", fontsize=6.5, color=colour)
        turned = sum(len(_text(columns, one, labels)) for one in across) * 0.06 > 0.3 * len(across)
        axes.set_xticks(range(len(across)), [_text(columns, one, labels) for one in across], rotation=90 * turned)
        axes.set_yticks(range(len(down)), [_text(rows, one, labels) for one in down])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(1, len(across)) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, len(down)) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1)
        axes.tick_params(which="minor", length=0)
    if panels:
        for axes, one in zip(grid[:, 0], layout.rows, strict=True):
            axes.set_title(_setting(panels, one, labels))
    name = value.removeprefix("final_")
    bar = figure.colorbar(colours, ax=list(grid[:, 0]), fraction=0.04, pad=0.01, aspect=30)
    bar.set_label(NAMES.get(name, name))
    bar.outline.set_visible(False)
    return figure


@_styled
def trace(frame: pd.DataFrame, value: Literal["weight", "distance", "norm"] = "weight") -> Picture:
    """Every worker over the steps of one run: a row for each worker, Byzantine workers first, and both kinds together.

    Above: the sum of the weights of Byzantine workers, or the medians and ranges of distances and norms of both kinds.

    Args:
        frame: `load_trace(folder, id)`, or `trace_of(history, byzantine)`.
        value: weight: its share in the aggregate, 0 where a rule dropped the worker; distance to the aggregate; norm.
    Raises:
        ValueError: there is no such column.
    """
    _check(frame, "step", "worker", "byzantine", value)
    steps = int(frame["step"].max())
    size = -(-steps // MOST_BINS)
    binned = frame.assign(bin=(frame["step"] - 1) // size * size + 1)
    byzantine = frame.groupby("worker")["byzantine"].first()
    order = sorted(byzantine.index, key=lambda worker: (not byzantine[worker], worker))
    table = binned.pivot_table(index="worker", columns="bin", values=value, aggfunc="mean").reindex(order)
    figure = Picture(figsize=(COLUMN, 1.7 + 0.075 * len(order)), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.1, 0.075 * len(order)])
    _kinds(above, binned, value)
    numbers = table.to_numpy(float)
    edges = [*table.columns, steps + 1]
    norm = mpl.colors.Normalize(0, np.nanmax(numbers)) if value == "weight" else _log_scale(numbers)
    numbers = np.maximum(numbers, float(norm.vmin or 0))  # a distance of 0 has no logarithm
    picture = below.pcolormesh(edges, np.arange(len(order) + 1), numbers, cmap="viridis", norm=norm, rasterized=True)
    below.invert_yaxis()
    n_byz = int(byzantine.to_numpy().sum())
    if 0 < n_byz < len(order):
        below.axhline(n_byz, color="white", linewidth=1.5)
    groups = [
        (n_byz / 2, "Byzantine", BYZANTINE, n_byz),
        ((n_byz + len(order)) / 2, "honest", HONEST, len(order) - n_byz),
    ]
    below.set_yticks([place for place, _, _, count in groups if count], [word for _, word, _, count in groups if count])
    for text, (_, _, colour, _) in zip(below.get_yticklabels(), (g for g in groups if g[3]), strict=True):
        text.set_color(colour)
    below.tick_params(axis="y", length=0)
    below.set_xlabel("Step" if size == 1 else f"Step (means over {size})")
    bar = figure.colorbar(picture, ax=below, fraction=0.05, pad=0.02, aspect=14)
    bar.set_label(value.capitalize())
    bar.outline.set_visible(False)
    return figure


@_styled
def partition(frame: pd.DataFrame) -> Picture:
    """How many examples each worker has of each class: a row for each worker, the size of its shard beside it.

    Args:
        frame: `partition_table(...)`: a row for each worker, a column for each class.
    """
    m, classes = frame.shape
    figure = Picture(figsize=(COLUMN, 0.7 + 0.15 * m), layout="constrained")
    axes, sizes = figure.subplots(1, 2, sharey=True, width_ratios=[3.2, 1])
    counts = frame.to_numpy()
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=counts.max() * 1.25, aspect="auto")
    if classes <= 12:
        for (i, j), count in np.ndenumerate(counts):
            words = f"{count}" if count else ""
            dark = count > 0.75 * counts.max()
            axes.text(j, i, words, ha="center", va="center", fontsize=5.5, color="white" if dark else "black")
        axes.set_xticks(range(classes), [str(one) for one in frame.columns])
    axes.set(xlabel="Class", ylabel="Worker")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=min(m, 10), integer=True))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    sizes.barh(range(m), counts.sum(axis=1), color=HONEST, height=0.7)
    sizes.set_xlabel("Examples")
    sizes.tick_params(axis="y", length=0)
    sizes.xaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
    return figure


class _Layout:
    """Which settings go to which panel and line."""

    def __init__(self, frame: pd.DataFrame, where: Mapping[str, str | None]):
        self.frame, self.where = frame, where
        self.rows, self.columns, self.lines = (_values(frame, where[name]) for name in ("rows", "columns", "lines"))

    @classmethod
    def of(
        cls,
        frame: pd.DataFrame,
        *,
        taken: set[str] | frozenset[str] = frozenset(),
        chosen: bool = True,
        **where: str | None,
    ) -> "_Layout":
        """Of the axes that vary, those that are not given a place get one, the last of them the lines."""
        given = {*taken, *filter(None, where.values())}
        _check(frame, *filter(None, where.values()))
        shared = _with_shared_runs(frame)
        axes = [name for name in _axes(frame) if name != "seed" and shared[name].nunique(dropna=False) > 1]
        if {"alpha", "n_byz"} & given:
            given |= {"alpha"}
        left = [name for name in axes if name not in given]
        free = [name for name in ("lines", "columns", "rows") if where[name] is None] if chosen else []
        if len(left) > len(free):
            named = ", ".join(left)
            raise ValueError(
                f"the runs differ in {named}: give each a place, or take one setting, as in "
                f"frame[frame[{left[0]!r}] == {shared[left[0]].iloc[0]!r}]"
            )
        order = sorted(left, key=lambda name: name not in ("attack",)) if len(left) > 1 else left
        places = dict(zip(free, reversed(order), strict=False))
        return cls(shared, {**where, **places})

    def figure(self, labels: Labels) -> tuple[Picture, np.ndarray]:
        """The figure and its axes, (rows, columns), with the settings of rows and columns as titles."""
        n_rows, n_columns = len(self.rows), len(self.columns)
        width = COLUMN if n_columns == 1 else max(PAGE, 0.6 + 1.5 * n_columns)
        height = 2.0 if n_rows * n_columns == 1 else (0.85 if n_rows == 1 else 0.6) + 1.25 * n_rows
        figure = Picture(figsize=(width, height), layout="constrained")
        grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
        if self.where["columns"]:
            for axes, one in zip(grid[0], self.columns, strict=True):
                axes.set_title(_setting(self.where["columns"], one, labels))
        if self.where["rows"]:
            for axes, one in zip(grid[:, -1], self.rows, strict=True):
                side = axes.twinx()
                side.set_yticks([])
                side.spines[:].set_visible(False)
                side.set_ylabel(_setting(self.where["rows"], one, labels), rotation=270, va="bottom")
        return figure, grid

    def panels(self, grid: np.ndarray) -> Iterator[tuple[Axes, pd.DataFrame]]:
        """Each panel with its runs."""
        for axes, (row, column) in zip(grid.flat, itertools.product(self.rows, self.columns), strict=True):
            yield axes, _of(_of(self.frame, self.where["rows"], row), self.where["columns"], column)

    def lines_of(self, part: pd.DataFrame) -> Iterator[tuple[dict[str, Any], Any, pd.DataFrame]]:
        """The style, the setting and the runs of each line."""
        for style, one in zip(itertools.cycle(STYLES), self.lines, strict=False):
            runs = _of(part, self.where["lines"], one)
            if len(runs):
                yield style, one, runs

    def legend(self, figure: Picture, grid: np.ndarray, labels: Labels, notes: Sequence[Line2D]) -> None:
        """Below the panels, where it covers nothing."""
        name = self.where["lines"]
        known = [] if name is None else zip(itertools.cycle(STYLES), self.lines, strict=False)
        handles = [Line2D([], [], **style, ms=3.5, lw=1.3, label=_setting(name, one, labels)) for style, one in known]
        every = [*handles, *notes]
        if every:
            widest = 0.5 + 0.055 * max(len(str(each.get_label())) for each in every)  # inches
            ncols = max(1, int(figure.get_figwidth() / widest))
            figure.set_figheight(figure.get_figheight() + 0.17 * -(-len(every) // ncols))
            figure.legend(handles=every, loc="outside lower center", ncols=ncols, frameon=False)


def _axes(frame: pd.DataFrame) -> list[str]:
    known = frame.attrs.get("axes", ("rule", "attack", "alpha", "seed"))
    return [name for name in known if name in frame]


def _check(frame: pd.DataFrame, *names: str) -> None:
    for name in names:
        if name not in frame:
            more = ' of load_results(folder, per="measurement")' if name in (*NAMES, "measurement") else ""
            known = ", ".join(map(str, frame.columns[:24]))
            raise ValueError(f"the frame has no column {name!r}{more}; it has {known}, ...")


def _with_shared_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """Without Byzantine workers the runs of all attacks are one: they are recorded once, under the attack none."""
    if not {"attack", "alpha"} <= {*frame.columns}:
        return frame
    clean = (frame["attack"] == "none") & (frame["alpha"] == 0)
    attacks = frame.loc[~clean, "attack"].unique()
    if not clean.any() or not len(attacks):
        return frame
    shared = pd.concat([frame[~clean], *(frame[clean].assign(attack=attack) for attack in attacks)], ignore_index=True)
    shared.attrs = frame.attrs
    return shared


def _values(frame: pd.DataFrame, name: str | None) -> list[Any]:
    """The settings of an axis: numbers in their order, names as they come."""
    if name is None:
        return [None]
    found = list(frame[name].dropna().unique())
    return sorted(found) if pd.api.types.is_numeric_dtype(frame[name]) else found


def _of(frame: pd.DataFrame, name: str | None, value: Any) -> pd.DataFrame:
    return frame if name is None else frame[frame[name] == value]


def _text(name: str, value: Any, labels: Labels) -> str:
    """A setting as printed, without its axis."""
    if isinstance(value, str):
        return label(value, labels)
    return percent(value) if name == "alpha" else f"{value:g}" if isinstance(value, float) else str(value)


def _setting(name: str | None, value: Any, labels: Labels) -> str:
    """A setting as printed, with its axis if it is a number."""
    text = _text(name or "", value, labels)
    short = {"alpha": "α", "n_byz": "Byzantine"}.get(name or "", (name or "").replace("_", " "))
    return text if isinstance(value, str) else f"{short} = {text}"


def _scale(y: str) -> float:
    return 100.0 if y.endswith("accuracy") else 1.0


def _runs(frame: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """(x, runs): the values of y, a column for each seed.

    Raises:
        ValueError: two runs have the same seed.
    """
    frame = frame if "seed" in frame else frame.assign(seed=0)
    _check_one_setting(frame, [x, "seed"])
    return _scale(y) * frame.pivot(index=x, columns="seed", values=y).astype(float)


def _check_one_setting(frame: pd.DataFrame, keys: Sequence[str]) -> None:
    twice = frame[frame.duplicated([*keys], keep=False)]
    if len(twice):
        differ = [name for name in _axes(frame) if name not in keys and twice[name].nunique(dropna=False) > 1]
        raise ValueError(
            f"runs with the same {' and '.join(keys)} differ in {', '.join(differ) or 'no axis'}: they are no "
            "repetitions of each other, and are not averaged"
        )


def _curve(axes: Axes, runs: pd.DataFrame, style: Mapping[str, Any], band: Band) -> None:
    place, values = runs.index.to_numpy(float), runs.to_numpy(float)
    alive = np.isfinite(values).any(axis=1)
    if alive.any():
        seen = values[alive]
        every = max(1, int(alive.sum()) // 5)
        axes.plot(place[alive], np.nanmean(seen, axis=1), **style, lw=1.3, ms=3, markevery=every)
        _band(axes, place[alive], seen, style["color"], band)
    for run in values.T[~np.isfinite(values[-1])]:
        finite = np.flatnonzero(np.isfinite(run))
        if len(finite):
            _cross(axes, place[finite[-1]], run[finite[-1]], style["color"])
        else:
            _cross(axes, place[0], 0.0, style["color"], transform=axes.get_xaxis_transform())


def _cross(axes: Axes, x: float, y: float, colour: str, **where: Any) -> None:
    """The end of a run that diverged; at the bottom if it never had a finite number."""
    axes.plot(x, y, **CROSS, color=colour, clip_on=False, zorder=5, **where)


def _band(axes: Axes, place: np.ndarray, values: np.ndarray, colour: str, band: Band) -> None:
    """Over the runs that have not diverged; none where there is one run."""
    several = np.isfinite(values).sum(axis=1) > 1
    if not several.any():
        return
    place, values = place[several], values[several]
    mean, sd = np.nanmean(values, axis=1), np.nanstd(values, axis=1, ddof=1)
    low, high = (mean - sd, mean + sd) if band == "sd" else (np.nanmin(values, axis=1), np.nanmax(values, axis=1))
    axes.fill_between(place, low, high, color=colour, alpha=0.2, linewidth=0)


def _points(axes: Axes, runs: pd.DataFrame, x: str, y: str, style: dict[str, Any], band: Band) -> None:
    lost = runs["diverged"] if "diverged" in runs else pd.Series(False, index=runs.index)
    table = _runs(runs.assign(**{y: runs[y].where(~lost)}), x, y)
    place, values = table.index.to_numpy(float), table.to_numpy(float)
    alive = np.isfinite(values).any(axis=1)
    beyond = runs.groupby(x)["beyond_bound"].max() if "beyond_bound" in runs else pd.Series(False, index=table.index)
    mean = np.full(len(place), np.nan)
    mean[alive] = np.nanmean(values[alive], axis=1)
    axes.plot(place, mean, color=style["color"], linestyle=style["linestyle"], lw=1.3)
    for hollow in (False, True):
        chosen = beyond.reindex(table.index).to_numpy(bool) == hollow
        fill = "white" if hollow else style["color"]
        look: dict[str, Any] = {"color": style["color"], "marker": style["marker"], "mfc": fill, "ls": "none", "ms": 4}
        axes.plot(place[chosen], mean[chosen], **look, zorder=4)
    _band(axes, place[alive], values[alive], style["color"], band)
    for one in place[~alive]:
        _cross(axes, one, 0.0, style["color"], transform=axes.get_xaxis_transform())


def _finish(axes: Axes, y: str) -> None:
    axes.grid(color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
    if y.endswith("accuracy"):
        axes.set_ylim(0, 100)


def _name_axes(figure: Picture, grid: np.ndarray, x: str, y: str) -> None:
    for axes in grid[-1]:
        axes.set_xlabel(x)
    if len(grid) == 1:
        grid[0, 0].set_ylabel(y)
    else:
        figure.supylabel(y, fontsize=8)


def _notes(frame: pd.DataFrame, band: Band) -> list[Line2D]:
    """What a reader has to know: the band, and the crosses."""
    notes = []
    n = frame["seed"].nunique() if "seed" in frame else 1
    if n > 1:
        what = "range" if band == "range" else "± 1 sd"
        notes.append(Line2D([], [], color="0.6", alpha=0.5, lw=6, label=f"{what} of {n} seeds"))
    if "diverged" in frame and frame["diverged"].any():
        notes.append(Line2D([], [], **CROSS, color="0.3", label="diverged"))
    return notes


def _tile(runs: pd.DataFrame, value: str, scale: float) -> tuple[float, str]:
    """(number, printed text) of one tile."""
    _check_one_setting(runs, ["seed"] if "seed" in runs else [])
    lost = runs["diverged"].astype(bool) if "diverged" in runs else pd.Series(False, index=runs.index)
    numbers = scale * runs.loc[~lost, value].to_numpy(float)
    if not len(numbers):
        return np.nan, "div."
    number = float(numbers.mean())
    return number, (f"{number:.0f}" if scale == 100 else f"{number:.2g}") + "*" * bool(lost.any())


def _readable(fill: Any) -> str:
    """Black or white, whichever is readable on this colour, by Rec. 709 luminance."""
    return "black" if np.dot(np.ravel(fill)[:3], (0.2126, 0.7152, 0.0722)) > 0.45 else "white"


def _kinds(axes: Axes, frame: pd.DataFrame, value: str) -> None:
    """Both kinds of workers over steps."""
    axes.grid(color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
    if value == "weight":
        summed = frame[frame["byzantine"]].groupby(["bin", "step"])["weight"].sum().groupby("bin").mean()
        axes.plot(summed.index, summed, color=BYZANTINE, lw=1.2)
        axes.set_ylim(0, 1)
        axes.set_ylabel("Byzantine\nweight")
        return
    for kind, colour, word in ((False, HONEST, "honest"), (True, BYZANTINE, "Byzantine")):
        groups = frame[(frame["byzantine"] == kind) & (frame[value] > 0)].groupby("bin")[value]
        if not len(groups):
            continue
        middle = groups.median()
        axes.plot(middle.index, middle, color=colour, lw=1.2, ls="--" if kind else "-", label=word)
        axes.fill_between(middle.index, groups.min(), groups.max(), color=colour, alpha=0.15, linewidth=0)
    axes.set_yscale("log")
    axes.set_ylabel(value.capitalize())
    axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def _log_scale(numbers: np.ndarray) -> Any:
    positive = numbers[np.isfinite(numbers) & (numbers > 0)]
    return mpl.colors.LogNorm(positive.min(), positive.max()) if len(positive) else mpl.colors.Normalize()
