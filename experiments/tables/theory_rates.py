"""BrSGD's Theorem 1 measured: how the error falls with examples n, workers m, attackers alpha and coordinates d.

    make reproduce-theory QUICK=1              the quick edition, with the other theorems
    byzsim run theory_rates                    the full edition

The theorem: F strongly convex, each worker holds n fixed examples and sends its full gradient, step 1 / G_F. Then
||w_T - w*|| falls as (1 - lambda / (G + lambda))^T down to a floor O~(1 / sqrt(n) + 1 / sqrt(nm)). No algorithm does
better than alpha / sqrt(n) + 1 / sqrt(nm) (Yin et al. 2018), with sqrt(d) before both.

Problems
    least squares    x ~ N(0, Sigma) with eigenvalues 1 to 1/4, normal noise: G = 1, lambda = 1/4, step 1
    logistic         logistic regression, ||w*|| = 1, x ~ N(0, I), G = 1/4, step 4; its ridge 1e-4 moves the minimum by
                     less than 1e-3
    skewed           least squares with exponential x and noise: gradients are skewed. (With normal x the gradient's
                     distribution is symmetric at w*, whatever the noise.)
Sweeps               see `SWEEPS`; the error is ||w_T - w*|| after T = 32 steps, a mean over 50 repetitions. (3/4)^32 =
                     1e-4: the contraction is over. The worst attack counts: the theorem is about the worst case.
Attacks              honest mean less z standard deviations (alie) for z = 0.5, 1, 2; sign flip; inner product; for
                     logistic regression flipped labels too
Rules                BrSGD as printed with both thresholds that have no unit, and the authors' code. The theorem's own
                     threshold is not run: with its constants we expect it to keep all, which was not measured.
Left out             Krum beyond m = 320, as it sorts m^2 distances in each of 50 repetitions.

Verdict, fixed before any run: `CLAIMS`. A slope agrees if it is within 0.1 of what is claimed (`WITHIN`).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from byzsim.experiments import slopes
from byzsim.experiments.files import markdown_table
from byzsim.experiments.plan import WORST, Labels, Picture, Position, Table, axis, label
from byzsim.experiments.slopes import Slope
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter

REPETITIONS = 50
EVERY = 2
WITHIN = 0.1
"""how far a slope may be from the claimed one; the habit of diffrax's tests of orders"""
NORMAL, LOGISTIC, SKEWED = "least squares", "logistic", "skewed"
BOTH = (NORMAL, LOGISTIC)
PAPER, HALF, CODE = "brsgd", "brsgd half", "brsgd code"
RULES: dict[str, dict[str, Any]] = {
    "mean": {"rule": "mean"},
    "median": {"rule": "median"},
    "trimmed_mean": {"rule": "trimmed_mean"},
    "trimmed 25 %": {"rule": "trimmed_mean", "declared_f": 0.25},
    PAPER: {"rule": "brsgd"},
    HALF: {"rule": "brsgd", "brsgd.threshold": "half"},
    CODE: {"rule": "brsgd", "brsgd.variant": "code"},
    "geometric_median": {"rule": "geometric_median"},
    "krum": {"rule": "krum"},
}
MOST_KRUM = 320


class Point(NamedTuple):
    """The sizes of a problem."""

    m: int = 40
    n: int = 100
    d: int = 5
    alpha: float = 0.0

    @property
    def name(self) -> str:
        """As a setting."""
        return f"m{self.m} n{self.n} d{self.d} a{self.alpha:g}"


class Sweep(NamedTuple):
    """Points that differ in one size."""

    title: str
    along: str
    """the size"""
    points: tuple[Point, ...]
    problems: tuple[str, ...] = (NORMAL, LOGISTIC, SKEWED)

    def names(self, least: float = 0) -> list[str]:
        """The settings of the points whose size is at least this."""
        return [point.name for point in self.points if getattr(point, self.along) >= least]


def _sweep(
    title: str, along: str, sizes: Sequence[float], problems: tuple[str, ...] | None = None, **others: Any
) -> Sweep:
    changes: list[dict[str, Any]] = [{along: size, **others} for size in sizes]
    points = tuple(Point(**each) for each in changes)
    return Sweep(title, along, points, *([problems] if problems else []))


EXAMPLES, WORKERS = (50, 100, 200, 400, 800), (20, 80, 320, 640, 1280)
SWEEPS = {
    "n": _sweep("examples of a worker, n", "n", EXAMPLES, alpha=0.2),
    "m": _sweep("workers, m, without attackers", "m", WORKERS),
    "m attacked": _sweep("workers, m", "m", WORKERS, BOTH, alpha=0.2),
    "alpha": _sweep("Byzantine fraction, α", "alpha", (0.05, 0.1, 0.2, 0.3, 0.4), BOTH, m=200),
    "d": _sweep("coordinates, d", "d", (5, 10, 20, 40, 80), BOTH, n=400, alpha=0.2),
    "skew": _sweep("examples of a worker, n, without attackers", "n", (10, 20, 40, 80), (SKEWED,), m=2560),
}
OF_SKEW = ("mean", "median", "trimmed_mean", "trimmed 25 %", CODE)
POINTS = dict.fromkeys(itertools.chain(*(sweep.points for sweep in SWEEPS.values())))
SIZES: dict[Any, Point] = {point.name: point for point in POINTS}
PLACES: dict[Any, set[str]] = {
    name: {p for s in SWEEPS.values() if name in s.names() for p in s.problems} for name in SIZES
}
"""point -> the problems that it is measured for"""
ATTACKS: dict[str, dict[str, Any]] = {
    **{f"shift {z:g}": {"attack": "alie", "alie.z": z} for z in (0.5, 1.0, 2.0)},
    **{name: {"attack": name} for name in ("sign_flip", "inner_product", "label_flip")},
}
PROBLEMS: dict[str, dict[str, Any]] = {
    NORMAL: {"task": "least_squares", "lr": 1.0},
    LOGISTIC: {"task": "logistic", "lr": 4.0},
    SKEWED: {"task": "least_squares", "lr": 1.0, "least_squares.draws": "exponential"},
}
CONTRACTION = 1 - 0.25 / 1.25
"""(1 - lambda / (G + lambda)) of least squares"""


def where(position: Position) -> bool:
    """Which positions have a run."""
    rule, problem, name, attack = (position.get(key) for key in ("rule", "problem", "point", "attack"))
    return (
        (name not in SIZES or problem is None or problem in PLACES[name])
        and (attack != "label_flip" or problem == LOGISTIC)
        and (rule != "krum" or name not in SIZES or SIZES[name].m <= MOST_KRUM)
        and (name not in SWEEPS["skew"].names() or rule in OF_SKEW)
    )


# What was measured


def errors(records: Sequence[Mapping[str, Any]], summary: pd.DataFrame) -> pd.DataFrame:
    """A row for each rule, problem and point whose attacks have all run: the worst error, its error, and its course."""
    by_id = {record["id"]: record for record in records}
    rows = []
    for _, cell in summary[summary["attack"] != WORST].iterrows():
        place = {name: cell[name] for name in ("rule", "problem", "point", "attack")}
        record = by_id.get(cell["ids"].split()[0]) if cell["ids"] else None
        lost = record is not None and record["diverged"]
        mean = math.inf if lost else math.nan if record is None else record["distance_to_truth"][-1]
        share = math.nan if record is None or lost else record["distance_to_truth_sd"][-1]
        course = () if record is None else tuple(record["distance_to_truth"])
        many = REPETITIONS if record is None else record.get("repetitions", 1)
        rows.append({**place, "error": mean, "se": share / math.sqrt(many), "course": course})
    found = pd.DataFrame(rows)
    whole = found.groupby(["rule", "problem", "point"], sort=False)["error"].transform(lambda of: of.notna().all())
    worst = found[whole].sort_values("error", ascending=False, kind="stable")
    return worst.drop_duplicates(["rule", "problem", "point"]).sort_index().reset_index(drop=True)


def along(found: pd.DataFrame, rule: str, problem: str, sweep: Sweep, least: float = 0) -> pd.DataFrame:
    """The errors of a rule along a sweep, with the size as `x`."""
    part = found[(found["rule"] == rule) & (found["problem"] == problem) & found["point"].isin(sweep.names(least))]
    return part.assign(x=[getattr(SIZES[name], sweep.along) for name in part["point"]]).sort_values("x")


def slope(found: pd.DataFrame, rule: str, problem: str, sweep: Sweep, least: float = 0, *, whole: bool = True) -> Slope:
    """The fitted exponent; `NO_SLOPE` unless all points are there, or with whole=False at least two."""
    part = along(found, rule, problem, sweep, least)
    if whole and len(part) < len(sweep.names(least)):
        return slopes.NO_SLOPE
    return slopes.fit(part["x"], part["error"], part["se"])


# The verdict


class Claim(NamedTuple):
    """The claimed exponent of rules along a sweep."""

    says: str
    sweep: str
    rules: tuple[str, ...]
    problems: tuple[str, ...]
    expected: float
    least: float = 0
    """from which size on"""


ROBUST = ("median", "trimmed_mean", "trimmed 25 %", PAPER, HALF, CODE, "geometric_median")
BUYS = ("mean", "median", "trimmed_mean", "trimmed 25 %", "geometric_median", CODE)
CLAIMS = (
    Claim("The error of every rule falls as n^(-1/2) under the worst attack", "n", (*ROBUST, "krum"), BOTH, -0.5),
    Claim("Without attackers it falls as m^(-1/2), but for BrSGD as printed and Krum", "m", BUYS, BOTH, -0.5),
    Claim("BrSGD as printed has a floor that workers do not buy down (m >= 320)", "m", (PAPER, HALF), BOTH, 0.0, 320),
    Claim("Under attack more workers help no rule (alpha sqrt(m) > 1: m >= 320)", "m attacked", ROBUST, BOTH, 0.0, 320),
    Claim("The error grows as alpha, where alpha sqrt(m) > 1", "alpha", ROBUST, BOTH, 1.0, 0.1),
    Claim("It grows as d^(1/2)", "d", ROBUST, BOTH, 0.5),
    Claim("Skewed gradients: the median's error falls as 1/n, its bias", "skew", ("median",), (SKEWED,), -1.0),
    Claim("Skewed gradients: the mean's error falls as n^(-1/2)", "skew", ("mean",), (SKEWED,), -0.5),
)


def verdict(found: pd.DataFrame, claims: Sequence[Claim] = CLAIMS) -> pd.DataFrame:
    """A row for each claim: Claim, Slope claimed, Verdict ("holds", "fails" or "not run"), Agree, and the others."""
    rows = []
    for claim in claims:
        pairs = list(itertools.product(claim.rules, claim.problems))
        seen = {pair: slope(found, *pair, SWEEPS[claim.sweep], claim.least) for pair in pairs}
        known = {pair: each for pair, each in seen.items() if not math.isnan(each.value)}
        off = {pair: each for pair, each in known.items() if abs(each.value - claim.expected) > WITHIN}
        said = "not run" if len(known) < len(pairs) else "fails" if off else "holds"
        others = "; ".join(f"{rule}, {problem}: {_text(each)}" for (rule, problem), each in off.items())
        rows.append([claim.says, f"{claim.expected:+.1f}", said, f"{len(known) - len(off)} of {len(pairs)}", others])
    rows += [_contraction(found)] if claims is CLAIMS else []
    return pd.DataFrame(rows, columns=["Claim", "Slope claimed", "Verdict", "Agree", "Others"])


def _contraction(found: pd.DataFrame) -> list[str]:
    """The row of the claim about the error before the floor."""
    each = {rule: rate(found, rule) for rule in ROBUST}
    known = {rule: value for rule, value in each.items() if not math.isnan(value)}
    slow = {rule: value for rule, value in known.items() if value > CONTRACTION}
    said = "not run" if len(known) < len(each) else "fails" if slow else "holds"
    others = "; ".join(f"{rule}: {value:.3f}" for rule, value in slow.items())
    says = "Before the floor each step shortens the error by 1 - λ/(G + λ) or more (least squares)"
    return [says, f"≤ {CONTRACTION:g} a step", said, f"{len(known) - len(slow)} of {len(each)}", others]


CONTRACTS = Point(m=320, alpha=0.2).name


def rate(found: pd.DataFrame, rule: str) -> float:
    """The mean factor of one step, from the first measurement down to twice the floor, for least squares at m = 320."""
    part = found[(found["rule"] == rule) & (found["problem"] == NORMAL) & (found["point"] == CONTRACTS)]
    if part.empty or not math.isfinite(part["error"].iloc[0]):
        return math.nan
    course = np.array(part["course"].iloc[0])
    last = max(int(np.argmax(course < 2 * course[-1])), 1)
    return float((course[last] / course[0]) ** (1 / (EVERY * last)))


def _text(each: Slope) -> str:
    return f"{each.value:+.2f} ± {each.half:.2f}"


# The report


LOOKS: dict[str, dict[str, Any]] = {
    "mean": {"color": "#000000", "marker": "s"},
    "median": {"color": "#56B4E9", "marker": "v"},
    "trimmed_mean": {"color": "#E69F00", "marker": "^"},
    "trimmed 25 %": {"color": "#E69F00", "marker": "<", "linestyle": "--"},
    PAPER: {"color": "#D55E00", "marker": "o", "linewidth": 3.0, "markersize": 9},
    HALF: {"color": "#D55E00", "marker": "P", "linestyle": "--"},
    CODE: {"color": "#CC79A7", "marker": "D"},
    "geometric_median": {"color": "#009E73", "marker": "X"},
    "krum": {"color": "#0072B2", "marker": "*", "markersize": 9},
}
OTHERS = {"color": "0.4", "marker": "o"}
GUIDES = {"n": -0.5, "m": -0.5, "m attacked": 0.0, "alpha": 1.0, "d": 0.5, "skew": -1.0}
"""the slope that is drawn in each panel"""


def pictures(records: Sequence[Mapping[str, Any]], summary: pd.DataFrame, labels: Labels) -> dict[str, Picture]:
    """A row of panels for each problem with the verdict, and the floor that BrSGD's workers do not buy down."""
    found = errors(records, summary)
    if found.empty:
        return {}
    judged = verdict(found)
    text = (
        "Error ||w - w*|| at the end under the worst attack, means over repetitions; dashed: the slope that the theory "
        "claims. Both axes are logarithmic.\n\n"
        f"### The verdict, fixed before the run\n\nA slope agrees within {WITHIN:g}.\n\n"
        f"{markdown_table([*judged.columns], judged.to_numpy())}\n\n### All slopes, with 95 % intervals\n\n"
        f"{_slopes(found, labels)}"
    )
    made = {"rates": Picture(rates_figure(found, labels), "How the error falls", text)}
    floor = floor_figure(found, labels)
    if floor:
        made["floor"] = Picture(floor, "A floor that workers do not buy down", _floor(found, labels))
    return made


def rates_figure(found: pd.DataFrame, labels: Labels) -> Figure:
    """Log-log panels: a row for each problem, a column for each sweep that has errors."""
    problems = [name for name in PROBLEMS if (found["problem"] == name).any()]
    drawn = [
        key for key, sweep in SWEEPS.items() if found["point"].isin(sweep.names()).sum() and _crossed(found, sweep)
    ]
    drawn = drawn or [next(iter(SWEEPS))]
    rules = [rule for rule in dict.fromkeys([*LOOKS, *found["rule"]]) if (found["rule"] == rule).any()]
    figure = Figure(figsize=(1.2 + 3.3 * len(drawn), 1.6 + 3.0 * len(problems)), layout="constrained")
    grid = figure.subplots(len(problems), len(drawn), squeeze=False)
    for row, problem in zip(grid, problems, strict=True):
        row[0].set_ylabel(f"{label(problem, labels)}\nerror ||w − w*||", fontsize=12)
        for axes, key in zip(row, drawn, strict=True):
            sweep, middles = SWEEPS[key], []
            for rule in rules:
                part = along(found, rule, problem, sweep)
                part = part[np.isfinite(part["error"])]
                if len(part):
                    look = LOOKS.get(rule, OTHERS)
                    axes.errorbar(part["x"], part["error"], yerr=slopes.WIDTH * part["se"], elinewidth=1.2, **look)
                    middles.append(part["error"].to_numpy()[0])
            if not middles:
                axes.set_axis_off()
                continue
            _finish(axes, sweep, GUIDES[key], float(np.median(middles)))
    for axes, key in zip(grid[0], drawn, strict=True):
        alpha = {point.alpha for point in SWEEPS[key].points}
        words = f"α = {next(iter(alpha)):g}" if len(alpha) == 1 else "worst attack"
        axes.set_title(f"along {SWEEPS[key].along.replace('alpha', 'α')}, {words}", weight="bold", fontsize=12)
    handles = [Line2D([], [], label=label(rule, labels), **LOOKS.get(rule, OTHERS)) for rule in rules]
    handles.append(Line2D([], [], color="0.5", linestyle=(0, (4, 3)), label="slope of the theory"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=11)
    return figure


def _crossed(found: pd.DataFrame, sweep: Sweep) -> bool:
    """Whether some rule has errors at two points of the sweep."""
    part = found[found["point"].isin(sweep.names()) & found["problem"].isin(sweep.problems)]
    return bool((part.groupby(["rule", "problem"])["point"].nunique() > 1).any())


def _finish(axes: Any, sweep: Sweep, guide: float, middle: float) -> None:
    """Log scales with the sizes as ticks, and a line of the claimed slope."""
    sizes = np.array([getattr(point, sweep.along) for point in sweep.points])
    axes.plot(sizes, middle * (sizes / sizes[0]) ** guide, color="0.5", linestyle=(0, (4, 3)), zorder=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sizes.tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.tick_params(axis="x", labelrotation=45 if len(sizes) > 5 else 0)
    axes.set_xlabel(sweep.title, fontsize=11)
    axes.grid(color="0.93")
    axes.spines[["top", "right"]].set_visible(False)


def pattern_shift(d: int) -> float:
    """l2 norm of the shift, in standard deviations, of the better half by score of infinitely many normal rows.

    With m infinite the majority's side of a column is a coin toss, and a row's score S is Binomial(d, 1/2), apart from
    the sizes |g_c|, of which the mean is sqrt(2 / pi). The upper half by score (ties shared evenly) has in each column
    the mean sqrt(2 / pi) E[2 S / d - 1 | upper half] along the majority's side: it is off by sqrt(d) times that.
    """
    chances = np.array([math.comb(d, s) for s in range(d + 1)]) / 2**d
    above = np.cumsum(chances[::-1])[::-1] - chances  # chance of a larger score
    kept = np.clip(0.5 - above, 0, chances)
    return math.sqrt(d * 2 / math.pi) * float((kept * (2 * np.arange(d + 1) / d - 1)).sum() / kept.sum())


def floor_figure(found: pd.DataFrame, labels: Labels) -> Figure | None:
    """error x sqrt(n) against m without attackers, and the course of the error before the floor."""
    sweep, rules = SWEEPS["m"], ("mean", "median", CODE, HALF, PAPER)
    parts = {rule: along(found, rule, NORMAL, sweep) for rule in rules}
    parts = {rule: part for rule, part in parts.items() if len(part) > 1}
    if "mean" not in parts:
        return None
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for rule, part in parts.items():
        left.errorbar(part["x"], part["error"] * math.sqrt(Point().n), **LOOKS[rule], label=label(rule, labels))
        course = found[(found["rule"] == rule) & (found["problem"] == NORMAL) & (found["point"] == CONTRACTS)]["course"]
        if len(course):
            steps = EVERY * np.arange(1, 1 + len(course.iloc[0]))
            right.plot(steps, course.iloc[0], **LOOKS[rule])
    _finish(left, sweep, -0.5, parts["mean"]["error"].iloc[0] * math.sqrt(Point().n))
    left.set_ylabel("error × √n", fontsize=12)
    left.set_title("No attackers: the floor against m", weight="bold", fontsize=12)
    steps = np.arange(0, 13)
    right.plot(steps, CONTRACTION**steps, color="0.5", linestyle=(0, (4, 3)))
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set(yscale="log", xlabel="steps", ylabel="error under the worst attack")
    right.set_title(f"Contraction, then the floor (m = {SIZES[CONTRACTS].m}, α = 0.2)", weight="bold", fontsize=12)
    right.grid(color="0.93")
    right.spines[["top", "right"]].set_visible(False)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=11)
    return figure


def _floor(found: pd.DataFrame, labels: Labels) -> str:
    rows = []
    for rule in (PAPER, HALF, CODE, "mean"):
        part = along(found, rule, NORMAL, SWEEPS["m"])
        if len(part):
            each = [
                f"{x:g}: {error * math.sqrt(Point().n):.2f}" for x, error in zip(part["x"], part["error"], strict=True)
            ]
            rows.append([label(rule, labels), ", ".join(each)])
    return (
        "Least squares without attackers. Left: error times √n, which no more workers change if it is a floor; dashed: "
        "the slope −1/2. Right: the error over the steps; dashed: the theorem's contraction.\n\n"
        f"{markdown_table(['Rule', 'Error × √n at m'], rows)}\n\n"
        "**The mechanism.** BrSGD as printed keeps the half of the rows that are most often on the majority's side of "
        "the column means. Without attackers the majority's side is chance, but those who stand with it are not: their "
        "mean is shifted towards that side in every column at once. For normal rows and m without bound the upper "
        f"half by score is off by {pattern_shift(5):.2f} standard deviations of a row at d = 5, "
        f"{pattern_shift(10):.2f} at d = 10 and {pattern_shift(80):.2f} at d = 80 (`pattern_shift`), and the "
        "constraint of the threshold takes some of it away. A row's standard deviation is of the order 1/√n, so n buys "
        "the shift down and m does not. "
        "The theorem is not wrong: its bound has a constant, and not α, before 1/√n. So its floor is of the best order "
        'where α is a constant share, and "order-optimal" cannot mean 1/√(nm) at α = 0, nor α/√n for small α.'
    )


def _slopes(found: pd.DataFrame, labels: Labels) -> str:
    rows = []
    for problem in dict.fromkeys(found["problem"]):
        for rule in dict.fromkeys(found["rule"]):
            each = [slope(found, rule, problem, sweep, whole=False) for sweep in SWEEPS.values()]
            if not all(math.isnan(one.value) for one in each):
                texts = ["" if math.isnan(one.value) else _text(one) for one in each]
                rows.append([problem, label(rule, labels), *texts])
    heads = [f"{sweep.along}{' (α = 0)' if sweep.points[0].alpha == 0 else ''}" for sweep in SWEEPS.values()]
    heads[-1] += ", m = 2560"
    return markdown_table(["Problem", "Rule", *heads], rows)


def _point(point: Point) -> dict[str, Any]:
    sizes = {f"{task}.{name}": getattr(point, name) for task in ("least_squares", "logistic") for name in ("n", "d")}
    return {"m": point.m, "alpha": point.alpha, **sizes}


SPEC = Table(
    name="theory_rates",
    title="BrSGD's Theorem 1: the error against n, m, α and d",
    source="this project; no published numbers",
    base={
        "model": None,
        "batch": None,
        "total_steps": 32,
        "eval_every": EVERY,
        "repetitions": REPETITIONS,
        "seed": 100,
        "least_squares.n_test": 1,
        "least_squares.condition": 4.0,
        "logistic.n_test": 1,
        "logistic.size": 1.0,
        "logistic.ridge": 1e-4,
    },
    axes=(
        axis("rule", RULES),
        axis("problem", PROBLEMS),
        axis("point", {point.name: _point(point) for point in POINTS}),
        axis("attack", ATTACKS),
    ),
    where=where,
    panels=["problem"],
    quick={"repetitions": 10},
    metric="distance_to_truth",
    worst_over="attack",
    labels={
        "mean": "Mean",
        "median": "Median",
        "trimmed_mean": "Trimmed mean, f",
        "trimmed 25 %": "Trimmed mean, 25 %",
        PAPER: "BrSGD as printed",
        HALF: "BrSGD as printed, threshold half",
        CODE: "BrSGD, authors' code",
        "geometric_median": "Geometric median",
        "krum": "Krum",
        "distance_to_truth": "||w - w*||",
        NORMAL: "Least squares",
        LOGISTIC: "Logistic regression",
        SKEWED: "Skewed least squares",
    },
    pictures=pictures,
)
