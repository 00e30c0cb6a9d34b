"""ByzMean, as in the paper and as in the authors' code."""

import numpy as np
from reference import honest

OPTIONS = [
    {},
    {"z": 1.5},
    {"ddof": 0},
    {"variant": "signguard"},
    {"variant": "signguard", "z": 1.5},
    {"variant": "signguard", "ddof": 0},
]


def byzmean(rows, byz, z=0.5, ddof=1, variant="xu2022"):
    m, n_byz = len(rows), int(sum(byz))
    m1 = n_byz // 2
    known = list(rows) if variant == "signguard" else honest(rows, byz)
    total = sum(known)
    mu = total / len(known)
    a = mu - z * np.sqrt(sum((row - mu) ** 2 for row in known) / max(len(known) - ddof, 1))
    among = m - n_byz if variant == "signguard" else m
    x = ((among - m1) * a - total) / (n_byz - m1)
    return [a] * m1 + [x] * (n_byz - m1)
