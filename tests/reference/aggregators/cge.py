"""Comparative gradient elimination."""

import numpy as np
from reference import mean_of, usable

OPTIONS = [{}, {"combine": "sum"}]
F = (0, 1, 2, 3, 7)
GOLDEN = [
    {
        "source": "by hand: norms 5 1 13 2, without the third: (3+1+0, 4+0-2)/3",
        "options": {},
        "f": 1,
        "rows": [[3, 4], [1, 0], [-5, 12], [0, -2]],
        "output": [4 / 3, 2 / 3],
    },
    {
        "source": "by hand: the same rows, summed",
        "options": {"combine": "sum"},
        "f": 1,
        "rows": [[3, 4], [1, 0], [-5, 12], [0, -2]],
        "output": [4, 2],
    },
    {
        "source": "by hand: norms 5 5 1, a tie: the first of them stays",
        "options": {},
        "f": 1,
        "rows": [[3, 4], [4, 3], [1, 0]],
        "output": [2, 2],
    },
]


def cge(rows, f, combine="mean"):
    good = usable(rows)
    kept = sorted(good, key=lambda i: (np.sum(rows[i] ** 2), i))[: max(len(rows) - f, 1)]
    return mean_of(rows, kept) * (len(kept) if combine == "sum" else 1)
