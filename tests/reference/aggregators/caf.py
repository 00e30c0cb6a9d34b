"""Covariance-bound agnostic filter (CAF)."""

import numpy as np
from reference import filtered, spread_along_top, usable

OPTIONS = [{}]
F = (0, 1, 2, 3, 4)
GOLDEN = [
    {
        "source": "by hand: 4 > 2: mean 3, variance 9, tau 9 1 1 25, c = 16/25 24/25 24/25 0; 64/25 > 2: mean 96/64, variance 3/4, tau 9/4 1/4 1/4, c = 0 and twice 24/25 * 8/9; 128/75 <= 2",
        "options": {},
        "f": 1,
        "rows": [[0], [2], [2], [8]],
        "output": [1.5],
    },
    {
        "source": "by hand: f = 0, no round",
        "options": {},
        "f": 0,
        "rows": [[0], [2], [2], [8]],
        "output": [3],
    },
    {
        "source": "by hand: 4 > 2: mean 1, c = 8/9 three times and 0; 24/9 > 2: mean 0, variance 0, the weights stay",
        "options": {},
        "f": 1,
        "rows": [[0], [0], [0], [4]],
        "output": [0],
    },
]


def caf(rows, f):
    m = len(rows)
    f = min(f, (m - 1) // 2)
    good = usable(rows)
    if not good:
        return np.zeros(len(rows[0]))
    weights = [1.0 if i in good else 0.0 for i in range(m)]
    best, smallest = None, None
    for _ in range(2 * f):
        if sum(weights) <= m - 2 * f + 1e-4:
            break
        mean, top, along = spread_along_top(rows, weights)
        if smallest is None or top < smallest:
            best, smallest = mean, top
        weights = filtered(weights, along)
    return spread_along_top(rows, weights)[0] if best is None else best
