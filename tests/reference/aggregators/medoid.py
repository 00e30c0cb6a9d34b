"""Medoid."""

import math

import numpy as np
from reference import usable

OPTIONS = [{}, {"power": 2}]
F = (0, 2)
GOLDEN = [
    {
        "source": "by hand: points 0 1 2 9 20, sums of distances 32 29 28 35 68",
        "options": {},
        "f": 1,
        "rows": [[0], [1], [2], [9], [20]],
        "output": [2],
    },
    {
        "source": "by hand: the same points, sums of squares 486 427 378 323 1046; the mean is 6.4",
        "options": {"power": 2},
        "f": 1,
        "rows": [[0], [1], [2], [9], [20]],
        "output": [9],
    },
    {
        "source": "by hand: a 3-4-5 triangle, sums 3+4, 3+5, 4+5",
        "options": {},
        "f": 1,
        "rows": [[3, 0], [0, 4], [0, 0]],
        "output": [0, 0],
    },
    {
        "source": "calicarpa/krum, tests/primitives/aggregators/test_medoid.py",
        "options": {},
        "f": 1,
        "rows": [[0, 0], [1, 0], [0, 1], [10, 10]],
        "output": [1, 0],
    },
    {
        "source": "calicarpa/krum, tests/primitives/aggregators/test_medoid.py",
        "options": {},
        "f": 1,
        "rows": [[0], [0.5], [1], [100]],
        "output": [0.5],
    },
    {
        "source": "calicarpa/krum, tests/primitives/aggregators/test_medoid.py",
        "options": {},
        "f": 0,
        "rows": [[0], [2], [2]],
        "output": [2],
    },
]


def medoid(rows, f, power=1):
    good = usable(rows)
    sums = {}
    for i in good:
        squares = [float(np.sum((rows[i] - rows[j]) ** 2)) for j in good]
        sums[i] = math.fsum(sorted(squares if power == 2 else [math.sqrt(square) for square in squares]))
    return rows[min(good, key=lambda i: (sums[i], i))] if good else rows[0]
