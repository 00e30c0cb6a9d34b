"""Min-sum: as far from all as the honest row that is."""

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
    {"bound": "min"},
    {"bound": "min", "direction": "std"},
    {"bound": "min", "line_search": "exact"},
    {"gamma0": 30.0},
    {"gamma0": 0.5},
]
TOLERANCE = 2e-4  # the search ends within 1e-5 of a border that float32 moves
GOLDEN = [
    {
        "source": "by hand: rows 0, 0, 3: sums 9, 9, 18; mean 1, 2 (1 - gamma)^2 + (2 + gamma)^2 = 6 + 3 gamma^2 = 18",
        "options": {"line_search": "exact"},
        "byz": [0, 0, 0, 1],
        "rows": [[0], [0], [3], [9]],
        "output": [[-1]],
    },
    {
        "source": "by hand: as above, 6 + 3 gamma^2 = 9",
        "options": {"line_search": "exact", "bound": "min"},
        "byz": [0, 0, 0, 1],
        "rows": [[0], [0], [3], [9]],
        "output": [[0]],
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


def min_sum(rows, byz, direction="unit", bound="max", line_search="halving", gamma0=10.0):
    good = honest(rows, byz)
    mu = sum(good) / len(good)
    p = {"unit": unit(mu), "sign": np.sign(mu), "std": deviation(good, ddof=1)}[direction]
    sums = [sum(math.dist(a, b) ** 2 for b in good) for a in good]
    allowed = max(sums) if bound == "max" else min(sums)

    def fits(gamma):
        return sum(math.dist(mu - gamma * p, row) ** 2 for row in good) <= allowed

    if not p.any():
        return [mu] * int(sum(byz))
    gamma = bisection(fits) if line_search == "exact" else halving(fits, gamma0)
    return [mu - gamma * p] * int(sum(byz))
