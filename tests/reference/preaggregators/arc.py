"""Adaptive robust clipping."""

import math

import numpy as np
from reference import FLOAT32_MAX

OPTIONS = [{}]
F = (0, 1, 2, 3)
GOLDEN = [
    {
        "source": "by hand: lengths 5 10 13 20; k = floor(2 * 1 * 3 / 4) = 1, so C = 13 and only the last is cut",
        "options": {},
        "f": 1,
        "rows": [[3, 4], [6, 8], [5, 12], [0, 20]],
        "output": [[3, 4], [6, 8], [5, 12], [0, 13]],
    },
    {
        "source": "by hand: lengths 5 5 13 0 65; k = floor(2 * 2 * 3 / 5) = 2, so C = n_(3) = 5 (tied): times 5/13, 1/13",
        "options": {},
        "f": 2,
        "rows": [[3, 4], [4, 3], [5, 12], [0, 0], [-39, 52]],
        "output": [[3, 4], [4, 3], [25 / 13, 60 / 13], [0, 0], [-3, 4]],
    },
    {
        "source": "tests of byzfl (TestARCAggregation) and github byzpy-bot/byzpy, pre_aggregators/tests/test_arc.py",
        "options": {},
        "f": 1,
        "rows": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        "output": [[1, 2, 3], [4, 5, 6], [4.41004009, 5.04004582, 5.67005155]],
    },
]


def arc(rows, f):
    m = len(rows)
    lengths = [math.hypot(*row) if np.isfinite(row).all() else math.inf for row in rows]
    lengths = [length if length <= FLOAT32_MAX else math.inf for length in lengths]
    k = (2 * f * (m - f)) // m
    limit = sorted(lengths)[m - k - 1]
    if limit == math.inf:
        return np.array(rows)
    out = []
    for row, length in zip(rows, lengths, strict=True):
        if length == math.inf:
            out.append(np.zeros(len(row)))
        else:
            out.append(row * (limit / length) if length > limit else row)
    return np.array(out)
