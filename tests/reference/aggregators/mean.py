"""The average."""

import numpy as np

OPTIONS = [{}]
GOLDEN = [
    {
        "source": "by hand: columns (0+2+4+10)/4, (1+1+3+7)/4",
        "options": {},
        "f": 0,
        "rows": [[0, 1], [2, 1], [4, 3], [10, 7]],
        "output": [4, 3],
    }
]


def mean(rows, f):
    total = np.zeros(len(rows[0]))
    for row in rows:
        total += row
    return total / len(rows)
