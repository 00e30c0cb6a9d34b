"""Mean around the median."""

import math

import numpy as np
from reference import middle_of, nearest_to

OPTIONS = [{}, {"middle": "lower"}, {"middle": "mean_by_index"}, {"middle": "lower_by_index"}]
F = (0, 1, 2, 3, 4, 5)
GOLDEN = [
    {
        "source": "by hand: column 0 4 5 7 20, median 5, distances 5 1 0 2 15, without 20: 16/4; column 1 2 4 6 7, median 4, 1 and 7 equally near, the smaller stays: 13/4",
        "options": {},
        "f": 1,
        "rows": [[0, 7], [4, 6], [5, 4], [7, 2], [20, 1]],
        "output": [4, 3.25],
    },
    {
        "source": "by hand: 0 1 4 9, median 2.5, distances 2.5 1.5 1.5 6.5, without 9",
        "options": {},
        "f": 1,
        "rows": [[0], [1], [4], [9]],
        "output": [5 / 3],
    },
    {
        "source": "by hand: 0 5 6 11, median 5.5, 0 and 11 equally near, the smaller stays",
        "options": {},
        "f": 1,
        "rows": [[0], [5], [6], [11]],
        "output": [11 / 3],
    },
    {
        "source": "by hand: 0 5 10 11, lower middle 5, distances 5 0 5 6, without 11; the middle 7.5 leaves out 0",
        "options": {"middle": "lower"},
        "f": 1,
        "rows": [[0], [5], [10], [11]],
        "output": [5],
    },
    {
        "source": "by hand: 0 5 10 11, middle 7.5, distances 7.5 2.5 2.5 3.5, without 0",
        "options": {},
        "f": 1,
        "rows": [[0], [5], [10], [11]],
        "output": [26 / 3],
    },
    {
        "source": "Byzpy/byzpy, python/byzpy/aggregators/coordinate_wise/tests/test_mean_of_medians.py",
        "options": {},
        "f": 1,
        "rows": [[0, 0], [1, 100], [100, 1]],
        "output": [0.5, 0.5],
    },
    {
        "source": "Byzpy/byzpy, python/byzpy/aggregators/coordinate_wise/tests/test_mean_of_medians.py",
        "options": {},
        "f": 2,
        "rows": [[-10, 0], [1, 100], [2, 2], [3, -100], [100, 1]],
        "output": [2, 1],
    },
    {
        "source": "LPD-EPFL/byzfl, docstring in byzfl/aggregators/aggregators.py (1 and 7 equally near to 4)",
        "options": {},
        "f": 1,
        "rows": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        "output": [2.5, 3.5, 4.5],
    },
    {
        "source": "byzfl 0.0.11, run: Meamed(f=1) of these rows, of 7 and 1 equally near to 4 the first worker's",
        "options": {"middle": "mean_by_index"},
        "f": 1,
        "rows": [[7, 8, 9], [4, 5, 6], [1, 2, 3]],
        "output": [5.5, 6.5, 7.5],
    },
    {
        "source": "by hand: the same rows, of 7 and 1 equally near to 4 the smaller",
        "options": {},
        "f": 1,
        "rows": [[7, 8, 9], [4, 5, 6], [1, 2, 3]],
        "output": [2.5, 3.5, 4.5],
    },
]


def meamed(rows, f, middle="mean"):
    m, out = len(rows), []
    f = min(f, (m - 1) // 2)
    for column in np.transpose(rows):
        values = [math.inf if math.isnan(value) else value for value in column]
        centre = middle_of(values, middle.split("_")[0])
        if middle.endswith("by_index"):
            kept = sorted(values, key=lambda v: abs(v - centre) if math.isfinite(v) else math.inf)[: m - f]
        else:
            kept = nearest_to(centre, values, m - f)
        out.append(sum(kept) / len(kept))
    return np.array(out)
