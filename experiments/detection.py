"""Whom a rule drops, and when, from the trace of a run: a table of the workers, and a picture of each test.

trace = load_trace("results/smoke", id)             or trace_of(history, byzantine)
detection.workers(trace)                            the step at which each worker was dropped, whether it came back
detection.figure(trace, names=("long guard",))      how near each worker was to being dropped, step by step
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from byzsim.engine import Trace
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import StrMethodFormatter

HONEST, BYZANTINE = "#0072B2", "#D55E00"
MOST = 1.5
"""where the axis ends, in limits; what is more is drawn there"""


def frame_of(trace: Trace, byzantine: Collection[int] | np.ndarray) -> pd.DataFrame:
    """A row for each step and worker of a trace; the columns are those of `load_trace`."""
    steps, workers = trace.weight.shape
    worker = np.asarray(trace.worker, int).ravel()
    step = np.repeat(np.arange(1, steps + 1), workers)
    known = {"step": step, "worker": worker, "byzantine": np.isin(worker, sorted(byzantine))}
    values = {name: np.asarray(getattr(trace, name)) for name in ("weight", "distance", "norm")}
    tests = np.asarray(trace.suspicion).swapaxes(0, 1) if len(trace.suspicion) else []
    values |= {f"suspicion_{i}": test for i, test in enumerate(tests, 1)}
    return pd.DataFrame(known | {name: each.reshape(steps * workers) for name, each in values.items()})


def workers(trace: pd.DataFrame) -> pd.DataFrame:
    """Whom the rule dropped, and when: a row for each worker.

    Columns: byzantine; dropped_at, the first step in which the worker has no weight (NA: never); steps_dropped, in how
    many of its steps it has none; returned_at, the first later step in which it has weight again (NA: never); kept,
    whether it has weight in the last step.

    Args:
        trace: `load_trace(folder, id)`, or `trace_of(history, byzantine)`.
    """
    rows = []
    for worker, steps in trace.sort_values("step").groupby("worker"):
        gone = (steps["weight"] == 0).to_numpy()
        step, first = steps["step"].to_numpy(), int(gone.argmax()) if gone.any() else len(gone)
        back = np.flatnonzero(~gone[first:])
        row = {"worker": worker, "byzantine": bool(steps["byzantine"].iloc[0])}
        row |= {"dropped_at": step[first] if gone.any() else None, "steps_dropped": int(gone.sum())}
        rows.append(row | {"returned_at": step[first + back[0]] if len(back) else None, "kept": not gone[-1]})
    whole = dict.fromkeys(("dropped_at", "returned_at"), "Int64")
    return pd.DataFrame(rows).set_index("worker").astype(whole)


def figure(trace: pd.DataFrame, names: Sequence[str] = ()) -> Figure:
    """How near each worker is to being dropped in each step: a panel for each test, a line for each worker.

    At the black line the rule drops a worker, and a cross is where it did. A line ends where its worker is dropped.

    Args:
        trace: of a run whose rule says how near each worker is, such as safeguard.
        names: of the tests, as titles.
    Raises:
        ValueError: the trace has no column suspicion_1.
    """
    tests = [name for name in trace if str(name).startswith("suspicion_")]
    if not tests:
        raise ValueError("the trace has no column suspicion_1: its rule does not say how near workers are to the limit")
    made = Figure(figsize=(9, 0.8 + 2.5 * len(tests)), layout="constrained")
    panels = made.subplots(len(tests), 1, sharex=True, squeeze=False)[:, 0]
    for place, (axes, test) in enumerate(zip(panels, tests, strict=True)):
        axes.axhline(1, color="black", linewidth=1.5)
        axes.text(0.995, 1.04, "dropped above", transform=axes.get_yaxis_transform(), ha="right", fontsize=10)
        for byzantine, of_kind in trace.groupby("byzantine"):  # the attackers are drawn over the honest workers
            for _, steps in of_kind.groupby("worker"):
                _line(axes, steps, test, tests, BYZANTINE if byzantine else HONEST)
        axes.set(ylim=(0, MOST), xlim=(0, trace["step"].max()))
        axes.set_title(names[place] if place < len(names) else f"test {place + 1}", loc="left", fontsize=12)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("step", fontsize=12)
    panels[-1].xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    made.supylabel("what is tested, over the limit", fontsize=12)
    handles = [Line2D([], [], color=BYZANTINE, label="Byzantine workers"), Line2D([], [], color=HONEST, label="honest")]
    handles.append(Line2D([], [], color="black", marker="x", linestyle="none", markersize=9, label="dropped here"))
    made.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=11)
    return made


def _line(axes: Axes, steps: pd.DataFrame, test: str, tests: Sequence[str], colour: str) -> None:
    """One worker; a cross in the panel of the test that dropped it. It is compared with itself where there is a gap."""
    drawn = steps[test].where((steps["weight"] > 0) & (steps[test] > 0)).clip(upper=MOST)
    axes.plot(steps["step"], drawn, color=colour, linewidth=1.1, alpha=0.8)
    over = steps[(steps["weight"] > 0) & (steps[test] > 1) & (steps[test] >= steps[list(tests)].max(axis=1))]
    look: dict[str, Any] = {"color": colour, "linestyle": "none", "marker": "x", "markersize": 9, "markeredgewidth": 2}
    axes.plot(over["step"], over[test].clip(upper=MOST), **look, zorder=5)
