"""One row for each cell of a table: accuracy over its runs, the published number, and the origin of the records.

Accuracies are percent on the test set at the final epoch; the best epoch is never reported.
"""

import dataclasses
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
    """A fraction as a percentage without needless digits: 0.25 -> "25 %"."""
    return f"{100 * alpha:.4g} %"


def runs_of(records: Sequence[Record], rule: str, attack: str, alpha: float) -> list[Record]:
    """The runs of one cell, one for each seed. For alpha = 0 the cells of all attacks share the runs of "none"."""
    name = attack if alpha > 0 else "none"
    return [r for r in records if (r["rule"], r["attack"]) == (rule, name) and np.isclose(r["alpha"], alpha)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """The cells of a table and what they are compared with."""

    rules: Sequence[str]
    attacks: Sequence[str]
    alphas: Sequence[float]
    m: int | None = None
    """number of workers; gives n_byz of cells without runs"""
    published: pd.DataFrame | None = None
    """columns rule, attack, alpha, accuracy (percent)"""
    verdict: Verdict = lambda mean, sd, n, n_diverged, paper: ""
    """the mark of a cell that has runs and a published number"""


def summarise(records: Sequence[Record], layout: Layout) -> pd.DataFrame:
    """One row for each cell (rule, attack, alpha), with or without runs; accuracies in percent, differences in points.

    Columns: rule, attack, alpha, n_byz, beyond_bound, n (seeds), n_diverged, mean and sd (ddof = 1) over the seeds
    that did not diverge, paper, difference (mean - paper), verdict ("" without runs or a published number), ids of the
    records, idle (see `_is_idle`).

    Raises:
        UserError: a cell has two runs with the same seed.
    """
    paper = _paper(layout.published)
    rows = [
        _row(runs_of(records, rule, attack, alpha), rule, attack, alpha, paper, layout.verdict)
        for rule, attack, alpha in product(layout.rules, layout.attacks, layout.alphas)
    ]
    summary = pd.DataFrame(rows).astype({"n_byz": "Int64", "beyond_bound": "boolean"})
    if layout.m is None:
        return summary
    return summary.fillna({"n_byz": (summary["alpha"] * layout.m).round().astype("Int64")})


def compared(summary: pd.DataFrame) -> bool:
    """Whether any cell has a published number."""
    return bool(summary["paper"].notna().any())


def _paper(published: pd.DataFrame | None) -> dict[tuple[str, str, str], float]:
    """Published accuracies in percent by rule, attack and printed alpha."""
    if published is None:
        return {}
    rows = zip(*(published[c] for c in ("rule", "attack", "alpha", "accuracy")), strict=True)
    return {(rule, attack, percent(alpha)): float(accuracy) for rule, attack, alpha, accuracy in rows}


def _row(
    runs: Sequence[Record], rule: str, attack: str, alpha: float, paper: Mapping, verdict: Verdict
) -> dict[str, Any]:
    _refuse_duplicates(runs)
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
    """Whether a filtering or clipping rule under attack behaved as the mean: it dropped no worker and shortened no row.

    A weighting rule, such as the geometric median, differs from the mean by the weight of the Byzantine workers.
    """
    dropped, kept, clipped = (run.get(name) for name in ("honest_dropped", "byz_kept", "clipped"))
    if run["alpha"] == 0 or (dropped is None and clipped is None):
        return False
    n_byz, share = run["n_byz"], run["n_byz"] / run["m"]
    of_the_mean = [(dropped or [], 0), (kept or [], n_byz), (clipped or [], 0), (run["byz_weight"], share)]
    gaps = [abs(value - mean) for values, mean in of_the_mean for value in values if value is not None]
    return bool(gaps) and max(gaps) < 1e-4  # no gaps: the run diverged in its first epoch


def _refuse_duplicates(runs: Sequence[Record]) -> None:
    """Two runs of a cell with the same seed differ in a setting; their average would mix experiments."""
    seen: dict[int, Record] = {}
    for run in runs:
        first = seen.setdefault(run["seed"], run)
        if first is not run:
            differ = ", ".join(k for k in _settings([first]) if first[k] != run.get(k)) or "no setting"
            raise UserError(
                f"two records of {run['rule']}, {run['attack']}, alpha {run['alpha']:g} have seed {run['seed']} and "
                f"differ in {differ}. Keep one of them, or report the two settings separately."
            )


OUTCOMES = [*History._fields, "final_accuracy", "best_accuracy"]
CIRCUMSTANCES = ["table", "quick", "seed", "commit", "dirty", "versions", "device", "mode", "seconds", "time"]
DIRTY = " with uncommitted changes"


def _settings(records: Sequence[Record]) -> dict[str, Any]:
    """The settings that all records share: their fields without outcomes and circumstances."""
    first = records[0]
    keys = [k for k in first if k not in OUTCOMES + CIRCUMSTANCES]
    return {k: first[k] for k in keys if all(k in r and r[k] == first[k] for r in records)}


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(v) for v in sorted(set(values))) or "none"


def provenance(records: Sequence[Record]) -> dict[str, str]:
    """The origin of the records as printed: runs, seeds, epochs, commits, devices, versions, settings."""
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
