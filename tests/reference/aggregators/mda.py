"""Minimum diameter averaging."""

import itertools
import math

import numpy as np
from reference import usable

OPTIONS = [{}, {"search": "ball"}]
F = (0, 1, 2, 3)
GOLDEN = [
    {
        "source": "by hand: points 0 5 6 8 20: of three, 5 6 8 has diameter 3",
        "options": {},
        "f": 2,
        "rows": [[20], [5], [0], [8], [6]],
        "output": [19 / 3],
    },
]


def mda(rows, f, search="exact"):
    m, good = len(rows), usable(rows)
    size = m - min(f, (m - 1) // 2)

    def apart(i, j):
        return float(np.sum((rows[i] - rows[j]) ** 2)) if i in good and j in good else math.inf

    def diameter(kept):
        return max((apart(i, j) if i != j or i not in good else 0.0 for i in kept for j in kept), default=0.0)

    if search == "exact":
        tried = itertools.combinations(range(m), size)
    else:
        tried = [sorted(range(m), key=lambda j: (j != i, apart(i, j), j))[:size] for i in range(m)]
    best = min(tried, key=diameter)  # the first of equals
    kept = [i for i in best if i in good]
    return sum((rows[i] for i in kept), np.zeros(len(rows[0]))) / max(len(kept), 1)
