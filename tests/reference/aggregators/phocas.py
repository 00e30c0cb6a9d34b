"""Phocas."""

import math

import numpy as np
from reference import nearest_to

OPTIONS = [{}]
F = (0, 1, 2, 3, 4, 5)
GOLDEN = [
    {
        "source": "by hand: column 0 1 2 9 11, trimmed mean 12/3 = 4, distances 4 3 2 5 7, without 11: 12/4 (the median 2 leaves out 11 as well); column 0 7 8 9 10, trimmed mean 8, without 0: 34/4",
        "options": {},
        "f": 1,
        "rows": [[0, 9], [1, 0], [2, 10], [9, 7], [11, 8]],
        "output": [3, 8.5],
    },
    {
        "source": "by hand: 0 1 2 12 13, trimmed mean 15/3 = 5, distances 5 4 3 7 8, without 13: 15/4; -6 0 1 8 10: 9/3 = 3, distances 9 3 2 5 7, without -6 : 19/4 (around the median 1 without 10: 3/4)",
        "options": {},
        "f": 1,
        "rows": [[0, -6], [1, 0], [2, 1], [12, 8], [13, 10]],
        "output": [3.75, 4.75],
    },
    {
        "source": "by hand: 0 3 4 5 8, trimmed mean 4, 0 and 8 equally near, the smaller stays: 12/4",
        "options": {},
        "f": 1,
        "rows": [[8], [3], [0], [5], [4]],
        "output": [3],
    },
]


def phocas(rows, f):
    m, out = len(rows), []
    f = min(f, (m - 1) // 2)
    for column in np.transpose(rows):
        ordered = sorted(math.inf if math.isnan(value) else value for value in column)
        centre = sum(ordered[f : m - f]) / (m - 2 * f)
        kept = nearest_to(centre, ordered, m - f)
        out.append(sum(kept) / len(kept))
    return np.array(out)
