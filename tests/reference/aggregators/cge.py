"""Comparative gradient elimination."""

import numpy as np
from reference import usable

OPTIONS = [{}, {"combine": "sum"}]
F = (0, 1, 2)
GOLDEN = [
    {
        "source": "by hand: norms 5 1 2 13: the shortest three",
        "options": {},
        "f": 1,
        "rows": [[3, 4], [0, 1], [-2, 0], [5, 12]],
        "output": [1 / 3, 5 / 3],
    },
]


def cge(rows, f, combine="mean"):
    kept = sorted(usable(rows), key=lambda i: (np.sum(rows[i] ** 2), i))[: max(len(rows) - f, 1)]
    total = sum((rows[i] for i in kept), np.zeros(len(rows[0])))
    return total if combine == "sum" else total / max(len(kept), 1)
