"""Trimmed mean."""

import math

import numpy as np

OPTIONS = [{}]
F = (0, 1, 2, 3, 4, 5)
GOLDEN = [
    {
        "source": "by hand: sorted columns 0 2 4 9 30 and -9 1 1 3 7; (2+4+9)/3 and (1+1+3)/3",
        "options": {},
        "f": 1,
        "rows": [[30, 1], [2, 7], [4, -9], [0, 1], [9, 3]],
        "output": [5, 5 / 3],
    },
    {
        "source": "by hand: f = 2 of 4 counts as 1, the two middles: (2+4)/2 and (1+3)/2",
        "options": {},
        "f": 2,
        "rows": [[30, 1], [2, 7], [4, 3], [0, 1]],
        "output": [3, 2],
    },
    {
        "source": "calicarpa/krum, tests/primitives/aggregators/test_trimmed_mean.py",
        "options": {},
        "f": 1,
        "rows": [[1, 10], [2, 3], [3, 5], [4, 7], [100, 1]],
        "output": [3, 5],
    },
    {
        "source": "calicarpa/krum, tests/primitives/aggregators/test_trimmed_mean.py",
        "options": {},
        "f": 2,
        "rows": [[0], [1], [2], [3], [100]],
        "output": [2],
    },
]


def trimmed_mean(rows, f):
    m, out = len(rows), []
    f = min(f, (m - 1) // 2)
    for column in np.transpose(rows):
        ordered = sorted(math.inf if math.isnan(value) else value for value in column)
        out.append(sum(ordered[f : m - f]) / (m - 2 * f))
    return np.array(out)
