"""Minimum-diameter averaging, over all subsets and over balls."""

import itertools
import math

import numpy as np
from reference import mean_of, usable

OPTIONS = [{}, {"subsets": "balls"}]
F = (0, 1, 2, 3, 4)

GOLDEN = [
    {
        "source": "by hand: points 0 1 4 6 20, subsets of 4 have diameter 6 (without 20) or at least 14",
        "options": {},
        "f": 1,
        "rows": [[0], [20], [4], [6], [1]],
        "output": [2.75],
    },
    {
        "source": "by hand: points 0 3 5 9 10, subsets of 3: diameters 5 (0 3 5), 6 (3 5 9), 5 (5 9 10); the first of 5",
        "options": {},
        "f": 2,
        "rows": [[0], [3], [5], [9], [10]],
        "output": [8 / 3],
    },
    {
        "source": "by hand: points 0 3 4 8 9, subsets of 3: 4 (0 3 4), 5 (3 4 8), 5 (4 8 9)",
        "options": {},
        "f": 2,
        "rows": [[9], [8], [4], [3], [0]],
        "output": [7 / 3],
    },
    {
        "source": "by hand: points 1 6 10 11 15 19, subsets of 4 have diameters 10 (1 6 10 11), 9 (6 10 11 15), 9 (10 11 15 19); the row order 19 15 11 10 6 1 puts the last first",
        "options": {},
        "f": 2,
        "rows": [[19], [15], [11], [10], [6], [1]],
        "output": [13.75],
    },
    {
        "source": "by hand: balls of 4: 15 18 10 21, 18 15 21 10, 21 18 15 10 of diameter 11, then 5 9 10 15 of 10 (and no better)",
        "options": {"subsets": "balls"},
        "f": 2,
        "rows": [[15], [18], [21], [5], [10], [9]],
        "output": [9.75],
    },
    {
        "source": "by hand: the same points, all subsets: 9 10 15 18 of diameter 9",
        "options": {},
        "f": 2,
        "rows": [[15], [18], [21], [5], [10], [9]],
        "output": [13],
    },
    {
        "source": "calicarpa/krum, tests/primitives/aggregators/test_brute.py",
        "options": {},
        "f": 1,
        "rows": [[0], [0.5], [1], [100]],
        "output": [0.5],
    },
    {
        "source": "Byzpy/byzpy, python/byzpy/aggregators/geometric_wise/tests/test_minimum_diameter_average.py",
        "options": {},
        "f": 1,
        "rows": [[0, 0], [0.1, 0], [-0.1, 0], [0, 0.1], [100, 100]],
        "output": [0, 0.025],
    },
    {
        "source": "LPD-EPFL/byzfl, docstring in byzfl/aggregators/aggregators.py (two pairs of equal diameter, the first)",
        "options": {},
        "f": 1,
        "rows": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        "output": [2.5, 3.5, 4.5],
    },
]


def mda(rows, f, subsets="all"):
    m, good = len(rows), usable(rows)
    k = m - min(f, (m - 1) // 2)

    def apart(i, j):
        if i == j:
            return 0.0 if i in good else math.inf
        return float(np.sum((rows[i] - rows[j]) ** 2)) if i in good and j in good else math.inf

    tried = list(itertools.combinations(range(m), k))
    if subsets == "balls":
        tried = [sorted(range(m), key=lambda j, i=i: (j != i, apart(i, j), j))[:k] for i in range(m)]
    best, smallest = None, None
    for subset in tried:
        diameter = max(apart(i, j) for i in subset for j in subset)
        if best is None or diameter < smallest:
            best, smallest = subset, diameter
    return mean_of(rows, [i for i in best if i in good])
