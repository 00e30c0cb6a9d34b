"""One row for each cell of a table: its number over its runs, the published number, and the origin of the records."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from byzsim import RunConfig
from byzsim.engine import StepMetrics
from byzsim.experiments import records
from byzsim.experiments.errors import unknown
from byzsim.experiments.plan import WORST, Label, Ours, Published, Table, expand
from byzsim.experiments.plan.published import Numbers
from byzsim.experiments.plan.runs import Chosen
from byzsim.experiments.plan.table import NUMBER, in_percent

Record = Mapping[str, Any]
QUICK = "QUICK RUN, NOT A RESULT"
NO_NUMBER = Published(math.nan, math.nan, math.nan)


def percent(alpha: float) -> str:
    """A fraction as a percentage without needless digits: 0.25 -> "25 %"."""
    return f"{100 * alpha:.4g} %"


def runs_of(records: Sequence[Record], rule: str, attack: str, alpha: float) -> list[Record]:
    """The runs of one cell, one for each seed. For alpha = 0 the cells of all attacks share the runs of "none"."""
    name = attack if alpha > 0 else "none"
    return [r for r in records if (r["rule"], r["attack"]) == (rule, name) and np.isclose(r["alpha"], alpha)]


def summarise(
    found: Iterable[Record],
    table: Table,
    published: Numbers | None = None,
    *,
    every_seed: bool = True,
    chosen: Chosen | None = None,
) -> pd.DataFrame:
    """One row for each cell, with or without runs; accuracies in percent, differences in points.

    Columns: the axes that are shown, and the setting that was chosen; n_byz, beyond_bound, n (runs), n_diverged, mean
    and sd (ddof = 1) over the runs that did not diverge, paper, paper_sd and paper_n where the source has them,
    difference (mean - paper), verdict ("" without runs or a published number), ids of records, idle (see `_is_idle`).

    Args:
        published: by the labels of the shown axes.
        every_seed: whether all recorded seeds count, and not those of the table alone.
        chosen: of a table that chooses, what it has chosen.
    Raises:
        UserError: a record does not have the table's metric.
    """
    index: dict[tuple[str | None, int], Record] = {(records.run_id_of(each), each["seed"]): each for each in found}
    by_run: dict[str | None, list[Record]] = {}
    for (run, _), each in index.items():
        by_run.setdefault(run, []).append(each)
    planned: dict[tuple[Label, ...], list[tuple[str, RunConfig]]] = {}
    labels: dict[tuple[Label, ...], Label] = {}
    for position, data, config in expand(table, chosen=chosen):
        cell = tuple(position[name] for name in table.shown)
        planned.setdefault(cell, []).append((data, config))
        if table.choose:
            labels[cell] = position[table.choose]
    rows = []
    for cell, configs in planned.items():
        seeds = {config.seed for _, config in configs}
        keys = dict.fromkeys(records.run_id(*each) for each in configs)
        any_seed = every_seed and "seed" not in table.shown
        runs = [run for key in keys for run in by_run.get(key, ()) if any_seed or run["seed"] in seeds]
        place = dict(zip(table.shown, cell, strict=True)) | ({table.choose: labels[cell]} if table.choose else {})
        rows.append(place | _row(runs, configs[0][1], table) | {"paper": (published or {}).get(cell, NO_NUMBER)})
    rows += _worst(rows, table, published or {})
    return _compared(pd.DataFrame(rows), table)


def _row(runs: Sequence[Record], config: RunConfig, table: Table) -> dict[str, Any]:
    finals = [number(run, table) for run in runs if not run["diverged"]]
    return {
        "n_byz": config.n_byz,
        "beyond_bound": config.beyond_bound,
        "idle": bool(runs) and all(map(_is_idle, runs)),
        "n": len(runs),
        "n_diverged": len(runs) - len(finals),
        "mean": statistics.fmean(finals) if finals else math.nan,
        "sd": statistics.stdev(finals) if len(finals) > 1 else math.nan,
        "ids": " ".join(run["id"] for run in runs),
    }


def number(run: Record, table: Table) -> float:
    """The table's number of a run: of its metric the last, the best, or the mean of the last measurements.

    Raises:
        UserError: the record does not have the metric.
    """
    if table.metric not in run:
        raise unknown(
            "metric", table.metric, [name for name in run.get("metrics", ("accuracy", "loss")) if name in run]
        )
    values, scale = run[table.metric], 100 if in_percent(table.metric) else 1
    kind = NUMBER.fullmatch(table.number)
    if table.number == "best":
        return scale * (min if table.lower_is_better else max)(values)
    return scale * statistics.fmean(values[-int((kind and kind[1]) or 1) :])


def _worst(rows: Sequence[dict[str, Any]], table: Table, published: Numbers) -> list[dict[str, Any]]:
    """For each cell of the other axes the row with the worst number; a diverged one is worse than all."""
    over = table.worst_over
    if over is None or over not in table.shown:
        return []
    groups: dict[tuple[Label, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in table.shown if name != over), []).append(row)
    found = []
    for group in groups.values():
        place = {
            over: WORST,
            "paper": published.get(tuple({**group[0], over: WORST}[name] for name in table.shown), NO_NUMBER),
        }
        found.append((worst_of(group, table) or {**group[0], **NOT_RUN}) | place)
    return found


NOT_RUN = {"n": 0, "n_diverged": 0, "mean": math.nan, "sd": math.nan, "ids": "", "idle": False}


def worst_of(rows: Sequence[dict[str, Any]], table: Table) -> dict[str, Any] | None:
    """The row with the worst number; None while one of them has no runs."""
    if not all(row["n"] for row in rows):
        return None
    lost = [row for row in rows if math.isnan(row["mean"])]
    return lost[0] if lost else (max if table.lower_is_better else min)(rows, key=lambda row: row["mean"])


def _compared(summary: pd.DataFrame, table: Table) -> pd.DataFrame:
    """With the columns about published numbers, and columns in their order."""
    if summary.empty:
        return summary
    said: list[Published] = list(summary["paper"])
    rows = zip(summary[[*Ours._fields]].itertuples(index=False, name=None), said, strict=True)
    verdicts = [
        table.verdict(Ours(*ours), paper) if ours[2] and not math.isnan(paper.mean) else "" for ours, paper in rows
    ]
    more = {f"paper_{name}": [getattr(each, name) for each in said] for name in ("sd", "n")}
    more = {name: values for name, values in more.items() if not all(map(math.isnan, values))}
    ids, means = summary["ids"], [each.mean for each in said]
    summary = summary.drop(columns=["ids", "paper"]).assign(paper=means, **more)
    return summary.assign(difference=summary["mean"] - summary["paper"], verdict=verdicts, ids=ids)


def compared(summary: pd.DataFrame) -> bool:
    """Whether any cell has a published number."""
    return bool(summary["paper"].notna().any())


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


OUTCOMES = [*StepMetrics._fields, "metrics", "accuracy", "loss", "diverged", "diverged_epoch", "digest"]
OUTCOMES += ["final_accuracy", "best_accuracy"]
CIRCUMSTANCES = ["schema", "table", "quick", "seed", "commit", "dirty", "versions", "device", "mode", "seconds", "time"]
CIRCUMSTANCES += ["trace"]
DIRTY = " with uncommitted changes"


def _settings(found: Sequence[Record]) -> dict[str, Any]:
    """The settings that all records share: their fields without outcomes and circumstances."""
    first = found[0]
    keys = [k for k in first if k not in (*OUTCOMES, *CIRCUMSTANCES, *first.get("metrics", ()))]
    return {k: first[k] for k in keys if all(k in r and r[k] == first[k] for r in found)}


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(v) for v in sorted(set(values))) or "none"


def _measurements(run: Record) -> int:
    return len(run[next(iter(run.get("metrics", ("accuracy",))))])


def provenance(found: Sequence[Record]) -> dict[str, str]:
    """The origin of the records as printed: runs, seeds, epochs, commits, devices, versions, settings."""
    if not found:
        return {"Runs": "none yet"}
    return {
        "Runs": f"{len(found)} ({sum(r['seconds'] for r in found):,.0f} seconds in total)",
        "Seeds": _listed(r["seed"] for r in found),
        "Epochs": _listed(map(_measurements, found)),
        "Commits": _listed(f"{r['commit']}{DIRTY if r['dirty'] else ''}" for r in found),
        "Devices": _listed(f"{r['device']}{', ' + r['mode'] if 'mode' in r else ''}" for r in found),
        "Versions": _listed(f"{name} {v}" for r in found for name, v in r["versions"].items()),
        "Settings of all runs": ", ".join(f"{k} = {v}" for k, v in _settings(found).items()) or "none",
    }
