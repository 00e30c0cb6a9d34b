"""Least squares with a known optimum: the distance to it as the table's number.

byzsim run examples/least_squares.py
"""

from byzsim.experiments.plan import Table, axis

SPEC = Table(
    name="least_squares",
    title="Least squares: distance to the optimum, 20 coordinates, 20 workers",
    source="this file",
    base={
        "data": "none",  # the task makes its own
        "task": "least_squares",
        "task_args": {"d": 20, "n": 50, "noise": 1.0},
        "m": 20,
        "batch": None,  # the whole shard
        "epochs": 100,
        "lr": 0.2,
    },
    axes=(
        axis("rule", ["mean", "median", "trimmed_mean", "geometric_median"]),
        axis("attack", ["sign_flip", "alie"]),
        axis("alpha", [0.0, 0.1, 0.2]),
        axis("seed", [0, 1, 2]),
    ),
    metric="distance",
    quick={"epochs": 2},
)
