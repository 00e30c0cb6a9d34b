"""Smallest maximum eigenvalue averaging (SMEA)."""

import itertools
import math

import numpy as np
from reference import spread_along_top, usable

OPTIONS = [{}]
F = (0, 1, 2, 3, 4)
GOLDEN = [
    {
        "source": "by hand: variances 14/9 (of 0 1 3), 146/9, 126/9, 104/9",
        "options": {},
        "f": 1,
        "rows": [[0], [1], [3], [9]],
        "output": [4 / 3],
    },
    {
        "source": "by hand: rows 1 2 4 (or 2 3 4) have variances 6 and 50/9 and no covariance: 6; rows 1 2 3 lie on a line: 8; rows 1 3 4: 34 * 2/9 = 68/9, though its trace is smallest",
        "options": {},
        "f": 1,
        "rows": [[3, 0], [-3, 0], [3, 0], [0, 5]],
        "output": [0, 5 / 3],
    },
    {
        "source": "by hand: the pairs 0 2 and 2 4 are equal, the first in lexicographic order",
        "options": {},
        "f": 1,
        "rows": [[0], [2], [4]],
        "output": [1],
    },
]


def smea(rows, f):
    m = len(rows)
    f = min(f, (m - 1) // 2)
    good = usable(rows)
    subsets = list(itertools.combinations(range(m), m - f))
    tops = []
    for subset in subsets:
        whole = all(i in good for i in subset)
        tops.append(spread_along_top([rows[i] for i in subset], [1.0] * (m - f))[1] if whole else math.inf)
    first = next(k for k, top in enumerate(tops) if top <= min(tops) * (1 + 1e-5))
    kept = [i for i in subsets[first] if i in good]
    return sum(rows[i] for i in kept) / len(kept) if kept else np.zeros(len(rows[0]))
