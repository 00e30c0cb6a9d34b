"""AKSEL."""

import numpy as np
from reference import middle_of, usable

OPTIONS = [
    {},
    {"count": "m-f"},
    {"count": "m-f", "middle": "mean"},
    {"middle": "mean"},
    {"middle": "mean", "ties": "radius"},
]
F = (0, 1, 2)
GOLDEN = [
    {
        "source": "by hand: 0 1 2 9 20, median 2, nearest three 2 1 0",
        "options": {},
        "f": 1,
        "rows": [[9], [0], [1], [20], [2]],
        "output": [1],
    },
    {
        "source": "by hand: the same, nearest m - f = 4",
        "options": {"count": "m-f"},
        "f": 1,
        "rows": [[9], [0], [1], [20], [2]],
        "output": [3],
    },
]


def aksel(rows, f, count="half", middle="lower", ties="index"):
    m, good = len(rows), usable(rows)
    median = np.array([middle_of(column, middle) for column in np.transpose(rows)])
    squared = {i: float(np.sum((rows[i] - median) ** 2)) for i in good}
    size = (m + 1) // 2 if count == "half" else max(m - f, 1)
    order = sorted(good, key=lambda i: (squared[i], i))
    kept = order[:size]
    if ties == "radius" and kept:
        kept = [i for i in good if squared[i] <= squared[kept[-1]] or len(good) < size]
    return sum((rows[i] for i in kept), np.zeros(len(rows[0]))) / max(len(kept), 1)
