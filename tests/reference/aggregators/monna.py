"""MoNNA."""

import numpy as np
from reference import usable

OPTIONS = [{}, {"trusted": 0}, {"trusted": 3}]
F = (0, 1, 2)
GOLDEN = [
    {
        "source": "by hand: the last row is 4, distances 4 3 1 5 0: the three nearest are 4, 3 and 1",
        "options": {},
        "f": 2,
        "rows": [[0], [1], [3], [9], [4]],
        "output": [8 / 3],
    },
]


def monna(rows, f, trusted=-1):
    m, good = len(rows), usable(rows)
    trusted %= m
    apart = {i: np.sum((rows[i] - rows[trusted]) ** 2) if trusted in good else 0.0 for i in good}
    kept = sorted(good, key=lambda i: (i != trusted, apart[i], i))[: max(m - f, 1)]
    return sum((rows[i] for i in kept), np.zeros(len(rows[0]))) / max(len(kept), 1)
