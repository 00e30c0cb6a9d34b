"""Mean around the median."""

import numpy as np
from reference import middle_of, nearest_mean

OPTIONS = [{}, {"middle": "lower"}]
F = (0, 1, 2, 3)
GOLDEN = [
    {
        "source": "by hand: 0 1 2 9 20, median 2, distances 2 1 0 7 18: the 3 nearest 0 1 2",
        "options": {},
        "f": 2,
        "rows": [[9], [0], [1], [20], [2]],
        "output": [1],
    },
]


def meamed(rows, f, middle="mean"):
    count = len(rows) - min(f, (len(rows) - 1) // 2)
    return np.array([nearest_mean(column, middle_of(column, middle), count) for column in np.transpose(rows)])
