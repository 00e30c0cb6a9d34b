"""Min-max: as far as the two honest rows that are furthest apart."""

import math

import numpy as np
from reference import bisection, deviation, halving, honest, unit

OPTIONS = [
    {},
    {"direction": "sign"},
    {"direction": "std"},
    {"line_search": "exact"},
    {"line_search": "exact", "direction": "sign"},
    {"line_search": "exact", "direction": "std"},
    {"gamma0": 30.0},
    {"gamma0": 0.5},
]
TOLERANCE = 2e-4  # the search ends within 1e-5 of a border that float32 moves
GOLDEN = [
    {
        "source": "by hand: rows 0 and 4 on a line, allowed 4^2, mean 2: from 2 - gamma to 4 is 2 + gamma <= 4",
        "options": {"line_search": "exact"},
        "byz": [0, 0, 1],
        "rows": [[0], [4], [9]],
        "output": [[0]],
    },
    {
        "source": "by hand: as above, gamma = 2; the search ends next to it",
        "options": {},
        "byz": [0, 0, 1],
        "rows": [[0], [4], [9]],
        "output": [[0]],
        "tolerance": 2e-4,
    },
    {
        "source": "by hand: all up to 50 is allowed, so all tries grow: 1 + 1/2 + 1/4 + ..., nearly 2 off the mean 50",
        "options": {"gamma0": 1.0},
        "byz": [0, 0, 1],
        "rows": [[0], [100], [9]],
        "output": [[48]],
        "tolerance": 1e-5,
    },
    {
        "source": "by hand: the mean is 0 and has no direction, so the mean is sent",
        "options": {},
        "byz": [0, 0, 1],
        "rows": [[1, -2], [-1, 2], [9, 9]],
        "output": [[0, 0]],
    },
    {
        "source": "by hand: the mean is 0 and has no direction, so the mean is sent",
        "options": {"line_search": "exact", "direction": "sign"},
        "byz": [0, 0, 1],
        "rows": [[1, -2], [-1, 2], [9, 9]],
        "output": [[0, 0]],
    },
]


def min_max(rows, byz, direction="unit", line_search="halving", gamma0=10.0):
    good = honest(rows, byz)
    mu = sum(good) / len(good)
    p = {"unit": unit(mu), "sign": np.sign(mu), "std": deviation(good, ddof=1)}[direction]
    allowed = max(math.dist(a, b) ** 2 for a in good for b in good)

    def fits(gamma):
        return max(math.dist(mu - gamma * p, row) ** 2 for row in good) <= allowed

    if not p.any():
        return [mu] * int(sum(byz))
    gamma = bisection(fits) if line_search == "exact" else halving(fits, gamma0)
    return [mu - gamma * p] * int(sum(byz))
