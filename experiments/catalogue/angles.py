"""The angle between a rule's output and the true gradient under the worst attack, against d, m, f, s and the noise.

Honest rows are N(g, I) with a true gradient g in a random direction. Byzantine rows come from every
attack of `byzsim.kappa.battery`, and from copies of one honest row. The angular error of a rule is the mean angle over
draws, of the attack with the largest mean.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from byzsim import AGGREGATORS, check_shapes, kappa, oneshot
from byzsim.experiments import files
from byzsim.experiments.errors import unknown
from byzsim.experiments.files import markdown_table, write_whole
from byzsim.experiments.report.figures import save
from jaxtyping import Array, Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator
from scipy.stats import linregress
from scipy.stats import t as student

M, D, LENGTH = 43, 64, 300.0
"""of all cells but those of a sweep; sqrt(d) / ||g|| = 0.03, so that errors are small angles"""
COPIES = "copies of one worker"
SLOWEST = ("C(m, f)", "m^3", "m^4")
"""costs of rules that are left out"""


class Cell(NamedTuple):
    """What is drawn: m rows of d coordinates, s of them Byzantine, for a rule that declares f."""

    m: int
    f: int
    s: int
    d: int
    length: float
    """||g||"""


class Sweep(NamedTuple):
    """Cells that differ in one thing."""

    title: str
    axis: str
    x: Sequence[float]
    cells: Sequence[Cell]
    claimed: float | None
    """slope of AKSEL's error that is claimed, or None"""
    why: str
    bound: bool = False
    """whether the claim is an upper bound, below which a slope may lie"""


def declared(m: int) -> int:
    """The largest f that Bulyan takes, about a quarter of the workers."""
    return (m - 3) // 4


def sweeps(quick: bool) -> dict[str, Sweep]:
    """What is varied, one thing at a time."""
    ds = (4, 16, 64) if quick else (4, 16, 64, 256, 1024)
    ms = (11, 23) if quick else (11, 23, 43, 83, 163)
    m = ms[-1] if quick else M
    most = (m - 3) // 2  # the largest f that Krum takes
    fs = sorted({max(round(share * most), 1) for share in (0.05, 0.15, 0.3, 0.5, 0.75, 1)} | {(m - 1) // 2})
    ss = sorted({round(share * most) for share in (0, 0.05, 0.15, 0.3, 0.5, 0.75, 1)})
    noises = (0.1, 0.3, 1, 3, 10, 30)
    logs = np.log(np.sqrt(np.log(ms)))
    by_log = float(np.polyfit(np.log(ms), logs, 1)[0])
    f = declared(m)
    return {
        "d": Sweep(
            f"dimension (s = f = {f})", "d", ds, [Cell(m, f, f, d, LENGTH) for d in ds], 0.5, "sqrt(d), the abstract"
        ),
        "n": Sweep(
            "workers, a quarter attack (s = f)",
            "n",
            ms,
            [Cell(m, declared(m), declared(m), D, LENGTH) for m in ms],
            by_log,
            "sqrt(log n), the abstract; an upper bound",
            bound=True,
        ),
        "n, nobody attacks": Sweep(
            "workers, nobody attacks (s = 0, f = n / 4)",
            "n",
            ms,
            [Cell(m, declared(m), 0, D, LENGTH) for m in ms],
            -0.5,
            "1 / sqrt(n), an average of independent rows; no claim of the paper",
        ),
        "f": Sweep(
            "Byzantine workers, all attack (s = f)",
            f"f, of n = {m}",
            fs,
            [Cell(m, f, f, D, LENGTH) for f in fs],
            None,
            "no claim",
        ),
        "s": Sweep(
            f"workers that really attack (f = {most})",
            "s",
            ss,
            [Cell(m, most, s, D, LENGTH) for s in ss],
            None,
            "no claim",
        ),
        "noise": Sweep(
            f"noise (s = f = {f})",
            "√d / ||g||",
            noises,
            [Cell(m, f, f, D, math.sqrt(D) / noise) for noise in noises],
            1.0,
            "proportional, while the angle is small",
        ),
    }


# The rules


def rules() -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Label -> (rule, options): every full-gradient rule up to O(m^2 d), and three for comparison.

    A full-gradient rule weighs whole rows: it is a function of the rows of one step, and not coordinate-wise.
    """
    left_out = {"stateful", "server", "coordinatewise"}
    full = {
        name: (name, {})
        for name, spec in AGGREGATORS.items()
        if not spec.traits & left_out and spec.factory().redundancy == 1 and not any(c in spec.cost for c in SLOWEST)
    }
    modes = {"aksel": ("aksel", {}), "aksel, n - f": ("aksel", {"count": "m-f"})}
    return modes | full | {name: (name, {}) for name in ("median", "trimmed_mean", "mean")}


# The measurement


@functools.lru_cache(maxsize=1)
def _drawing(m: int, d: int) -> Any:
    """(key, s, ||g||) -> (the rows of all workers under each attack, g / ||g||), compiled."""

    def drawn(key: Array, s: Array, length: Array) -> tuple[Float[Array, "n m d"], Float[Array, " d"]]:
        g_key, noise_key, attack_key = jax.random.split(key, 3)
        g = jax.random.normal(g_key, (d,))
        g = g / jnp.linalg.norm(g)
        rows = length * g[None] + jax.random.normal(noise_key, (m, d))
        byz = jnp.arange(m) < s
        copied = jnp.where(byz[:, None], rows[-1:], rows)
        return jnp.concatenate([copied[None], kappa.battery(rows, byz, oneshot.make_context(attack_key, s, d))]), g

    return jax.jit(drawn)


@functools.lru_cache(maxsize=64)
def _measuring(rule: str, options: tuple[tuple[str, Any], ...], m: int, d: int) -> Any:
    """(rows under each attack, g / ||g||, f) -> the angle of a rule's output to g under each, compiled."""
    made = AGGREGATORS[rule].factory(**dict(options))

    def angles(rows: Float[Array, "n m d"], g: Float[Array, " d"], f: Array) -> Float[Array, " n"]:
        def angle(each: Float[Array, "m d"]) -> Float[Array, ""]:
            out, _ = oneshot.aggregate(made, each, oneshot.make_context(jax.random.key(0), f, d))
            along = jnp.vdot(out, g)
            return jnp.arctan2(jnp.linalg.norm(out - along * g), along)  # exact for small angles, unlike arccos

        return jax.lax.map(angle, rows)

    return jax.jit(angles)


def angular_errors(
    cell: Cell, chosen: Mapping[str, tuple[str, Mapping[str, Any]]], draws: int, seed: int
) -> dict[str, dict[str, Any]]:
    """{label of a rule: {"angle", "deviation" (over draws, of the mean) and "attack"}} in radians.

    Where nobody attacks, each draw is an attack's own, so that there are many draws.
    """
    names = [COPIES, *kappa.battery_names()]
    found: dict[str, list[np.ndarray]] = {name: [] for name in chosen}
    for key in jax.random.split(jax.random.key(seed), draws):
        if cell.s:
            rows, g = _drawing(cell.m, cell.d)(key, cell.s, cell.length)
        else:  # in place of attacks as many draws, turned so that g is the same
            g = jnp.zeros(cell.d).at[0].set(1)
            rows = (cell.length * g)[None, None] + jax.random.normal(key, (len(names), cell.m, cell.d))
        for label, (rule, options) in chosen.items():
            measure = _measuring(rule, tuple(options.items()), cell.m, cell.d)
            found[label].append(np.asarray(measure(rows, g, cell.f), np.float64))
    return {label: _worst(np.stack(each), names if cell.s else None) for label, each in found.items()}


def _worst(angles: np.ndarray, names: Sequence[str] | None) -> dict[str, Any]:
    """Of angles (draws, attacks): mean and its deviation for the attack of the largest mean; over all without names."""
    if names is None:
        angles, names = angles.reshape(-1, 1), ["none"]
    angles = np.where(np.isfinite(angles), angles, np.pi)  # an output that is not finite has no direction
    at = int(angles.mean(axis=0).argmax())
    worst = angles[:, at]
    deviation = worst.std(ddof=1) / np.sqrt(len(worst)) if len(worst) > 1 else np.nan
    return {"angle": worst.mean(), "deviation": deviation, "attack": names[at]}


def measure(
    planned: Mapping[str, Sweep], chosen: Sequence[str], draws: int, seed: int, log: Callable[[str], object]
) -> pd.DataFrame:
    """A row for each sweep, place and rule: sweep, x, rule, m, f, s, d, length, beyond, and the error.

    `beyond`: somebody attacks, and f is more than the rule's guarantee covers.

    Raises:
        UserError: for rules that are none of `rules`.
    """
    known = rules()
    if strange := [name for name in chosen if name not in known]:
        raise unknown("full-gradient rule", strange[0], known)
    used = {name: known[name] for name in chosen or known}
    places = [(name, x, cell) for name, sweep in planned.items() for x, cell in zip(sweep.x, sweep.cells, strict=True)]
    for _, _, cell in places:
        check_shapes.fits(f"attacks on {cell.m} rows", 4 * cell.m * cell.d * (1 + len(kappa.battery_names())))
    done: dict[Cell, dict[str, dict[str, Any]]] = {}
    shapes: dict[tuple[int, int], dict[Cell, None]] = {}
    for _, _, cell in places:
        shapes.setdefault((cell.m, cell.d), {})[cell] = None
    for (m, d), cells in shapes.items():
        for cell in cells:
            done[cell] = angular_errors(cell, used, draws, seed)
        jax.clear_caches()  # hundreds of small programs would exhaust the memory maps of a process
        log(f"n = {m}, d = {d}: {len(cells)} cells")
    return pd.DataFrame(
        {
            "sweep": name,
            "x": x,
            "rule": label,
            **cell._asdict(),
            "beyond": cell.s > 0 and cell.f > AGGREGATORS[rule].max_f(cell.m),
        }
        | done[cell][label]
        for name, x, cell in places
        for label, (rule, _) in used.items()
    )


# Slopes


WITHIN = 0.1
"""by how much a slope may miss the claimed one"""


def slopes(found: pd.DataFrame, planned: Mapping[str, Sweep]) -> pd.DataFrame:
    """A row for each sweep and rule: the slope of log error against log x with its 95 % interval, and the claimed one.

    Only places with x > 0, an f within the rule's guarantee and an angle below 1 count, and at least three of them.
    """
    rows = []
    for sweep, rule in dict.fromkeys(zip(found["sweep"], found["rule"], strict=True)):
        part = found[(found["sweep"] == sweep) & (found["rule"] == rule)]
        used = part[(part["x"] > 0) & (part["angle"] < 1) & ~part["beyond"]]
        slope, low, high = math.nan, math.nan, math.nan
        if len(used) > 2:
            fit = linregress(np.log(used["x"]), np.log(used["angle"]))
            slope, half = fit.slope, student.ppf(0.975, len(used) - 2) * fit.stderr
            low, high = slope - half, slope + half
        claim = planned[sweep]
        rows.append([sweep, rule, len(used), slope, low, high, claim.claimed, verdict(slope, claim)])
    return pd.DataFrame(rows, columns=["sweep", "rule", "places", "slope", "low", "high", "claimed", "verdict"])


def verdict(slope: float, claim: Sweep) -> str:
    """Whether a slope is within `WITHIN` of the claimed one, or below an upper bound; "" without claim or slope."""
    if claim.claimed is None or math.isnan(slope):
        return ""
    near = slope <= claim.claimed + WITHIN if claim.bound else abs(slope - claim.claimed) <= WITHIN
    return "holds" if near else "fails"


def breaking(found: pd.DataFrame) -> dict[str, float]:
    """Label of a rule -> sqrt(d) / ||g|| at which the worst angle is a right one, interpolated in log x."""
    crossed = {}
    for rule in dict.fromkeys(found["rule"]):
        part = found[(found["sweep"] == "noise") & (found["rule"] == rule) & ~found["beyond"]]
        over = np.flatnonzero(part["angle"] >= np.pi / 2)
        if len(part) and len(over) and over[0] > 0:
            at = slice(over[0] - 1, over[0] + 1)
            crossed[rule] = float(np.exp(np.interp(np.pi / 2, part["angle"].iloc[at], np.log(part["x"].iloc[at]))))
    return crossed


# The page


LOOKS: dict[str, dict[str, Any]] = {
    "aksel": {"color": "#0072B2", "marker": "o", "linewidth": 3.0, "markersize": 8},
    "aksel, n - f": {"color": "#0072B2", "marker": "s", "linewidth": 2.0, "linestyle": "--", "markersize": 7},
    "krum": {"color": "#CC79A7", "marker": "D"},
    "multi_krum": {"color": "#CC79A7", "marker": "P", "linestyle": "--"},
    "bulyan": {"color": "#56B4E9", "marker": "h"},
    "medoid": {"color": "#56B4E9", "marker": "p", "linestyle": "--"},
    "geometric_median": {"color": "#009E73", "marker": "X"},
    "geometric_median_of_means": {"color": "#009E73", "marker": "x", "linestyle": "--"},
    "median": {"color": "#D55E00", "marker": "v"},
    "trimmed_mean": {"color": "#D55E00", "marker": "^", "linestyle": "--"},
    "mean": {"color": "#000000", "marker": ".", "linestyle": ":"},
    "brsgd": {"color": "#E69F00", "marker": "<"},
    "monna": {"color": "#E69F00", "marker": ">", "linestyle": "--"},
    "cge": {"color": "0.45", "marker": "1"},
    "dnc": {"color": "0.45", "marker": "2", "linestyle": "--"},
    "signguard": {"color": "0.45", "marker": "3", "linestyle": ":"},
}
"""of lines; colours are those of Okabe and Ito"""
OTHERS = {"color": "0.7", "marker": "."}


def write(found: pd.DataFrame, planned: Mapping[str, Sweep], folder: Path, line: str) -> None:
    """README.md, angles.csv, slopes.csv, angles.png and .svg in `folder`; `line` says how they were made."""
    folder.mkdir(parents=True, exist_ok=True)
    fitted = slopes(found, planned)
    save(picture(found, planned), folder / "angles")
    write_whole(folder / "angles.csv", files.csv(found, float_format="%.6g").encode())
    write_whole(folder / "slopes.csv", files.csv(fitted, float_format="%.4f").encode())
    write_whole(folder / "README.md", _page(found, fitted, planned, line).encode())


def _page(found: pd.DataFrame, fitted: pd.DataFrame, planned: Mapping[str, Sweep], line: str) -> str:
    claims = [
        [sweep.title, "none" if sweep.claimed is None else f"{sweep.claimed:+.2f}", sweep.why]
        for sweep in planned.values()
    ]
    cells, said = {}, []
    for _, row in fitted.iterrows():
        slope, low, high = row[["slope", "low", "high"]]
        cells[row["rule"], row["sweep"]] = "" if math.isnan(slope) else f"{slope:+.2f} ({low:+.2f} to {high:+.2f})"
        if row["verdict"]:
            said.append([row["rule"], planned[row["sweep"]].title, row["verdict"]])
    rules = list(dict.fromkeys(found["rule"]))
    measured = [[rule, *(cells[rule, sweep] for sweep in planned)] for rule in rules]
    ours = [row for row in said if row[0].startswith("aksel")]
    crossed = breaking(found)
    breaks = [[rule, f"{crossed[rule]:.2g}" if rule in crossed else "not within the sweep"] for rule in rules]
    attacks = [
        [rule, *(_attacks(found, rule, sweep) for sweep in planned if sweep != "n, nobody attacks")] for rule in rules
    ]
    shown = [sweep.title for sweep in planned.values()]
    parts = [
        "# Angular error",
        line,
        (__doc__ or "").partition("\n\n")[2].strip(),
        "The abstract of AKSEL (Boussetta et al., OPODIS 2020) promises an expected angular error of O(sqrt d), and "
        "O(sqrt(d log n)) for normal gradients, the lowest upper bound among full-gradient rules. Constants are not "
        "known: the paper could not be had. So slopes are compared. Full-gradient rules weigh whole rows; rules "
        "slower than O(m^2 d) are left out; the coordinate-wise median and trimmed mean, and the mean, are there for "
        "comparison. Places where f is beyond a rule's guarantee are left out while somebody attacks.",
        "![Angular error](angles.png)",
        "Grey and dashed: the claimed slope, through AKSEL's first point. Dotted in the last panel: a right angle.",
        "## Claimed slopes",
        markdown_table(["Against", "Claimed slope", "Why"], claims),
        "## AKSEL's verdict, fixed before the run",
        f"A slope holds if it is within {WITHIN:g} of the claimed one, or at most {WITHIN:g} above an upper bound.",
        markdown_table(["Rule", "Against", "Verdict"], ours),
        "## Measured slopes",
        "Slopes of log error against log x, with 95 % intervals of the regression (Student's t); of angles below 1.",
        markdown_table(["Rule", *shown], measured),
        "## The noise at which the worst angle is a right one",
        "sqrt(d) / ||g||; beyond it the rule no longer points along the gradient, on average.",
        markdown_table(["Rule", "√d / ||g||"], breaks),
        "## The worst attacks",
        "At the last place of each sweep.",
        markdown_table(["Rule", *(s.title for name, s in planned.items() if name != "n, nobody attacks")], attacks),
    ]
    return "\n\n".join(parts) + "\n"


def _attacks(found: pd.DataFrame, rule: str, sweep: str) -> str:
    part = found[(found["sweep"] == sweep) & (found["rule"] == rule) & ~found["beyond"]]
    return str(part["attack"].iloc[-1]) if len(part) else ""


def picture(found: pd.DataFrame, planned: Mapping[str, Sweep]) -> Figure:
    """A panel for each sweep, a line for each rule, logarithmic; the claimed slope through AKSEL's first point."""
    figure = Figure(figsize=(16, 10), layout="constrained")
    grid = figure.subplots(2, 3, sharey=True)
    rules = sorted(dict.fromkeys(found["rule"]), key=lambda rule: [*LOOKS, rule].index(rule))
    for axes, (name, sweep) in zip(grid.flat, planned.items(), strict=True):
        part = found[(found["sweep"] == name) & ~found["beyond"]]
        for rule in reversed(rules):
            line = part[part["rule"] == rule]
            axes.plot(line["x"], line["angle"], **LOOKS.get(rule, OTHERS))
        first = part[(part["rule"] == rules[0]) & (part["x"] > 0)]
        if sweep.claimed is not None and len(first):
            x, y = np.array(first["x"], float), float(first["angle"].iloc[0])
            axes.plot(
                x,
                np.minimum(y * (x / x[0]) ** sweep.claimed, np.pi),
                color="0.6",
                linestyle="--",
                linewidth=5,
                alpha=0.5,
                zorder=1,
            )
        axes.set_yscale("log")
        axes.set_ylim(top=4)
        if name == "s":
            axes.set_xscale("symlog", linthresh=1)
        else:
            axes.set_xscale("log")
        axes.set_xticks(list(sweep.x), [f"{x:.3g}" for x in sweep.x])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(sweep.title, weight="bold", fontsize=13)
        axes.set_xlabel(sweep.axis, fontsize=13)
        axes.tick_params(labelsize=11)
        axes.grid(color="0.93")
        axes.spines[["top", "right"]].set_visible(False)
    grid.flat[-1].axhline(np.pi / 2, color="0.3", linestyle=":")
    grid[0][0].yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    for row in grid:
        row[0].set_ylabel("angle to the true gradient (radians)", fontsize=13)
    handles = [Line2D([], [], label=rule.replace("_", " "), **LOOKS.get(rule, OTHERS)) for rule in rules]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=12)
    return figure
