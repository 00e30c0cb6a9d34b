"""Tables of runs: carried out, recorded, reported. From Python: results as DataFrames, and figures of them.

    frame = load_results("results/brsgd_table1", per="measurement")
    plot.curves(frame, rows="attack", columns="rule", lines="alpha")

Names are imported when they are first used, so that the command line answers slips and `--help` without JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byzsim.experiments.interactive import run_table
    from byzsim.experiments.partitioning import partition_table
    from byzsim.experiments.records.traces import load_trace, trace_of
    from byzsim.experiments.report import plot
    from byzsim.experiments.results import from_histories, load_results

HOMES = {
    "from_histories": "results",
    "load_results": "results",
    "load_trace": "records.traces",
    "partition_table": "partitioning",
    "plot": "report",
    "run_table": "interactive",
    "trace_of": "records.traces",
}
"""Each public name and its module."""

__all__ = list(HOMES)


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'byzsim.experiments' has no attribute {name!r}")
    return getattr(importlib.import_module(f"byzsim.experiments.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
