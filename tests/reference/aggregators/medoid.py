"""The medoid."""

import numpy as np
from reference import usable

OPTIONS = [{}, {"power": 2}]
F = (0, 2)
GOLDEN = [
    {
        "source": "by hand: points 0 1 3 50 51: sums of distances 105 102 100 147 151",
        "options": {},
        "f": 1,
        "rows": [[50], [0], [1], [3], [51]],
        "output": [3],
    },
]


def medoid(rows, f, power=1):
    good = usable(rows)
    sums = {i: sum(np.sum((rows[i] - rows[j]) ** 2) ** (power / 2) for j in good) for i in good}
    return rows[min(good, key=lambda i: (sums[i], i))] if good else rows[0]
