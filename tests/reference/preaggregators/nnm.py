"""Nearest-neighbour mixing."""

import numpy as np
from reference import usable

OPTIONS = [{}]


def nnm(rows, f):
    good, mixed = usable(rows), []
    for i in range(len(rows)):
        if i not in good:
            mixed.append(np.full(len(rows[0]), np.nan))
            continue
        near = sorted(good, key=lambda j: (j != i, np.sum((rows[i] - rows[j]) ** 2), j))[: len(rows) - f]
        mixed.append(sum(rows[j] for j in near) / len(near))
    return np.array(mixed)
