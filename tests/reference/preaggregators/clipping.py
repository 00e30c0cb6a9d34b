"""Clipping at a fixed length."""

import math

import numpy as np
from reference import FLOAT32_MAX

OPTIONS = [{}, {"clip_at": 0.5}, {"clip_at": 1e4}, {"clip_at": 0.0}]
GOLDEN = [
    {
        "source": "by hand: lengths 5 10 13 0; what exceeds 6.5 is multiplied by 0.65 and 0.5",
        "options": {"clip_at": 6.5},
        "f": 1,
        "rows": [[3, 4], [6, 8], [5, -12], [0, 0]],
        "output": [[3, 4], [3.9, 5.2], [2.5, -6], [0, 0]],
    },
    {
        "source": "tests of byzfl (TestClippingAggregation)",
        "options": {},
        "f": 1,
        "rows": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        "output": [
            [0.53452248, 1.06904497, 1.60356745],
            [0.91168461, 1.13960576, 1.36752692],
            [1.00514142, 1.14873305, 1.29232469],
        ],
    },
    {
        "source": "github byzpy-bot/byzpy, pre_aggregators/tests/test_clipping.py",
        "options": {"clip_at": 1.0},
        "f": 1,
        "rows": [[3, 0], [0, 0.5]],
        "output": [[1, 0], [0, 0.5]],
    },
]


def clipping(rows, f, clip_at=2.0):
    out = []
    for row in rows:
        length = math.hypot(*row)
        if not np.isfinite(row).all() or length > FLOAT32_MAX:
            out.append(np.zeros(len(row)))
        elif length > clip_at:
            out.append(row * (clip_at / length))
        else:
            out.append(row)
    return np.array(out)
