"""Coordinate-wise median."""

import numpy as np
from reference import middle_of

OPTIONS = [{}, {"middle": "lower"}]
GOLDEN = [
    {
        "source": "by hand: sorted columns 0 2 4 10 and 1 1 3 7; mean of the two middles",
        "options": {},
        "f": 0,
        "rows": [[10, 1], [2, 7], [4, 3], [0, 1]],
        "output": [3, 2],
    },
    {
        "source": "by hand: the same columns, lower middles",
        "options": {"middle": "lower"},
        "f": 0,
        "rows": [[10, 1], [2, 7], [4, 3], [0, 1]],
        "output": [2, 1],
    },
    {
        "source": "by hand: sorted columns -5 0 9 and 1 2 3",
        "options": {},
        "f": 1,
        "rows": [[9, 3], [-5, 2], [0, 1]],
        "output": [0, 2],
    },
]


def median(rows, f, middle="mean"):
    return np.array([middle_of(column, middle) for column in np.transpose(rows)])
