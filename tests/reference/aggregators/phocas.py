"""Phocas: mean around the trimmed mean."""

import numpy as np
from reference import nearest_mean
from reference.aggregators.trimmed_mean import trimmed_mean

OPTIONS = [{}]
F = (0, 1, 2, 3)
GOLDEN = [
    {
        "source": "by hand: 0 1 2 9 20, trimmed mean (1 + 2 + 9) / 3 = 4, distances 4 3 2 5 16: the 4 nearest 0 1 2 9",
        "options": {},
        "f": 1,
        "rows": [[9], [0], [1], [20], [2]],
        "output": [3],
    },
]


def phocas(rows, f):
    count = len(rows) - min(f, (len(rows) - 1) // 2)
    centres = trimmed_mean(rows, f)
    return np.array([nearest_mean(c, t, count) for c, t in zip(np.transpose(rows), centres, strict=True)])
