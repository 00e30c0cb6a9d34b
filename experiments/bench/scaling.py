"""How cost grows: time and memory of every rule against m and d, fitted slopes beside the papers' claims."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from byzsim import AGGREGATORS
from byzsim.experiments import arguments, files, records
from byzsim.experiments.bench.child import Child, Failed, parsed
from byzsim.experiments.errors import UserError
from byzsim.experiments.files import markdown_table, write_whole
from byzsim.experiments.report.figures import mark_quick, save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

SAFEGUARD = "safeguard:thresholds=theory"  # as in its theory; the default finds thresholds from all pairs of workers
VARIANTS = (SAFEGUARD, "mda:subsets=balls")
SHOWN = ("brsgd", "aksel", SAFEGUARD, "krum", "median", "geometric_median")
PAPERS = {"brsgd": "m d", "aksel": "m d", SAFEGUARD: "m d", "krum": "m^2 d"}  # what these say themselves
CLEAR = 1.25  # two rules are told apart where one is this many times faster
NEAR = 0.1  # a slope counts as the claimed one if it is not further away than this and two standard errors
COLUMNS = ("rule", "m", "d", "f", "ms", "spread", "calls", "compile_s", "working", "copies", "seconds", "left_out")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scaling:
    """Time and memory of rules against m and d, and a training step with 1,000 workers."""

    rules: tuple[str, ...] = ()
    """NAME or NAME:OPTION=VALUE,...; none: all rules, and safeguard and mda in their cheap variants too"""
    shown: tuple[str, ...] = SHOWN
    """which of them have a column in the figure, and crossover points"""
    workers: tuple[int, ...] = (10, 20, 50, 100, 200, 500, 1000)
    """m, at the d of --at-d"""
    coordinates: tuple[int, ...] = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
    """d, at the m of --at-m"""
    at_d: int = 100_000
    at_m: int = 20
    memory: float = 4.0
    """GB; larger matrices are left out"""
    limit: float = 60.0
    """seconds for one rule at one size, compilation and all; what is predicted to take longer is left out"""
    repeats: int = 7
    """timed calls"""
    cap: float = 20.0
    """GB that the measuring process may hold"""
    step_rules: tuple[str, ...] = ("mean", "krum", "aksel", SAFEGUARD, "brsgd", "median")
    """rules of the MLP's training step"""
    step_workers: int = 1000
    step_batch: int = 8
    step_limit: float = 300.0
    """seconds for one rule's training, compilation and all"""
    quick: bool = False
    """walk the whole path at toy sizes, in a folder of its own"""
    results: Path = Path("results")
    """folder of all results"""


QUICK: dict[str, Any] = {
    "rules": ("mean", "krum"),
    "shown": ("mean", "krum"),
    "workers": (4, 8),
    "coordinates": (100, 200),
    "at_d": 100,
    "at_m": 4,
    "repeats": 2,
    "step_rules": ("mean",),
    "step_workers": 4,
    "step_batch": 2,
}


def command(args: list[str], say: Callable[[str], object]) -> None:
    """`byzsim bench scaling`."""
    default = Scaling(**QUICK, quick=True) if "--quick" in args else Scaling()
    given = arguments.parsed(Scaling, args, default=default, prog="byzsim bench scaling")
    _check(given)
    folder = given.results / ("bench+quick" if given.quick else "bench")
    records.check_writable(folder)
    child = Child(given.cap)
    try:
        origin = child.ask("origin", limit=given.step_limit)
        found = measure(given, child, say)
        steps = training(given, child, say)
    finally:
        child.end()
    write(found, steps, given, origin, folder)
    say(f"written: {folder}/scaling.md, .csv, .png, .svg")


def _check(given: Scaling) -> None:
    for text in (*given.rules, *given.shown, *given.step_rules):
        try:
            parsed(text)
        except ValueError as error:
            raise UserError(str(error)) from None
    if not given.workers or not given.coordinates:
        raise UserError("--workers and --coordinates need at least one number each")
    counts = (*given.workers, *given.coordinates, given.at_d, given.at_m, given.repeats, given.step_workers)
    if min(*counts, given.step_batch) < 1 or min(given.memory, given.limit, given.cap, given.step_limit) <= 0:
        raise UserError("numbers of workers, coordinates, calls, seconds and GB have to be above 0")


# ---------------------------------------------------------------------------------------------------------
# Measuring
# ---------------------------------------------------------------------------------------------------------


def measure(given: Scaling, child: Child, say: Callable[[str], object]) -> pd.DataFrame:
    """One row for each rule and size, measured or with the reason why it is left out; small sizes first."""
    rules = given.rules or (*AGGREGATORS, *VARIANTS)
    sizes = sorted({*((m, given.at_d) for m in given.workers), *((given.at_m, d) for d in given.coordinates)})
    rows: list[dict[str, Any]] = []
    for count, (m, d) in enumerate(sorted(sizes, key=lambda size: size[0] * size[1]), 1):
        for rule in rules:
            rows.append(_run_config(rule, m, d, [row for row in rows if row["rule"] == rule], given, child))
        done = [row for row in rows[-len(rules) :] if not row["left_out"]]
        say(f"[{count}/{len(sizes)}] m = {m}, d = {d:,}: {len(done)} of {len(rules)} rules measured")
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS)).sort_values(["rule", "m", "d"], ignore_index=True)


def _run_config(
    rule: str, m: int, d: int, before: Sequence[dict[str, Any]], given: Scaling, child: Child
) -> dict[str, Any]:
    place = {"rule": rule, "m": m, "d": d, "left_out": ""}
    matrix = 4 * m * d
    if matrix > given.memory * 1e9:
        return place | {"left_out": f"a matrix of more than {given.memory:g} GB"}
    lines = [[(row["m"], row["seconds"]) for row in before if row["d"] == d and not row["left_out"]]]
    lines += [[(row["d"], row["seconds"]) for row in before if row["m"] == m and not row["left_out"]]]
    expected = max(predicted(line, size) for line, size in zip(lines, (m, d), strict=True))
    failed = [row for row in before if row["left_out"] and row["m"] <= m and row["d"] <= d]
    if expected > given.limit or failed:
        why = failed[-1]["left_out"] if failed else f"predicted to take more than {given.limit:g} s"
        return place | {
            "left_out": why.removesuffix(", as at a smaller size") + ", as at a smaller size" * bool(failed)
        }
    try:
        facts = child.ask("aggregation", rule, m, d, given.repeats, limit=given.limit)
    except Failed as error:
        return place | {"left_out": str(error)}
    return place | facts | {"copies": facts["working"] / matrix}


def predicted(line: Sequence[tuple[int, float]], size: int) -> float:
    """Seconds at `size`, from those at smaller ones: on from the last by the power of the last three, at least 1."""
    if not line:
        return 0.0
    power = fit(*zip(*line[-3:], strict=True))
    last, seconds = line[-1]
    return float(seconds * (size / last) ** max(1.0, power.value if power else 1.0))


def training(given: Scaling, child: Child, say: Callable[[str], object]) -> pd.DataFrame:
    """A training step of the MLP under each of `step_rules`, each in a fresh process."""
    rows: list[dict[str, Any]] = []
    steps, side = (2, 4) if given.quick else (3, 28)
    for rule in given.step_rules:
        if not given.quick:
            child.end()  # the peak is of a process that has done nothing else
        row: dict[str, Any] = {"rule": rule, "m": given.step_workers, "batch": given.step_batch, "left_out": ""}
        try:
            row |= child.ask(
                "training", rule, given.step_workers, given.step_batch, steps, side, limit=given.step_limit
            )
            say(f"MLP, m = {given.step_workers}, {rule}: {row['step_s']:.3g} s a step, {row['peak'] / 1e9:.2f} GB")
        except Failed as error:
            row["left_out"] = str(error)
            say(f"MLP, m = {given.step_workers}, {rule}: {error}")
        rows.append(row)
    return pd.DataFrame(rows, columns=pd.Index(["rule", "m", "batch", "first_s", "step_s", "peak", "left_out"]))


# ---------------------------------------------------------------------------------------------------------
# Slopes and crossovers
# ---------------------------------------------------------------------------------------------------------


class Slope(NamedTuple):
    """The exponent of a power law, fitted."""

    value: float
    error: float
    """its standard error; NaN for fewer than three points"""
    low: float
    high: float
    """the range of sizes that it is from"""


def upper_half(line: pd.DataFrame, along: str) -> pd.DataFrame:
    """The points of a line from the geometric middle of its sizes on."""
    sizes = line[along].to_numpy(float)
    return line[sizes >= np.sqrt(sizes.min() * sizes.max()) * (1 - 1e-9)] if len(line) else line


def fit(sizes: Iterable[float], values: Iterable[float]) -> Slope | None:
    """Least squares of log(value) on log(size); None for fewer than two points."""
    x, y = np.log(np.fromiter(sizes, float)), np.log(np.fromiter(values, float))
    if len(x) < 2:
        return None
    centred = x - x.mean()
    value = float(centred @ y / (centred @ centred))
    rest = y - y.mean() - value * centred
    error = float(np.sqrt(rest @ rest / (len(x) - 2) / (centred @ centred))) if len(x) > 2 else float("nan")
    return Slope(value, error, float(np.exp(x.min())), float(np.exp(x.max())))


def slope_of(found: pd.DataFrame, rule: str, along: str, given: Scaling) -> Slope | None:
    """The slope of a rule's time in m at `at_d`, or in d at `at_m`, from the upper half of what was measured."""
    points = upper_half(line_of(found, rule, along, given), along)
    return fit(points[along], points["ms"])


def line_of(found: pd.DataFrame, rule: str, along: str, given: Scaling) -> pd.DataFrame:
    """What was measured of a rule along m (at `at_d`) or along d (at `at_m`)."""
    across, at = ("d", given.at_d) if along == "m" else ("m", given.at_m)
    sizes = given.workers if along == "m" else given.coordinates
    mine = found[(found["rule"] == rule) & (found[across] == at) & found[along].isin(sizes) & (found["left_out"] == "")]
    return mine.sort_values(along)


def exponent(cost: str, along: str) -> int | None:
    """The power of m or d in a cost of one term such as `m^2 d`; None for others."""
    match = re.fullmatch(r"m(?:\^(\d))? d", cost)
    if match is None:
        return None
    return int(match[1] or 1) if along == "m" else 1


def verdict(slope: Slope | None, claimed: int | None) -> str:
    """What a slope says about a claim, and no more."""
    if slope is None or claimed is None:
        return ""
    if np.isnan(slope.error):
        return "two points only"
    away, doubt = slope.value - claimed, max(2 * slope.error, NEAR)
    if abs(away) <= doubt:
        return "agrees"
    return "**steeper**" if away > 0 else "flatter"


def crossovers(found: pd.DataFrame, along: str, given: Scaling) -> list[tuple[str, str, float]]:
    """(rule that is faster below, rule that is faster above, size), straight lines between points in log-log."""
    met = []
    for a, b in itertools.combinations(given.shown, 2):
        lines = [line_of(found, rule, along, given).set_index(along)["ms"] for rule in (a, b)]
        both = pd.concat(lines, axis=1, join="inner").sort_index()
        for size, first_wins in crossings(both.index.to_numpy(float), *both.to_numpy(float).T):
            met.append((a, b, size) if first_wins else (b, a, size))
    return sorted(met, key=lambda each: each[2])


def crossings(sizes: np.ndarray, a: np.ndarray, b: np.ndarray) -> list[tuple[float, bool]]:
    """Where two curves cross, and whether a is the lower one before; sizes where they are `CLEAR`ly apart count."""
    x, gap = np.log(sizes), np.log(a) - np.log(b)
    clear = np.abs(gap) >= np.log(CLEAR)
    x, gap = x[clear], gap[clear]
    where = np.flatnonzero(gap[:-1] * gap[1:] < 0)
    share = gap[where] / (gap[where] - gap[where + 1])
    at = np.exp(x[where] + share * (x[where + 1] - x[where]))
    return [(float(size), bool(before < 0)) for size, before in zip(at, gap[where], strict=True)]


# ---------------------------------------------------------------------------------------------------------
# Page and figure
# ---------------------------------------------------------------------------------------------------------


def write(found: pd.DataFrame, steps: pd.DataFrame, given: Scaling, origin: records.Record, folder: Path) -> None:
    """scaling.csv, scaling.md and the figure in `folder`."""
    write_whole(folder / "scaling.csv", files.csv(found).encode())
    write_whole(folder / "scaling.md", page(found, steps, given, origin).encode())
    save(figure(found, given), folder / "scaling")


def page(found: pd.DataFrame, steps: pd.DataFrame, given: Scaling, origin: records.Record) -> str:
    """The findings, in words and tables."""
    parts = [
        "# How cost grows" + " (quick run, not a result)" * given.quick,
        records.made_by(command_line("scaling", given), origin),
        "![Time and memory against the number of workers and of coordinates](scaling.png)",
        "## Slopes",
        f"Time is taken to grow as a power. Slope: least squares of log time on log m at d = {given.at_d:,}, and on "
        f"log d at m = {given.at_m}, over the upper half (on the log scale) of the sizes that were measured; ± one "
        "standard error of the fit, which knows nothing of how the machine's caches change with size. Claim: the "
        "paper's where one is named, else this repository's own (`Spec.cost`). Agrees: within two standard errors, "
        f"or {NEAR:g}, of the claim's power. Flatter: costs that do not grow still count, or a matrix product gets "
        "more efficient. No verdict where a claim has several terms.",
        _slopes(found, given),
        "## Crossover points",
        "Between the rules of the figure: where one is faster at a size, and the other at the next at which they are "
        f"at least a factor of {CLEAR:g} apart; the place by straight lines in log-log. None is extrapolated.",
        _crossovers(found, given),
        "## Memory",
        "Temporaries and results (a rule's state among them) of one call, in copies of the (m, d) matrix, by XLA's "
        "own plan (`memory_analysis`); the matrix itself and the state that comes in are not counted.",
        _memory(found, given),
        f"## A training step with {given.step_workers:,} workers",
        "The MLP through `byzsim.simulate`: each rule in a process of its own, of which the peak of resident memory "
        "is given, with data, compilation and all. A tenth of the workers, or as many as the rule withstands, sends "
        "noise. Time of a step: the shortest of two epochs' means.",
        _steps(steps),
        "## Left out",
        _left_out(found),
        "## How a call is timed",
        "Each rule and size is compiled by itself. Median of at most "
        f"{given.repeats} calls after one that does not count, fewer where they take more than three seconds; waited "
        "for with `block_until_ready`. Rows are N(0.3, I) / sqrt(d), so of deviations of norm 1, to which "
        "SafeguardSGD's theory normalises them; those of the f declared Byzantine workers N(3.3, I) / sqrt(d); f is "
        "m // 10 or the rule's bound if that is lower. The server's own loss, for the rules that ask for it, costs "
        "next to nothing here. scaling.csv has every measurement with its spread (interquartile range over median) and "
        "compile time.",
    ]
    return "\n\n".join(parts) + "\n"


def command_line(name: str, given: Any) -> str:
    """The command with the options that differ from their defaults, but for where results go."""
    words = ["byzsim bench", name, *["--quick"] * given.quick]
    for field in dataclasses.fields(given):
        value = getattr(given, field.name)
        if value != field.default and field.name not in ("quick", "results") and not given.quick:
            values = value if isinstance(value, tuple) else () if value is True else (value,)
            words += [f"--{field.name.replace('_', '-')}", *map(str, values)]
    return " ".join(words)


def claim(rule: str) -> tuple[str, str]:
    """(cost, whose claim it is)."""
    spec = parsed(rule).spec
    return (PAPERS[rule], spec.source) if rule in PAPERS else (spec.cost, "ours")


def _slopes(found: pd.DataFrame, given: Scaling) -> str:
    rows = []
    for rule in found["rule"].unique():
        cost, whose = claim(rule)
        row = [rule, f"O({cost})", whose]
        for along in ("m", "d"):
            slope = slope_of(found, rule, along, given)
            row += [_words(slope), verdict(slope, exponent(cost, along))]
        rows.append(row)
    return markdown_table(("rule", "claim", "whose", "slope in m", "", "slope in d", ""), rows)


def _words(slope: Slope | None) -> str:
    if slope is None:
        return "–"
    doubt = "" if np.isnan(slope.error) else f" ± {slope.error:.2f}"
    return f"{slope.value:.2f}{doubt} ({slope.low:,.0f} to {slope.high:,.0f})"


def _crossovers(found: pd.DataFrame, given: Scaling) -> str:
    lines = []
    for along, at in (("m", f"d = {given.at_d:,}"), ("d", f"m = {given.at_m}")):
        met = crossovers(found, along, given)
        lines += [f"- {along} ≈ {size:,.0f} (at {at}): {a} is faster below, {b} above." for a, b, size in met]
        if not met:
            lines.append(f"- None in {along} at {at}.")
    return "\n".join(lines)


def _memory(found: pd.DataFrame, given: Scaling) -> str:
    rows = []
    for rule in found["rule"].unique():
        row = [rule]
        for along in ("m", "d"):
            line = line_of(found, rule, along, given)
            ends = line.iloc[[0, -1]] if len(line) else line
            row.append(", ".join(f"{each['copies']:.2f} ({along} = {each[along]:,})" for _, each in ends.iterrows()))
        rows.append(row)
    return markdown_table(("rule", f"at d = {given.at_d:,}", f"at m = {given.at_m}"), rows)


def _steps(steps: pd.DataFrame) -> str:
    rows = []
    for _, row in steps.iterrows():
        done = not row["left_out"]
        numbers = (f"{row['step_s']:.3g}", f"{row['first_s']:.3g}", f"{row['peak'] / 1e9:.2f}") if done else ("–",) * 3
        rows.append((row["rule"], row["m"], row["batch"], *numbers, row["left_out"]))
    header = ("rule", "m", "batch", "step (s)", "first epoch, with compilation (s)", "peak memory (GB)", "not done")
    return markdown_table(header, rows)


def _left_out(found: pd.DataFrame) -> str:
    missing = found[found["left_out"] != ""]
    if missing.empty:
        return "Nothing: every rule was measured at every size."
    rows = []
    for (rule, why), part in missing.groupby(["rule", "left_out"], sort=True):
        rows.append((rule, "; ".join(f"{m:,} x {d:,}" for m, d in zip(part["m"], part["d"], strict=True)), why))
    return markdown_table(("rule", "m x d", "why"), rows)


OURS: dict[str, Any] = {"color": "#0072B2", "marker": "o", "markersize": 4, "linewidth": 1.8}
CLAIMED: dict[str, Any] = {"color": "#D55E00", "linestyle": "--", "linewidth": 1.3}
OTHERS: dict[str, Any] = {"color": "0.82", "linewidth": 0.8, "zorder": 1}


def figure(found: pd.DataFrame, given: Scaling) -> Figure:
    """A column for each shown rule: time against m, time against d, memory against m."""
    shown = [rule for rule in given.shown if rule in set(found["rule"])]
    drawn = Figure(figsize=(2.35 * len(shown) + 1.0, 7.4), layout="constrained")
    panels = drawn.subplots(3, len(shown), sharex="row", sharey="row", squeeze=False)
    rows = (("m", "ms"), ("d", "ms"), ("m", "copies"))
    for (along, what), axes in zip(rows, panels, strict=True):
        for rule, axis in zip(shown, axes, strict=True):
            _panel(axis, found, rule, along, what, given)
    for rule, axis in zip(shown, panels[0], strict=True):
        axis.set_title(rule.replace(":", "\n").replace("_", " "), fontsize=10.5, weight="bold")
    labels = (f"time (ms), d = {given.at_d:,}", f"time (ms), m = {given.at_m}", "memory (matrix copies)")
    for axis, label in zip(panels[:, 0], labels, strict=True):
        axis.set_ylabel(label)
    for axes, label in zip(panels, ("workers m", "coordinates d", "workers m"), strict=True):
        for axis in axes:
            axis.set_xlabel(label)
    drawn.legend(handles=_keys(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    mark_quick(drawn, given.quick)
    return drawn


def _keys() -> list[Line2D]:
    names = (
        (OURS, "measured (slope: fitted over the upper half of the sizes)"),
        (CLAIMED, "the claimed power, through the middle of that half"),
        (OTHERS, "the other rules"),
    )
    return [Line2D([], [], label=name, **style) for style, name in names]


def _panel(axis: Axes, found: pd.DataFrame, rule: str, along: str, what: str, given: Scaling) -> None:
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.grid(which="major", color="0.93", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    for other in given.shown:
        line = line_of(found, other, along, given)
        axis.plot(line[along], line[what], **OTHERS)
    line = line_of(found, rule, along, given)
    axis.plot(line[along], line[what], **OURS)
    if what == "ms":
        _claim_line(axis, line, rule, along)
        slope = slope_of(found, rule, along, given)
        if slope is not None:
            doubt = "" if np.isnan(slope.error) else f" ± {slope.error:.2f}"
            axis.text(0.05, 0.95, f"slope {slope.value:.2f}{doubt}", transform=axis.transAxes, va="top", fontsize=8.5)


def _claim_line(axis: Axes, line: pd.DataFrame, rule: str, along: str) -> None:
    power, half = exponent(claim(rule)[0], along), upper_half(line, along)
    if power is None or half.empty:
        return
    x = half[along].to_numpy(float)
    middle = np.exp(np.log(half["ms"].to_numpy(float)).mean() - power * np.log(x).mean())
    axis.plot(x, middle * x**power, **CLAIMED)
    text = f"claim: {power} ({'the paper' if rule in PAPERS else 'ours'})"
    axis.text(0.05, 0.86, text, transform=axis.transAxes, va="top", fontsize=7.5, color=CLAIMED["color"])
