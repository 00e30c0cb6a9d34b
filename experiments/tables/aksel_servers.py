"""AKSEL at several servers of which some are Byzantine: servers exchange models and take their median (ByzSGD).

    byzsim run aksel_servers

The abstract of AKSEL says that the rule extends to several servers; how was not to be had. So this is the exchange of
ByzSGD (El-Mhamdi et al., PODC 2020), from the same group, with AKSEL for the workers' gradients: task `servers`.

Chosen before any run of these seeds
    workers      15, of which 3 send the mean less 1.5 standard deviations (ALIE); f = 3; each server hears 12 of them,
                 drawn anew, so that servers compute different steps.
    servers      one; 4 of which 1, and 7 of which 2 are Byzantine (n_ps > 3 f_ps); 3 of which 1, and 6 of which 2 are
                 (n_ps = 3 f_ps). Byzantine servers send random, reversed (-100 times) or sign-flipped models.
    exchange     every 10 steps, measured every 5: right after an exchange, and 5 steps before. Beside them 4
                 honest servers that never exchange.
    training     784-100-10 on MNIST, batches of 32, 150 steps at 0.02 with the workers' classic momentum of 0.9; the
                 first 2,000 test images.
    seeds        5 to 9. Parts of seeds 0 to 2 were looked at, at a rate of 0.2 without momentum: single runs went up
                 and down by 10 points between measurements. The present rate and momentum were chosen with seeds 1000
                 and 1001 of one server, the claims before any run.

Verdict, fixed before any run: `verdict`. Differences to one server are paired by seed, with intervals that hold for all
cells at once with 95 % (Student's t, Bonferroni); a point counts as equal.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from byzsim.experiments.files import markdown_table
from byzsim.experiments.plan import Labels, Picture, Table, axis, label
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import t as student

ONE, NEVER = "1 server", "4 servers that never exchange"
ATTACKS = ("random", "reversed", "sign_flip")
INSIDE, BEYOND = ((4, 1), (7, 2)), ((3, 1), (6, 2))
"""(n_ps, f_ps) with n_ps > 3 f_ps, and with n_ps = 3 f_ps"""
LEVEL, MARGIN, CHANCE = 0.95, 1.0, 10.0
EVERY = 10


def name(n_ps: int, f_ps: int, attack: str) -> str:
    """The label of a setting with Byzantine servers."""
    return f"{n_ps} servers ({f_ps} {attack})"


def _options(**given: Any) -> dict[str, Any]:
    return {f"servers.{option}": value for option, value in given.items()}


SETTINGS = {
    ONE: _options(n_ps=1, f_ps=0),
    NEVER: _options(n_ps=4, f_ps=0, every=10**6),
    **{name(n, f, attack): _options(n_ps=n, f_ps=f, attack=attack) for n, f in INSIDE + BEYOND for attack in ATTACKS},
}


# What was measured


def measured(records: Sequence[Mapping[str, Any]], summary: pd.DataFrame) -> pd.DataFrame:
    """A row for each run: servers (a label), seed, accuracy at the end in percent, and the spread over measurements."""
    by_id = {record["id"]: record for record in records}
    rows = []
    for _, cell in summary.iterrows():
        for run in map(by_id.__getitem__, cell["ids"].split()):
            accuracy = CHANCE if run["diverged"] else 100 * float(np.mean(run["accuracy"][-4:]))
            spread = [np.nan if each is None else each for each in run["spread"]]
            rows.append([cell["servers"], run["seed"], accuracy, spread, run["eval_every"]])
    return pd.DataFrame(rows, columns=["servers", "seed", "accuracy", "spread", "every"])


# The verdict


def verdict(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each claim and cell: Claim, Servers, Verdict ("holds", "fails", "undecided", "not run"), Measured."""
    wide = runs.pivot_table(index="seed", columns="servers", values="accuracy", sort=False)
    inside = [name(*each, attack) for each in INSIDE for attack in ATTACKS]
    rows = []
    for cell in (each for each in inside if each in wide):
        said, text = _equal(wide, cell, len(inside))
        rows.append([f"As accurate as one server (within {MARGIN:g} point)", cell, said, text])
    for cell in (each for each in inside if each in wide):
        share = float(np.mean([_contracted(each) for each in runs.loc[runs["servers"] == cell, "spread"]]))
        said = "holds" if share == 1 else "fails"
        rows.append(["Each exchange brings the models closer together", cell, said, f"{share:.0%} of exchanges"])
    for n, f in BEYOND:
        cells = [name(n, f, attack) for attack in ATTACKS]
        if ONE in wide and set(cells) <= set(wide):
            worst = wide[cells].mean().idxmin()
            bar, low = (CHANCE + wide[ONE].mean()) / 2, wide[worst].mean()
            claim = "Broken by some attack: nearer to chance than to one server"
            rows.append(
                [claim, f"{n} servers, {f} Byzantine", "holds" if low < bar else "fails", f"{low:.1f} %, {worst}"]
            )
    return pd.DataFrame(rows, columns=["Claim", "Servers", "Verdict", "Measured"])


def _equal(wide: pd.DataFrame, cell: str, cells: int) -> tuple[str, str]:
    """Whether the paired difference to one server is within the margin."""
    gaps = (wide[cell] - wide[ONE]).dropna() if ONE in wide else pd.Series(dtype=float)
    if len(gaps) < 2:
        return "not run", ""
    half = student.ppf(1 - (1 - LEVEL) / (2 * cells), len(gaps) - 1) * gaps.std() / np.sqrt(len(gaps))
    low, high = gaps.mean() - half, gaps.mean() + half
    said = "holds" if low > -MARGIN and high < MARGIN else "fails" if low > MARGIN or high < -MARGIN else "undecided"
    return said, f"{gaps.mean():+.2f} ({low:+.2f} to {high:+.2f}) points"


def _contracted(spread: Sequence[float]) -> float:
    """The share of exchanges after which the spread is smaller than 5 steps before; measurements alternate."""
    before, after = np.array(spread[0::2]), np.array(spread[1::2])
    return float(np.mean(after < before[: len(after)]))


# The report

COLOURS = {"random": "#E69F00", "reversed": "#D55E00", "sign_flip": "#CC79A7"}


def pictures(records: Sequence[Mapping[str, Any]], summary: pd.DataFrame, labels: Labels) -> dict[str, Picture]:
    """Distances between the models of honest servers, and accuracies, with the verdict."""
    runs = measured(records, summary)
    if runs.empty:
        return {}
    judged = verdict(runs)
    text = (
        "Left: the largest distance between the models of two honest servers over steps, measured right after each "
        f"exchange and {EVERY // 2} steps before; means over seeds, Byzantine servers send sign-flipped models. Right: "
        "accuracy at the end; each point is a seed, the line is one server.\n\n"
        f"### The verdict, fixed before the run\n\nIntervals are for all cells at once with {LEVEL:.0%}.\n\n"
        f"{markdown_table([*judged.columns], judged.to_numpy())}"
    )
    return {"servers": Picture(figure(runs, labels), "Servers that exchange models", text)}


def figure(runs: pd.DataFrame, labels: Labels) -> Figure:
    """Spread over steps, and accuracies of all cells."""
    made = Figure(figsize=(14, 5.6), layout="constrained")
    left, right = made.subplots(1, 2)
    flipped = {(n, f): name(n, f, "sign_flip") for n, f in INSIDE + BEYOND}
    looks: dict[str, dict[str, Any]] = {
        NEVER: {"color": "0.5", "linestyle": "--"},
        flipped[4, 1]: {"color": "#0072B2", "linewidth": 2.5},
        flipped[7, 2]: {"color": "#56B4E9", "linewidth": 2.5},
        flipped[3, 1]: {"color": "#D55E00", "linestyle": ":", "linewidth": 2.5},
        flipped[6, 2]: {"color": "#CC79A7", "linestyle": ":", "linewidth": 2.5},
    }
    for cell, look in looks.items():
        part = runs[runs["servers"] == cell]
        if len(part):
            spread = np.mean(np.array(part["spread"].tolist(), float), axis=0)
            steps = part["every"].iloc[0] * np.arange(1, len(spread) + 1)
            left.plot(steps, np.where(spread > 0, spread, np.nan), label=label(cell, labels), **look)
    left.set_yscale("log")
    left.set(xlabel="steps", ylabel="largest distance of two honest servers' models")
    if left.lines:
        left.legend(frameon=False, fontsize=10)
    cells = [ONE, *(f"{n} servers, {f} Byzantine" for n, f in INSIDE + BEYOND)]
    for place, pair in enumerate(INSIDE + BEYOND, 1):
        for shift, attack in enumerate(ATTACKS):
            found = runs.loc[runs["servers"] == name(*pair, attack), "accuracy"]
            x = np.full(len(found), place + 0.22 * (shift - 1))
            right.plot(x, found, linestyle="none", marker="ov^"[shift], color=COLOURS[attack], markersize=7)
    alone = runs.loc[runs["servers"] == ONE, "accuracy"]
    right.plot(np.zeros(len(alone)), alone, linestyle="none", marker="s", color="#000000", markersize=7)
    right.axhline(alone.mean(), color="0.5", linewidth=1)
    right.axvspan(len(INSIDE) + 0.5, len(cells) - 0.5, color="0.93", zorder=0)
    right.text(len(INSIDE) + 0.6, 101, "beyond: n_ps = 3 f_ps", va="top", fontsize=11, color="0.3")
    right.set_xticks(range(len(cells)), [cell.replace(", ", ",\n") for cell in cells], fontsize=10)
    right.set(ylabel="test accuracy (%)", ylim=(0, 102), xlim=(-0.5, len(cells) - 0.5))
    handles = [Line2D([], [], color=COLOURS[a], marker="ov^"[i], linestyle="none") for i, a in enumerate(ATTACKS)]
    right.legend(handles, [f"{label(each)} models" for each in ATTACKS], frameon=False, loc="lower left", fontsize=10)
    for axes in (left, right):
        axes.grid(color="0.93")
        axes.spines[["top", "right"]].set_visible(False)
    return made


SPEC = Table(
    name="aksel_servers",
    title="AKSEL at several servers, some Byzantine: 784-100-10 on MNIST",
    source="this project; no published numbers",
    base={
        "data": "mnist",
        "task": "servers",
        "model": "mlp",
        "rule": "aksel",
        "m": 15,
        "n_byz": 3,
        "f": 3,
        "attack": "alie",
        "alie.z": 1.5,
        "batch": 32,
        "lr": 0.02,
        "momentum": "classic",
        "momentum_beta": 0.9,
        "total_steps": 150,
        "eval_every": EVERY // 2,
        "n_test": 2000,
        "servers.every": EVERY,
        "servers.hears": 12,
    },
    axes=(axis("servers", SETTINGS), axis("seed", range(5, 10))),
    number="mean_last_4",
    quick={"total_steps": 20, "n_test": 500},
    labels={"sign_flip": "sign flip"},
    pictures=pictures,
)
