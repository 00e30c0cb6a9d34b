"""Whom SafeguardSGD bans and when, by each way to set its thresholds that somebody has published.

    byzsim run safeguard_detection          about 5 minutes of a busy core, compiling included

Ten workers, four of them Byzantine, train a small network on digits for 600 steps. The long guard sums 300 steps, the
short one 50. Users of the rule report the step at which attackers are caught and the honest workers lost
(arXiv 2609.10647: within 3 to 16 rounds), so the page does.

The ways, each as its source has it; where the rule is the same, windows are too
    projected         byzsim's default, without a unit (`byzsim show safeguard` has all formulas)
    re-admitted       the same, but everybody is good again every 300 steps, for faults that pass
    second version    1.5 max(distance to the majority, 5), as recalled of the paper's second version
    epfml             a middle distance of the window before, of epfml's code
    Bant              the formula of brain-lab-research/Bant (BANT, arXiv 2505.07614) with its 0.55 and 1,000
    Bant, its windows the same with the 1 and 6 steps that Bant takes where the paper has 1 and 6 epochs
    Bant, anew        the same, but everybody is good again in each step, which then counts alone
    theory            Lemma 4.2 with V = 1, to which the paper normalises, and p = 0.1

Attacks: nobody; minus the own gradient; the variance attack, 0.3 standard deviations off the honest mean; minus 0.6
times the own gradient; and the sign flip for 50 steps, then 100 honest ones.

Bant decides anew in each round who is good, by sums over 1 and over 6 rounds; a ban that lasts and "anew", which has no
sum over 6, are on both sides of that. Its table has attackers in the majority too, which no such rule withstands; they
are left out.

Verdict, fixed before any run: `CLAIMS`, of which every run has to do what is said. "Bant, anew" was added after the
other ways had been seen, and no claim speaks of it; which runs are drawn was chosen then, too.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from byzsim import RunConfig, simulate
from byzsim.experiments import detection
from byzsim.experiments.datasets import load
from byzsim.experiments.files import markdown_table
from byzsim.experiments.plan import Labels, Picture, Table, axis, label
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

M, N_BYZ = 10, 4
CELL = ["thresholds", "attack"]
SHORT, LONG = 50, 300
"""steps of the two windows"""
PROJECTED, READMITTED, SECOND, EPFML, THEORY = "projected", "re-admitted", "second version", "epfml", "theory"
BANT, BANT_WINDOWS, BANT_ANEW = "Bant", "Bant, its windows", "Bant, anew"
NOBODY, BURSTS = "nobody", "bursts"
LASTING = ("sign flip", "variance", "safeguard x0.6")
"""attacks that go on to the end"""
EXPLAINED = {
    "guards": (PROJECTED, "sign flip"),
    "unseen": (PROJECTED, "variance"),
    "readmission": (READMITTED, BURSTS),
}
"""runs that are drawn worker by worker"""


# What was measured


def outcomes(records: Sequence[Mapping[str, Any]], summary: pd.DataFrame) -> pd.DataFrame:
    """A row for each run: thresholds, attack, seed, and whom the rule banned.

    Columns: `first` and `all`, the steps by which the first and all attackers have no weight, inf if never; `caught`
    and `lost`, attackers and honest workers without weight in the last steps that were measured; `lost_at_once`, honest
    workers without weight in the first steps; `deviation` of honest gradients from their mean, the median over the run;
    `accuracy` in percent, at the end; `diverged`. Of a run that diverged the last steps are those before, and it has no
    accuracy.
    """
    by_id = {record["id"]: record for record in records}
    rows = [
        {"thresholds": cell["thresholds"], "attack": cell["attack"], **_outcome(by_id[id])}
        for _, cell in summary.iterrows()
        for id in cell["ids"].split()
    ]
    columns = ["first", "all", "caught", "lost", "lost_at_once", "deviation", "accuracy", "diverged"]
    return pd.DataFrame(rows, columns=[*CELL, "seed", *columns])


def _outcome(record: Mapping[str, Any]) -> dict[str, Any]:
    every, n_byz = record["eval_every"], record["n_byz"]
    kept, lost, variance = (_finite(record[name]) for name in ("byz_kept", "honest_dropped", "variance"))
    some, none = (np.flatnonzero(found) for found in (kept < n_byz, kept == 0))
    return {
        "seed": record["seed"],
        "first": every * (1 + some[0]) if n_byz and len(some) else math.inf,
        "all": every * (1 + none[0]) if n_byz and len(none) else math.inf,
        "caught": n_byz - kept[-1],
        "lost": lost[-1],
        "lost_at_once": lost[0],
        "deviation": math.sqrt(np.median(variance)),
        "accuracy": math.nan if record["diverged"] else 100 * record["accuracy"][-1],
        "diverged": record["diverged"],
    }


def _finite(series: Sequence[float | None]) -> np.ndarray:
    """Means over steps, which were float32, without those of a run that had diverged."""
    return np.round([value for value in series if value is not None], 3)


# The verdict


class Claim(NamedTuple):
    """What is claimed of every run with these thresholds under these attacks."""

    says: str
    thresholds: Sequence[str]
    attacks: Sequence[str]
    true: Callable[[pd.DataFrame], pd.Series]


def _none_lost(runs: pd.DataFrame) -> pd.Series:
    return runs["lost"] == 0


def _all_caught(runs: pd.DataFrame) -> pd.Series:
    return runs["caught"] == N_BYZ


ALL = (NOBODY, *LASTING, BURSTS)
CLAIMS = (
    Claim("With projected thresholds no honest worker is lost", [PROJECTED], ALL, _none_lost),
    Claim("With projected thresholds all attackers that go on are caught", [PROJECTED], LASTING, _all_caught),
    Claim(
        "Re-admitted attackers are caught again, and no honest worker is lost",
        [READMITTED],
        LASTING,
        lambda runs: _all_caught(runs) & _none_lost(runs),
    ),
    Claim("With the theory's thresholds no honest worker is lost", [THEORY], ALL, _none_lost),
    Claim(
        "The second version's floor of 5 bans nobody, since gradients are small here",
        [SECOND],
        ALL,
        lambda runs: runs["caught"] + runs["lost"] == 0,
    ),
    Claim(
        "epfml's and Bant's thresholds lose honest workers although nobody attacks",
        [EPFML, BANT, BANT_WINDOWS],
        [NOBODY],
        lambda runs: ~_none_lost(runs),
    ),
    Claim(
        "Bant's windows leave an attacker of the variance attack, or lose honest workers",
        [BANT_WINDOWS],
        ["variance"],
        lambda runs: ~_all_caught(runs) | ~_none_lost(runs),
    ),
)


def verdict(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each claim: Claim, Verdict (holds, fails or not run), Runs that keep it, and the others."""
    rows = []
    for claim in CLAIMS:
        chosen = runs[runs["thresholds"].isin(claim.thresholds) & runs["attack"].isin(claim.attacks)]
        broken = chosen[~claim.true(chosen)]
        said = "not run" if chosen.empty else "fails" if len(broken) else "holds"
        names = [f"{thresholds}, {attack}, seed {seed}" for thresholds, attack, seed in broken.iloc[:, :3].to_numpy()]
        rows.append([claim.says, said, f"{len(chosen) - len(broken)} of {len(chosen)}", "; ".join(names)])
    return pd.DataFrame(rows, columns=["Claim", "Verdict", "Runs that keep it", "Others"])


# The report


def pictures(records: Sequence[Mapping[str, Any]], summary: pd.DataFrame, labels: Labels) -> dict[str, Picture]:
    """Whom each way bans, with the verdict; and two runs worker by worker, which are trained again with a trace."""
    runs = outcomes(records, summary)
    if runs.empty:
        return {}
    judged = verdict(runs)
    text = (
        f"Attackers caught of {N_BYZ} and honest workers lost of {M - N_BYZ} (of {M} while nobody attacks) at the end, "
        "means over seeds; the step by which the first attacker is caught, the median. Bans are looked at each "
        f"{records[0]['eval_every']} steps.\n\n"
        f"### The verdict, fixed before the run\n\n{markdown_table([*judged.columns], judged.to_numpy())}\n\n"
        f"{_why(runs, records[0]['eval_every'])}### In numbers\n\n{_numbers(runs, labels)}"
    )
    made = {"caught": Picture(caught_figure(runs, labels), "Whom each way to set the thresholds bans", text)}
    cells = summary.set_index(CELL)["ids"]
    by_id = {record["id"]: record for record in records}
    for name, place in EXPLAINED.items():
        ids = cells.get(place, "").split()
        if ids:
            made[name] = _explained(by_id[ids[0]], *place, labels)
    return made


def _why(runs: pd.DataFrame, every: int) -> str:
    """Why the re-implementation fails, by the runs in which nobody attacks; "" without them."""
    calm = runs[(runs["attack"] == NOBODY) & runs["thresholds"].isin([BANT, BANT_WINDOWS, BANT_ANEW])]
    if calm.empty:
        return ""
    lost = [
        f"{way} {cell['lost_at_once'].mean():.1f} and {cell['lost'].mean():.1f}"
        for way, cell in calm.groupby("thresholds", sort=False)
    ]
    return (
        "### Why a public re-implementation fails\n\nIts limit is 2 x 0.55 = 1.1 times the smallest distance that a "
        "worker has from a middle neighbour, and that neighbour is the median machine: about half of the workers are "
        "farther than 1 time that distance, attackers or not, and many of them farther than 1.1 times. The paper's "
        f"limit is 2 Th, and Th no shorter than that distance. Of {M} honest workers while nobody attacks the formula "
        f"leaves out, in the first {every} steps and in the last: {'; '.join(lost)}.\n\n"
    )


def replayed(record: Mapping[str, Any]) -> pd.DataFrame:
    """The trace of a recorded run, which is trained again: records have none."""
    data = load(record["data"], log=lambda line: None)
    names = [field.name for field in dataclasses.fields(RunConfig) if field.name in record]
    train, test = (data.train_inputs, data.train_labels), (data.test_inputs, data.test_labels)
    history = simulate(train, test, trace=True, **{name: record[name] for name in names})
    assert history.trace is not None
    return detection.frame_of(history.trace, record["byzantine"])


def _explained(record: Mapping[str, Any], thresholds: str, attack: str, labels: Labels) -> Picture:
    trace = replayed(record)
    names = [f"Long guard: sums of {LONG} steps", f"Short guard: sums of {SHORT} steps"]
    workers = detection.workers(trace).reset_index().astype(object).fillna("never")
    text = (
        "Each worker's sum of gradients has some distance from that of the median machine. Honest sums wander apart "
        "with the square root of the steps, those of attackers drift in proportion to them; at the end of a window all "
        "begin anew. A worker is banned once its distance passes the limit, the black line. Thresholds: "
        f"{label(thresholds, labels)}; attack: {label(attack, labels)}; seed {record['seed']}, trained again with a "
        "trace.\n\n"
        + markdown_table(
            [str(name).replace("_", " ") for name in workers], workers.astype(object).fillna("never").to_numpy()
        )
    )
    title = f"{label(thresholds, labels)}: distance to the threshold, {label(attack, labels)}"
    return Picture(detection.figure(trace, names), title, text)


GOOD, LEFT, LOST = "#0072B2", "#F0E442", "#D55E00"


def caught_figure(runs: pd.DataFrame, labels: Labels) -> Figure:
    """A tile for each attack and way to set the thresholds."""
    ways, attacks = (list(dict.fromkeys(runs[name])) for name in ("thresholds", "attack"))
    figure = Figure(figsize=(2.4 + 1.75 * len(ways), 1.9 + 0.8 * len(attacks)), layout="constrained")
    axes = figure.subplots()
    for _, cell in runs.groupby(CELL, sort=False):
        way, attack = cell.iloc[0][CELL]
        x, y = ways.index(way), attacks.index(attack)
        caught, lost, by = cell["caught"].mean(), cell["lost"].mean(), cell["first"].median()
        expected = 0 if attack == NOBODY else N_BYZ
        fill = LOST if lost > 0 else LEFT if caught < expected else GOOD
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=fill, edgecolor="white", linewidth=2))
        when = f", first by {by:,.0f}" if by < math.inf else ""
        words = f"{caught:.2g} caught{when}\n" * bool(expected) + f"{lost:.2g} honest lost"
        words += f"\n{cell['diverged'].sum()} of {len(cell)} diverged" * bool(cell["diverged"].any())
        axes.text(x, y, words, ha="center", va="center", fontsize=10, color="black" if fill == LEFT else "white")
    axes.set(xlim=(-0.5, len(ways) - 0.5), ylim=(len(attacks) - 0.5, -0.5))
    axes.set_xticks(range(len(ways)), [label(way, labels).replace(", ", ",\n") for way in ways], fontsize=11)
    axes.set_yticks(range(len(attacks)), [label(attack, labels) for attack in attacks], fontsize=11)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    words = {GOOD: "all attackers caught, no honest worker lost", LEFT: "attackers left", LOST: "honest workers lost"}
    handles = [Patch(facecolor=colour, label=text) for colour, text in words.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=11)
    return figure


def _numbers(runs: pd.DataFrame, labels: Labels) -> str:
    """Means over seeds; of steps the median."""
    rows = []
    for _, cell in runs.groupby(CELL, sort=False):
        way, attack = cell.iloc[0][CELL]
        means = [f"{cell[name].mean():.1f}" for name in ("caught", "lost", "accuracy")]
        means[2] += f" ({cell['diverged'].sum()} diverged)" * bool(cell["diverged"].any())
        steps = [f"{cell[name].median():,.0f}".replace("inf", "never") for name in ("first", "all")]
        rows.append([label(way, labels), label(attack, labels), means[0], *steps, *means[1:]])
        rows[-1].append(f"{cell['deviation'].median():.3g}")
    head = ["Thresholds", "Attack", "Caught at the end", "First by step", "All by step", "Honest lost"]
    return markdown_table([*head, "Accuracy (%)", "Honest deviation, in place of V"], rows)


def _way(thresholds: str, **options: Any) -> dict[str, Any]:
    return {"safeguard.thresholds": thresholds} | {f"safeguard.{name}": value for name, value in options.items()}


_BANT = {"average": "after", "multiplier": 0.55, "level": 1000.0}

SPEC = Table(
    name="safeguard_detection",
    title="Whom SafeguardSGD bans: digits, 10 workers, 4 of them Byzantine, 600 steps",
    source="this project; no published numbers",
    base={"data": "digits", "model": "mlp", "mlp.hidden": 30, "m": M, "n_byz": N_BYZ, "batch": 8, "lr": 0.1}
    | {"sampling": "replacement", "total_steps": 600, "eval_every": 10, "rule": "safeguard"}
    | {"safeguard.t0": SHORT, "safeguard.t1": LONG},
    axes=(
        axis(
            "thresholds",
            {
                PROJECTED: _way("projected"),
                READMITTED: _way("projected", readmit=LONG),
                SECOND: _way("recalled"),
                EPFML: _way("epfml", factor=1.0),
                BANT: _way("third_party", **_BANT),
                BANT_WINDOWS: _way("third_party", t0=1, t1=6, **_BANT),
                BANT_ANEW: _way("third_party", t0=1, t1=6, readmit=1, **_BANT),
                THEORY: _way("theory", v=1.0, p=0.1),
            },
        ),
        axis(
            "attack",
            {
                NOBODY: {"n_byz": 0},
                "sign flip": {"attack": "sign_flip"},
                "variance": {"attack": "alie", "alie.z": 0.3},
                "safeguard x0.6": {"attack": "safeguard_attack", "safeguard_attack.c": 0.6},
                BURSTS: {"attack": "burst+sign_flip", "burst.on": SHORT, "burst.off": 2 * SHORT},
            },
        ),
        axis("seed", [0, 1, 2]),
    ),
    columns=["thresholds"],
    quick={"total_steps": 40},
    labels={
        PROJECTED: "Projected",
        READMITTED: "Re-admitted",
        SECOND: "Second version",
        THEORY: "Theory",
        NOBODY: "Nobody attacks",
        "sign flip": "Sign flip",
        "variance": "Variance, 0.3 std",
        "safeguard x0.6": "Safeguard × 0.6",
        BURSTS: "Sign flip in bursts",
    },
    pictures=pictures,
)
