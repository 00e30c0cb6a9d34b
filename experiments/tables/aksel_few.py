"""Few real attackers: accuracy against the number s of workers that attack, at a fixed declared f.

    byzsim run aksel_few --seeds 0             one seed of five: 100 runs of 10 to 17 seconds of a core, and compiling

The abstract of AKSEL (Boussetta et al., OPODIS 2020) says that AKSEL alone reaches top accuracy when no or few workers
are really Byzantine (s much smaller than f) and still defends when s = f. The paper's experiments could not be had, so
the setting is that of the same group's code.

Taken from LPD-EPFL/ByzantineMomentum (reproduce.py), its MNIST experiments
    n = 51 workers, f = 24 (the largest that Krum takes) and f = 12 (the largest that Bulyan takes); a network
    784-100-10; batches of 83; 300 steps; momentum 0.9 at the workers (classic); gradients shortened to norm 2; 1e-4
    times the parameters added; attacks: the mean less 1.5 unbiased standard deviations ("little", 1.5), and -0.1 times
    the mean ("empire", 1.1). Of its learning rates 0.5 and 0.02 the one with which the mean without attack is better:
    97.7 and 92.3 % with seed 1000, which the table does not use.

Otherwise, chosen before any run
    s            0, f / 4 ("few") and f.
    data         MNIST, pixels from 0 to 1, dealt out in equal disjoint shards. Their workers all draw from the whole
                 training set, and pixels are standardised.
    accuracy     the mean of the last four measurements, after 225, 250, 275 and 300 steps.
    AKSEL        in both modes of the co-author's code: the mean of the (n + 1) / 2 rows nearest to the median, and of
                 the n - f nearest.

Verdict, fixed before any run: `verdict`, for each attack, f and mode of AKSEL by itself. A rule withstands s = f if its
mean accuracy there is nearer to the ideal, the mean's without attack, than to chance. AKSEL is compared with those
rules that withstand s = f and whose guarantee covers f: not with the mean, nor with Bulyan at f = 24. Differences are
paired by seed, with intervals that hold for all compared rules at once with 95 % (Student's t, Bonferroni). Half a
point counts as equal.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from byzsim import AGGREGATORS
from byzsim.experiments.files import markdown_table
from byzsim.experiments.plan import Labels, Picture, Table, axis, label
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from scipy.stats import t as student

N, CHANCE = 51, 10.0  # workers; percent
DECLARED = (12, 24)
AKSEL = {"aksel": {"rule": "aksel"}, "aksel, n - f": {"rule": "aksel", "aksel.count": "m-f"}}
OTHERS = ("median", "krum", "multi_krum", "bulyan", "trimmed_mean", "meamed", "geometric_median", "mean")
SETTINGS = {f"{s} of {f}": {"n_byz": s, "f": f} for f in DECLARED for s in (0, f // 4, f)}
"""label of s and f -> both"""
LEVEL, MARGIN = 0.95, 0.5
"""of the intervals; points that count as equal"""


# What was measured


def accuracies(records: Sequence[Mapping[str, Any]], summary: pd.DataFrame) -> pd.DataFrame:
    """A row for each run of each cell: rule, attack, f, s, seed, and accuracy in percent (chance if it diverged)."""
    by_id = {record["id"]: record for record in records}
    rows = []
    for _, cell in summary.iterrows():
        for run in map(by_id.__getitem__, cell["ids"].split()):
            found = CHANCE if run["diverged"] else 100 * float(np.mean(run["accuracy"][-4:]))
            rows.append([cell["rule"], cell["attack"], run["f"], run["n_byz"], run["seed"], found])
    return pd.DataFrame(rows, columns=["rule", "attack", "f", "s", "seed", "accuracy"])


def wide(runs: pd.DataFrame, attack: str, f: int, s: int) -> pd.DataFrame:
    """Accuracies under an attack: a row for each seed, a column for each rule."""
    chosen = runs[(runs["attack"] == attack) & (runs["f"] == f) & (runs["s"] == s)]
    return chosen.pivot_table(index="seed", columns="rule", values="accuracy", sort=False)


# The verdict


def verdict(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each attack, f, mode of AKSEL and s of 0 and f / 4: what the abstract's claim comes to.

    Columns: attack, f, rule, s; `withstands` s = f (True or False); `top`: "holds" if no compared rule can be better by
    half a point or more, "fails" if one is, else "undecided"; `alone`: "holds" if every compared rule is worse by more
    than half a point, "fails" if one is not, else "undecided"; `accuracy`; `best`, the best of the compared rules, with
    `difference`, `low` and `high`: AKSEL less that rule, and its interval. With fewer than two seeds both are "not
    run".
    """
    rows = []
    for attack, f in dict.fromkeys(zip(runs["attack"], runs["f"], strict=True)):
        free, full = (wide(runs, attack, f, s).mean() for s in (0, f))
        bar = (CHANCE + free.get("mean", np.nan)) / 2
        survivors = [rule for rule in full.index if full[rule] > bar]
        rivals = [rule for rule in survivors if rule not in AKSEL and AGGREGATORS[rule].max_f(N) >= f]
        for s in (0, f // 4):
            found = wide(runs, attack, f, s)
            for rule in (each for each in AKSEL if each in found):
                place = {"attack": attack, "f": f, "rule": rule, "s": s}
                rows.append(place | {"withstands": rule in survivors} | _against(found, rule, rivals))
    return pd.DataFrame(rows)


def _against(found: pd.DataFrame, rule: str, rivals: Sequence[str]) -> dict[str, Any]:
    """The claims top and alone from the paired differences of a rule to its rivals."""
    gaps = found[[rule]].to_numpy() - found[list(rivals)]
    n, best = len(gaps), found[list(rivals)].mean().idxmax() if len(rivals) else ""
    outcome = {"accuracy": found[rule].mean(), "best": best}
    if n < 2 or not len(rivals):
        return {"top": "not run", "alone": "not run"} | outcome | dict.fromkeys(("difference", "low", "high"), np.nan)
    middle = gaps.mean()
    half = student.ppf(1 - (1 - LEVEL) / (2 * len(rivals)), n - 1) * gaps.std() / np.sqrt(n)
    low, high = middle - half, middle + half
    top = "holds" if (low > -MARGIN).all() else "fails" if (high < -MARGIN).any() else "undecided"
    alone = "holds" if (low > MARGIN).all() else "fails" if (high < MARGIN).any() else "undecided"
    return {"top": top, "alone": alone} | outcome | {"difference": middle[best], "low": low[best], "high": high[best]}


# The report


LOOKS: dict[str, dict[str, Any]] = {
    "aksel": {"color": "#0072B2", "marker": "o", "linewidth": 3.0, "markersize": 9},
    "aksel, n - f": {"color": "#0072B2", "marker": "s", "linewidth": 2.0, "linestyle": "--", "markersize": 8},
    "median": {"color": "#D55E00", "marker": "v"},
    "krum": {"color": "#CC79A7", "marker": "D"},
    "multi_krum": {"color": "#CC79A7", "marker": "P", "linestyle": "--"},
    "bulyan": {"color": "#56B4E9", "marker": "h"},
    "trimmed_mean": {"color": "#E69F00", "marker": "^"},
    "meamed": {"color": "#E69F00", "marker": "<", "linestyle": "--"},
    "geometric_median": {"color": "#009E73", "marker": "X"},
    "mean": {"color": "#000000", "marker": ".", "linestyle": ":"},
}
"""of lines; colours are those of Okabe and Ito"""


def pictures(records: Sequence[Mapping[str, Any]], summary: pd.DataFrame, labels: Labels) -> dict[str, Picture]:
    """Accuracy against s with the verdict."""
    runs = accuracies(records, summary)
    if runs.empty:
        return {}
    text = (
        "Test accuracy over the number s of workers that attack, for rules that declare f, less that of the mean "
        "without attack: means over seeds, with bars from the smallest to the largest. The scale is logarithmic below "
        "-2 points, and ends at chance. Bulyan's guarantee ends at f = 12.\n\n"
        "### The verdict, fixed before the run\n\nTop: no compared rule can be better by half a point or more. Alone: "
        "every compared rule is worse by more than half a point. Compared are rules that withstand s = f and whose "
        f"guarantee covers f; the interval is for all of them at once with {LEVEL:.0%}.\n\n{_table(runs, labels)}"
    )
    return {"few": Picture(figure(runs, labels), "Accuracy with few real attackers", text)}


def _table(runs: pd.DataFrame, labels: Labels) -> str:
    rows = [
        [
            label(row["attack"], labels),
            row["f"],
            label(row["rule"], labels),
            row["s"],
            "yes" if row["withstands"] else "no",
            row["top"],
            row["alone"],
            f"{row['accuracy']:.2f}",
            label(row["best"], labels) if row["best"] else "none",
            f"{row['difference']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})",
        ]
        for _, row in verdict(runs).iterrows()
    ]
    head = [
        "Attack",
        "f",
        "Rule",
        "s",
        "Withstands s = f",
        "Top",
        "Alone",
        "Accuracy",
        "Best other",
        "Difference to it",
    ]
    return markdown_table(head, rows)


def figure(runs: pd.DataFrame, labels: Labels) -> Figure:
    """Points lost against s: a row for each attack, a column for each f, a line for each rule."""
    attacks, declared = (list(dict.fromkeys(runs[name])) for name in ("attack", "f"))
    rules = sorted(dict.fromkeys(runs["rule"]), key=lambda rule: [*LOOKS, rule].index(rule))
    ideal = runs.loc[(runs["rule"] == "mean") & (runs["s"] == 0), "accuracy"].mean()
    made = Figure(figsize=(1.5 + 5.2 * len(declared), 1.8 + 3.6 * len(attacks)), layout="constrained")
    grid = made.subplots(len(attacks), len(declared), sharex="col", sharey=True, squeeze=False)
    for row, attack in zip(grid, attacks, strict=True):
        row[0].set_ylabel(label(attack, labels), weight="bold", fontsize=12)
        for axes, f in zip(row, declared, strict=True):
            part = runs[(runs["attack"] == attack) & (runs["f"] == f)]
            places = sorted(set(part["s"]))
            for place, rule in enumerate(reversed(rules)):
                cell = part[part["rule"] == rule].groupby("s")["accuracy"].agg(["mean", "min", "max"]).reindex(places)
                x = np.arange(len(places)) + 0.04 * (place - (len(rules) - 1) / 2)  # bars side by side
                reach = [cell["mean"] - cell["min"], cell["max"] - cell["mean"]]
                look = LOOKS.get(rule, {"color": "0.4", "marker": "o"})
                axes.errorbar(x, cell["mean"] - ideal, yerr=reach, zorder=2 + place, elinewidth=1, **look)
            axes.axhline(0, color="0.5", linestyle=":", linewidth=1)
            axes.set_yscale("symlog", linthresh=2, linscale=1.5)
            axes.set_ylim(CHANCE - ideal, 1.5)
            axes.set_yticks([1, 0, -1, -2, -5, -10, -20, -50], ["+1", "0", "−1", "−2", "−5", "−10", "−20", "−50"])
            axes.yaxis.set_minor_locator(NullLocator())
            axes.set_xticks(range(len(places)), [f"{s} = f" if s == f else str(s) for s in places], fontsize=11)
            axes.grid(axis="y", color="0.92")
            axes.spines[["top", "right"]].set_visible(False)
    for axes, f in zip(grid[0], declared, strict=True):
        axes.set_title(f"declared f = {f} of {N} workers", weight="bold", fontsize=12)
    for axes in grid[-1]:
        axes.set_xlabel("s, the workers that really attack", fontsize=12)
    made.supylabel(f"points of accuracy, against the mean without attack ({ideal:.1f} %)", fontsize=12)
    handles = [Line2D([], [], label=label(rule, labels), **LOOKS[rule]) for rule in rules if rule in LOOKS]
    made.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=11)
    return made


SPEC = Table(
    name="aksel_few",
    title="AKSEL with few real attackers: 784-100-10 on MNIST, 51 workers",
    source="this project; the paper's numbers could not be had",
    base={
        "data": "mnist",
        "model": "mlp",
        "m": N,
        "batch": 83,
        "total_steps": 300,
        "eval_every": 25,
        "lr": 0.5,
        "momentum": "classic",
        "momentum_beta": 0.9,
        "weight_decay": 1e-4,
        "clip": 2.0,
        "alie.z": 1.5,
        "alie.ddof": 1,
        "inner_product.epsilon": 0.1,
    },
    axes=(
        axis("rule", AKSEL | {name: {"rule": name} for name in OTHERS}),
        axis("attack", ["alie", "inner_product"]),
        axis("s", SETTINGS),
        axis("seed", range(5)),
    ),
    number="mean_last_4",
    quick={"total_steps": 12, "eval_every": 3},
    labels={
        "aksel": "AKSEL, half",
        "aksel, n - f": "AKSEL, n - f",
        "median": "Median",
        "krum": "Krum",
        "multi_krum": "Multi-Krum",
        "bulyan": "Bulyan",
        "trimmed_mean": "Trimmed mean",
        "meamed": "MeaMed",
        "geometric_median": "Geometric median",
        "mean": "Mean",
        "alie": "ALIE, 1.5",
        "inner_product": "Inner product, 0.1",
        "s": "s of f",
    },
    pictures=pictures,
)
