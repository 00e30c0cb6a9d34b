"""Trimmed mean."""

import math

import numpy as np

OPTIONS = [{}]
F = (0, 1, 2, 3, 5)
GOLDEN = [
    {
        "source": "by hand: sorted columns 0 1 2 9 20 and -7 1 2 3 4; without ends (1 + 2 + 9) / 3 and (1 + 2 + 3) / 3",
        "options": {},
        "f": 1,
        "rows": [[9, 3], [0, -7], [1, 1], [20, 4], [2, 2]],
        "output": [4, 2],
    },
]


def trimmed_mean(rows, f):
    m = len(rows)
    dropped = min(f, (m - 1) // 2)
    out = []
    for column in np.transpose(rows):
        ordered = sorted(math.inf if math.isnan(v) else v for v in column)
        kept = ordered[dropped : m - dropped]
        out.append(sum(kept) / len(kept))
    return np.array(out)
