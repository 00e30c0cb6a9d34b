"""The mean of the rows that are not among the longest."""

import math

import numpy as np
from reference import FLOAT32_MAX, mean_of

OPTIONS = [{}, {"q": 0.5}, {"q": 1.0}]
GOLDEN = [
    {
        "source": "by hand: norms 5 1 13 2; three quarters are kept: (3+1+0)/3, (4+0-2)/3",
        "options": {},
        "f": 0,
        "rows": [[3, 4], [1, 0], [-5, 12], [0, -2]],
        "output": [4 / 3, 2 / 3],
    },
    {
        "source": "by hand: norms 5 5 1, of which half, so two, are kept: the first of the tie stays",
        "options": {"q": 0.5},
        "f": 0,
        "rows": [[3, 4], [4, 3], [1, 0]],
        "output": [2, 2],
    },
]


def norm_quantile(rows, f, q=0.75):
    length = [math.hypot(*row) if np.isfinite(row).all() else math.inf for row in rows]
    good = [i for i, each in enumerate(length) if each <= FLOAT32_MAX]
    return mean_of(rows, sorted(good, key=lambda i: (length[i], i))[: max(math.ceil(q * len(rows) - 1e-4), 1)])
