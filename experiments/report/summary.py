"""Records as one row a cell, beside the paper's number, and what the records say of their origin.

Accuracies are percent on the test set at the final epoch; the best epoch is never reported.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from byzsim import History
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan import Verdict

Record = Mapping[str, Any]
QUICK = "QUICK RUN, NOT A RESULT"


def percent(alpha: float) -> str:
    """A fraction 0..1 as a percentage without needless digits: 0.25 -> "25 %"."""
    return f"{100 * alpha:.4g} %"


def runs_of(records: Sequence[Record], rule: str, attack: str, alpha: float) -> list[Record]:
    """The runs of one cell, one per seed. Without attackers every attack's cell is the same run, "none"."""
    name = attack if alpha > 0 else "none"
    return [r for r in records if (r["rule"], r["attack"]) == (rule, name) and np.isclose(r["alpha"], alpha)]


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


OUTCOMES = [*History._fields, "final_accuracy", "best_accuracy"]
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
