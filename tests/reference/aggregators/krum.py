"""Krum."""

import math

import numpy as np
from reference import usable

OPTIONS = [{}]
GOLDEN = [
    {
        "source": "by hand: points 0 1 9 14 18, m - f - 2 = 2 others; squared sums 82 65 89 41 97, so 14; 3 others: 278 234 170 210 386 (so 9), 1 other (self counted): 1 1 25 16 16 (so 0)",
        "options": {},
        "f": 1,
        "rows": [[0], [1], [9], [14], [18]],
        "output": [14],
    },
    {
        "source": "by hand: points 0 10 21 32, m - f - 2 = 2 others; sums 541 221 242 605; f = 1 leaves one other: 100 100 121 121, lowest index",
        "options": {},
        "f": 1,
        "rows": [[0], [10], [21], [32]],
        "output": [0],
    },
    {
        "source": "by hand: the same points, f = 0: two others",
        "options": {},
        "f": 0,
        "rows": [[0], [10], [21], [32]],
        "output": [10],
    },
]


def krum(rows, f):
    good = usable(rows)
    scores = []
    for i in range(len(rows)):
        others = []
        for j in range(len(rows)):
            if j != i:
                both = i in good and j in good
                others.append(float(np.sum((rows[i] - rows[j]) ** 2)) if both else math.inf)
        scores.append(sum(sorted(others)[: max(len(rows) - f - 2, 1)]))
    best = min(range(len(rows)), key=lambda i: (scores[i], i not in good, i))
    return rows[best]
