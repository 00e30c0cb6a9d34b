"""Centred clipping."""

import numpy as np
from reference import middle_of, usable

OPTIONS = [
    {"tau": 1.0},
    {},
    {"steps": 3},
    {"start": "median", "steps": 2},
    {"tau": 100.0},
    {"tau": 5.0, "steps": 5},
    {"tau": 10.0, "steps": 3},
    {"tau": 1.0, "start": "mean", "steps": 3},
    {"tau": 1.0, "start": "median", "steps": 3},
    {"tau": 1.0, "start": "lower_median", "steps": 3},
    {"tau": 1.0, "start": "zero", "steps": 2},
]
TOLERANCE = 1e-4


def centered_clipping(rounds, f, tau="majority", steps=1, start="previous"):
    v, out = np.zeros(len(rounds[0][0])), []
    for rows in rounds:
        good = usable(rows)
        if start == "zero":
            v = np.zeros(len(v))
        if start == "mean":
            v = sum((rows[i] for i in good), np.zeros(len(v))) / max(len(good), 1)
        if "median" in start:
            v = np.array(
                [middle_of(column, "lower" if start == "lower_median" else "mean") for column in np.transpose(rows)]
            )
            v = np.where(np.isfinite(v), v, 0.0)
        for _ in range(steps):
            apart = {i: np.linalg.norm(rows[i] - v) for i in good}
            middle = sorted(apart.values())[len(rows) // 2] if len(good) > len(rows) // 2 else np.inf
            radius = middle if tau == "majority" else tau
            moves = [(rows[i] - v) * (radius / apart[i] if apart[i] > radius else 1.0) for i in good]
            v = v + sum(moves, np.zeros(len(v))) / len(rows)
        out.append(v)
    return out
