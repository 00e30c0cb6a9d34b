"""The geometric median by smoothed Weiszfeld steps."""

import numpy as np
from reference import middle_of, usable

OPTIONS = [
    {},
    {"steps": 5, "nu": 2.0},
    {"steps": 8},
    {"start": "mean", "steps": 1},
    {"start": "median", "steps": 2},
    {"start": "lower_median", "steps": 2},
    {"start": "median", "steps": 256, "nu": 1e-12, "tolerance": 1e-6},
    {"start": "zero", "steps": 20, "tolerance": 0.05},
]
TOLERANCE = 2e-3  # the last step may be one more or less where a tolerance is met to rounding
GOLDEN = [
    {
        "source": "by hand: one step from zero, norms 5 and 10, weights 2/3 and 1/3",
        "options": {"steps": 1},
        "f": 0,
        "rows": [[3, 4], [0, 10]],
        "output": [2, 6],
    },
    {
        "source": "by hand: half of the weight in one point makes it the geometric median",
        "options": {"steps": 256, "start": "median", "nu": 1e-12},
        "f": 0,
        "rows": [[1, 1], [1, 1], [1, 1], [7, 9], [-3, 2]],
        "output": [1, 1],
        "tolerance": 1e-4,
    },
]


def geometric_median(rows, f, steps=3, nu=0.1, start="zero", tolerance=0.0):
    good = usable(rows)
    z = np.zeros(len(rows[0]))
    if start == "mean":
        z = sum(rows[i] for i in good) / len(good)
    if "median" in start:
        spoilt = [row if i in good else np.full(len(row), np.inf) for i, row in enumerate(rows)]
        middle = "lower" if start == "lower_median" else "mean"
        z = np.nan_to_num([middle_of(column, middle) for column in np.transpose(spoilt)], posinf=0.0)
    return weiszfeld([rows[i] for i in good], z, steps, nu, tolerance)


def weiszfeld(rows, z, steps, nu, tolerance):
    if not rows:
        return np.zeros(len(z))
    for _ in range(steps):
        weights = [1 / max(nu, np.sqrt(np.sum((z - row) ** 2))) for row in rows]
        new = sum(w * row for w, row in zip(weights, rows, strict=True)) / sum(weights)
        moved, z = np.linalg.norm(new - z), new
        if moved <= tolerance * len(rows) / sum(weights):
            break
    return z
