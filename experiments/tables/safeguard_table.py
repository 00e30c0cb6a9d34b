"""The table of SafeguardSGD's submission (Allen-Zhu et al., ICLR 2021, arXiv 2012.14368), small edition.

    byzsim run safeguard_table --seeds 0          one seed of three: about 2 1/2 hours on 2 cores
    byzsim run safeguard_table_full               ResNet-20 and 200 epochs, for an accelerator

Cells: the rules of the paper under the attacks of its two versions. The loss of accuracy against the ideal (the mean,
nobody attacks) of the same edition is compared with the paper's loss, since a small network has another ideal.

Taken from the paper
    m = 10 workers on CIFAR-10, alpha = 0.4. Windows: double T0 = 1 and T1 = 6 epochs, single T = 3 epochs. Krum runs
    with 3 attackers, the most that it is made for, and here also with 4, beyond its bound. Attacks: the gradient of
    D = 1,000 steps ago, labels 9 - y, minus the own gradient, zero, minus 0.4 and 0.5 times the own gradient, the
    honest mean minus 0.3 standard deviations; of its second version 0.6, 0.7 and bursts. Numbers: best test accuracy.

Not in the paper; chosen once for all cells, before any run with an attack
    network     LeNet on 32 x 32 colour images without padding, 62,006 parameters; 30 epochs: T1 closes 5 times, T 10
                times. The full edition is ResNet-20 and 200 epochs.
    batch       25 a worker: 200 steps an epoch, so that D = 1,000 steps are 5 epochs of 30.
    rate        0.1: of 0.03, 0.1 and 0.3 the one with which the mean without attack is best after 6 epochs: 42.9, 47.3
                and 42.9 %, with seed 1000, which the table does not use.
    thresholds  "projected", which has no unit. The paper found its own in 20 epochs before the run, by a formula that
                is not in its main text.
    Zeno        n_r = 4 of its paper, and rho = rate / 200, the ratio of its authors' demo.
    delayed     a snapshot is kept each 5 steps, and sent 5 times: all 1,000 would be 2.5 GB a run. Rows that are sent
                much more often would be caught for that alone: the sum of q equal rows has sqrt(q) times the noise.
    bursts      the sign flip for one epoch, then two honest ones; the paper's kind and lengths are not known.
    noise       nu = 0, as first-order points ask.
    f           the number of attackers, as for every rule.
    time        An epoch of the mean, test set included, took 6.3 s of a busy core: 30 epochs of 81 runs are 4 1/4 hours
                of a core, to which compiling of 50 programs and the slower rules add.

Verdict, fixed before any run: `CLAIMS`, and the order of the losses of all published cells (`ORDER`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from byzsim.experiments.files import markdown_table
from byzsim.experiments.plan import Claim, Labels, Picture, Table, axis, label
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

EPOCH = 200
"""steps of an epoch: 50,000 images over 10 workers in batches of 25"""
RATE = 0.1
CHANCE = 10.0  # percent: ten equally frequent classes
IDEAL, DOUBLE, SINGLE, ZENO = "ideal", "double", "single", "zeno"
SAFEGUARDS = (DOUBLE, SINGLE)
MEMORYLESS = ("krum 3", "krum 4", "geometric_median", "median", "mean", ZENO)
VARIANCE = "variance"
PAPERS = ("delayed", "label_flip", "sign_flip", "zero_gradient", "safeguard x0.4", VARIANCE)
"""attacks of which the paper's table has numbers"""
MARGIN = 1.0  # points; smaller differences between two rules are ties
TOLERANCE = 3.0  # points; the paper's double safeguard loses at most 2.5
LARGE = 20.0  # points; under the variance attack the paper's best rule without a memory loses 61.8
ORDER = 0.5  # Kendall's tau from which the orders are said to agree
JPEG_COPY = "610c4924d82f490b999ddb2977c45d8c0e9883b5a9ed484124a9e324b840360a"
"""digest of a copy of CIFAR-10 whose images went through JPEG; an accuracy may be a point off one on the original"""


def losses(summary: pd.DataFrame) -> pd.DataFrame:
    """Points of accuracy that each rule loses against the ideal; a row for each rule and attack.

    Columns: rule, attack, ours and paper (NaN: not run, no number), n. A diverged run counts as chance, 10 %.
    """
    lost = (summary["n_diverged"] / summary["n"]).where(summary["n"] > 0)
    cells = summary.assign(ours=summary["mean"].fillna(0) * (1 - lost) + CHANCE * lost)
    ideal = cells[cells["rule"] == IDEAL].set_index("attack")
    cells = cells[cells["rule"] != IDEAL]
    for name in ("ours", "paper"):
        cells = cells.assign(**{name: cells["attack"].map(ideal[name]) - cells[name]})
    return cells[["rule", "attack", "ours", "paper", "n"]].reset_index(drop=True)


# The verdict


def _of(cells: pd.DataFrame, rules: Sequence[str], attacks: Sequence[str] = PAPERS) -> pd.Series:
    return cells["rule"].isin(rules) & cells["attack"].isin(attacks)


def _least(cells: pd.DataFrame, rules: Sequence[str]) -> pd.Series:
    """For each cell the smallest loss that one of the rules has under its attack; NaN if none of them is run."""
    return cells["attack"].map(cells[cells["rule"].isin(rules)].groupby("attack")["ours"].min()).astype(float)


CLAIMS = (
    Claim(
        f"Double safeguard loses at most {TOLERANCE:g} points against the ideal",
        lambda cells: _of(cells, [DOUBLE]),
        lambda cells: cells["ours"] <= TOLERANCE,
    ),
    Claim(
        f"No other rule is more than {MARGIN:g} point better than both safeguards",
        lambda cells: _of(cells, MEMORYLESS),
        lambda cells: ~(cells["ours"] < _least(cells, SAFEGUARDS) - MARGIN),
    ),
    Claim(
        f"Of the other rules none is more than {MARGIN:g} point better than Zeno",
        lambda cells: _of(cells, [rule for rule in MEMORYLESS if rule != ZENO]),
        lambda cells: ~(cells["ours"] < _least(cells, [ZENO]) - MARGIN),
    ),
    Claim(
        f"Under the variance attack every rule without a memory loses more than {LARGE:g} points",
        lambda cells: _of(cells, MEMORYLESS, [VARIANCE]),
        lambda cells: cells["ours"] > LARGE,
    ),
)


def verdict(cells: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """A row for each claim: Claim, Verdict (holds, fails or not run), Cells that keep it, and the others' losses."""
    run = cells[cells["ours"].notna()]
    rows = []
    for claim in CLAIMS:
        chosen = run[claim.of(run)]
        true = claim.true(run)[chosen.index]
        broken = [
            f"{label(rule, labels)}, {label(attack, labels)} ({loss:.1f})"
            for rule, attack, loss in chosen.loc[~true, ["rule", "attack", "ours"]].itertuples(index=False)
        ]
        said = "not run" if chosen.empty else "fails" if broken else "holds"
        rows.append([claim.says, said, f"{true.sum()} of {len(chosen)}", "; ".join(broken)])
    return pd.DataFrame(rows, columns=["Claim", "Verdict", "Cells that keep it", "Others (their losses)"])


def order(cells: pd.DataFrame) -> tuple[float, int]:
    """(Kendall's tau-b of our losses and the paper's, number of cells with both); NaN for fewer than two."""
    both = cells.dropna(subset=["ours", "paper"])
    return float(both["ours"].corr(both["paper"], method="kendall")), len(both)


# The report


def pictures(records: Sequence[Mapping[str, Any]], summary: pd.DataFrame, labels: Labels) -> dict[str, Picture]:
    """The losses of all rules under all attacks, ours above the paper's, with the verdict.

    None for a table with further axes, whose ideals differ.
    """
    if not {"rule", "attack"} <= {*summary} or summary.duplicated(["rule", "attack"]).any():
        return {}
    cells = losses(summary)
    tau, n = order(cells)
    judged = verdict(cells, labels)
    agreed = "not run" if math.isnan(tau) else f"{tau:.2f}, so the orders {'agree' if tau >= ORDER else 'do not agree'}"
    jpeg = any(record["data_digest"] == JPEG_COPY for record in records)
    text = (
        f"The data are {'CIFAR-10 (JPEG copy), not the original pixels' if jpeg else 'CIFAR-10'}. "
        "Points of test accuracy that a rule loses against the ideal, the mean while nobody attacks; below in brackets "
        "the paper's loss against its own ideal, of a ResNet-20. A diverged run counts as chance.\n\n"
        f"### The verdict, fixed before the run\n\n{markdown_table([*judged.columns], judged.to_numpy())}\n\n"
        f"Kendall's tau of our losses and the paper's, over the {n} cells with both: {agreed} "
        f"(at least {ORDER:g} were asked for).\n\n### Whom the guards have banned at the end\n\n"
        f"{_banned(records, summary, labels)}"
    )
    return {"losses": Picture(losses_figure(cells, labels), "What an attack costs", text)}


def losses_figure(cells: pd.DataFrame, labels: Labels) -> Figure:
    """A tile for each rule and attack: our loss, and the paper's in brackets."""
    rules, attacks = (list(dict.fromkeys(cells[name])) for name in ("rule", "attack"))
    figure = Figure(figsize=(2.6 + 1.15 * len(rules), 1.5 + 0.55 * len(attacks)), layout="constrained")
    axes = figure.subplots()
    scale = ScalarMappable(Normalize(0, 40), "YlOrRd")
    for rule, attack, ours, paper in cells[["rule", "attack", "ours", "paper"]].itertuples(index=False):
        x, y = rules.index(rule), attacks.index(attack)
        fill = "white" if math.isnan(ours) else scale.to_rgba(np.array(ours))
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=fill, edgecolor="white", linewidth=1.5))
        dark = ours > 26
        said = "–" if math.isnan(ours) else f"{ours:.1f}".replace("-", "−")
        axes.text(
            x,
            y if math.isnan(paper) else y - 0.12,
            said,
            ha="center",
            va="center",
            fontsize=12,
            color="white" if dark else "black",
        )
        if not math.isnan(paper):
            words = f"({paper:.1f})".replace("-", "−")
            axes.text(x, y + 0.28, words, ha="center", va="center", fontsize=9, color="white" if dark else "0.3")
    axes.set(xlim=(-0.5, len(rules) - 0.5), ylim=(len(attacks) - 0.5, -0.5))
    axes.set_xticks(range(len(rules)), [label(rule, labels).replace(" ", "\n", 1) for rule in rules], fontsize=11)
    axes.set_yticks(range(len(attacks)), [label(attack, labels) for attack in attacks], fontsize=11)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(scale, ax=axes, extend="both", fraction=0.03, pad=0.01)
    bar.set_label("points below the ideal (in brackets: the paper's)", fontsize=11)
    return figure


def _banned(records: Sequence[Mapping[str, Any]], summary: pd.DataFrame, labels: Labels) -> str:
    """Attackers caught and honest workers lost in the last epoch, means over seeds."""
    by_id = {record["id"]: record for record in records}
    rows = []
    for _, cell in summary[summary["rule"].isin(SAFEGUARDS)].iterrows():
        runs = [by_id[id] for id in cell["ids"].split() if not by_id[id]["diverged"]]
        if runs:
            lost, kept = (np.mean([run[name][-1] for run in runs]) for name in ("honest_dropped", "byz_kept"))
            names = [label(cell[name], labels) for name in ("rule", "attack")]
            rows.append([*names, f"{cell['n_byz'] - kept:.1f}", f"{lost:.1f}"])
    return markdown_table(["Rule", "Attack", "Attackers banned (of 4)", "Honest workers lost (of 6)"], rows)


def _attacks() -> dict[str, dict[str, Any]]:
    delayed = {"attack": "delayed_gradient", "delayed_gradient.delay": 1000, "delayed_gradient.copies": 200}
    burst = {"attack": "burst+sign_flip", "burst.on": EPOCH, "burst.off": 2 * EPOCH}
    plain = {name: {"attack": name} for name in ("label_flip", "sign_flip", "zero_gradient")}
    rescaled = {
        f"safeguard x{c}": {"attack": "safeguard_attack", "safeguard_attack.c": c} for c in (0.4, 0.5, 0.6, 0.7)
    }
    return {"delayed": delayed, **plain, **rescaled, VARIANCE: {"attack": "alie", "alie.z": 0.3}, "bursts": burst}


SPEC = Table(
    name="safeguard_table",
    title="SafeguardSGD's table, small edition: LeNet on CIFAR-10, 10 workers, 4 of them Byzantine, 30 epochs",
    source="the submission's table in Allen-Zhu et al., ICLR 2021, arXiv 2012.14368 (ResNet-20, 200 epochs)",
    base={"data": "cifar10", "model": "lenet", "lenet.padding": 0, "m": 10, "n_byz": 4, "batch": 25, "epochs": 30}
    | {"lr": RATE, "zeno.rho": RATE / 200},
    axes=(
        axis(
            "rule",
            {
                IDEAL: {"rule": "mean", "n_byz": 0},
                DOUBLE: {"rule": "safeguard", "safeguard.guards": "double"},
                SINGLE: {"rule": "safeguard", "safeguard.guards": "single", "safeguard.window": 3 * EPOCH},
                ZENO: {"rule": "zeno"},
                "krum 3": {"rule": "krum", "n_byz": 3},
                "krum 4": {"rule": "krum", "n_byz": 4},
                "geometric_median": {"rule": "geometric_median"},
                "median": {"rule": "median"},
                "mean": {"rule": "mean"},
            },
        ),
        axis("attack", _attacks()),
        axis("seed", [0, 1, 2]),
    ),
    quick={"epochs": 1, "steps": 4, "n_test": 500},
    published="safeguard_table.csv",
    number="best",
    labels={
        IDEAL: "Ideal (no attack)",
        DOUBLE: "Double safeguard",
        SINGLE: "Single safeguard",
        ZENO: "Zeno",
        "krum 3": "Krum (3 attack)",
        "krum 4": "Krum (4 attack)",
        "geometric_median": "Geometric median",
        "median": "Coordinate-wise median",
        "mean": "Mean",
        "delayed": "Delayed gradient",
        "label_flip": "Label flip",
        "sign_flip": "Sign flip",
        "zero_gradient": "Zero gradient",
        **{f"safeguard x{c}": f"Safeguard × {c}" for c in (0.4, 0.5, 0.6, 0.7)},
        VARIANCE: "Variance, 0.3 std",
        "bursts": "Sign flip in bursts",
    },
    pictures=pictures,
)
