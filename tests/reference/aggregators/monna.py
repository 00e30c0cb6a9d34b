"""MoNNA."""

import numpy as np
from reference import mean_of, usable

OPTIONS = [{}, {"trusted": 0}, {"trusted": 3}, {"trusted": -2}, {"trusted": "server"}]
F = (0, 1, 2, 3, 7)
GOLDEN = [
    {
        "source": "by hand: distances to the last, (3, 4): 5 1 2 9 0; without the fourth: (0+3+5+3, 0+5+4+4)/4",
        "options": {},
        "f": 1,
        "rows": [[0, 0], [3, 5], [5, 4], [3, 13], [3, 4]],
        "output": [2.75, 3.25],
    },
    {
        "source": "by hand: squared distances to the first, (0, 0): 0 34 41 178 25; the three nearest: rows 0 4 1",
        "options": {"trusted": 0},
        "f": 2,
        "rows": [[0, 0], [3, 5], [5, 4], [3, 13], [3, 4]],
        "output": [2, 3],
    },
    {
        "source": "Byzpy/byzpy, python/byzpy/aggregators/geometric_wise/tests/test_monna.py (two equally near, the first)",
        "options": {"trusted": 0},
        "f": 1,
        "rows": [[0, 0], [10, 0], [0, 10]],
        "output": [5, 0],
    },
    {
        "source": "Byzpy/byzpy, python/byzpy/aggregators/geometric_wise/tests/test_monna.py",
        "options": {"trusted": 1},
        "f": 1,
        "rows": [[0, 0], [10, 0], [0, 10]],
        "output": [5, 0],
    },
    {
        "source": "LPD-EPFL/byzfl, docstring in byzfl/aggregators/aggregators.py (two equally near, the first)",
        "options": {"trusted": 1},
        "f": 1,
        "rows": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        "output": [2.5, 3.5, 4.5],
    },
    {
        "source": "calicarpa/krum, tests/primitives/aggregators/test_nearest_neighbor_average.py (a pivot that is a row)",
        "options": {"trusted": 2},
        "f": 1,
        "rows": [[100, 0], [11, 0], [10, 0], [9, 0]],
        "output": [10, 0],
    },
]


def monna(rows, f, ctx, trusted=-1):
    m, good = len(rows), usable(rows)
    pivot = ctx.server_gradient(ctx.params) if trusted == "server" else rows[trusted]
    trusted = None if trusted == "server" else trusted % m

    def far(i):
        return float(np.sum((rows[i] - pivot) ** 2)) if trusted is None or trusted in good else 0.0

    kept = sorted(good, key=lambda i: (i != trusted, far(i), i))[: max(m - f, 1)]
    return mean_of(rows, kept)
