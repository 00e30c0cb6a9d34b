"""Divide and conquer (DnC)."""

import math

import jax
import numpy as np
from reference import spread_along_top, usable

OPTIONS = [
    {},
    {"c": 1.5},
    {"c": 1.5, "rounding": "down"},
    {"subsample": 4},
    {"subsample": 4, "iterations": 1},
    {"subsample": 4, "iterations": 2, "c": 2.0},
    {"subsample": 4, "iterations": 2, "c": 0.5, "rounding": "down"},
]
F = (0, 1, 2)
GOLDEN = [
    {
        "source": "by hand: one column, mean 3, squared deviations 9 4 1 36; without the worst: 0 1 2",
        "options": {},
        "f": 1,
        "rows": [[0], [1], [2], [9]],
        "output": [1],
    },
    {
        "source": "by hand: the same points; c f = 2 go: 1 2",
        "options": {"c": 2.0},
        "f": 1,
        "rows": [[0], [1], [2], [9]],
        "output": [1.5],
    },
    {
        "source": "by hand: the same points; c f = 1.5, so 2 go up and 1 down",
        "options": {"c": 1.5, "rounding": "down"},
        "f": 1,
        "rows": [[0], [1], [2], [9]],
        "output": [1],
    },
    {
        "source": "by hand: mean 0 0, sums of squares 32 and 18, no covariance, so v = (1, 0); s = 16 16 0 0 0, ties to the lowest index: rows 1 3 4 5",
        "options": {},
        "f": 1,
        "rows": [[4, 0], [-4, 0], [0, 3], [0, -3], [0, 0]],
        "output": [1, 0],
    },
    {
        "source": "lishenghui/blades, fllib/aggregators/tests/test_aggregators.py (all columns; theirs is of 2 random ones, and any 2 give the same)",
        "options": {},
        "f": 1,
        "rows": [[1, 2, 3], [-1, 4, -1], [2, 2, 3], [3, 1, 3]],
        "output": [2, 5 / 3, 3],
    },
    {
        "source": "lishenghui/blades, the same test, with 2 columns drawn",
        "options": {"subsample": 2, "iterations": 1},
        "f": 1,
        "rows": [[1, 2, 3], [-1, 4, -1], [2, 2, 3], [3, 1, 3]],
        "output": [2, 5 / 3, 3],
    },
]


def dnc(rows, f, ctx, subsample=10000, iterations=5, c=1.0, rounding="up"):
    m, d = len(rows), len(rows[0])
    good = usable(rows)
    if not good:
        return np.zeros(d)
    dropped = math.ceil(c * f - 1e-4) if rounding == "up" else math.floor(c * f + 1e-4)
    kept = max(m - dropped, 1)
    if subsample >= d:
        draws = [range(d)]
    else:
        keys = jax.random.split(ctx.key, iterations)
        draws = [np.argsort(-np.asarray(jax.random.uniform(key, (d,))), kind="stable")[:subsample] for key in keys]
    sets = []
    for columns in draws:
        part = [rows[i][np.asarray(columns)] for i in good]
        along = spread_along_top(part, [1.0] * len(part))[2]
        score = dict(zip(good, along, strict=True))
        sets.append(set(sorted(good, key=lambda i: (score[i], i))[:kept]))
    chosen = set.intersection(*sets) or set.union(*sets)
    return sum(rows[i] for i in sorted(chosen)) / len(chosen)
