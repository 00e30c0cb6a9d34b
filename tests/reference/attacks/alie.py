"""A little is enough."""

import numpy as np
from reference import honest, normal_quantile

OPTIONS = [{}, {"z": 1.5}, {"z": 1.5, "ddof": 1}]


def alie(rows, byz, z=None, ddof=0):
    good = honest(rows, byz)
    m, n_byz = len(rows), sum(byz)
    if z is None:
        supporters = max(m // 2 + 1 - n_byz, 1)
        z = normal_quantile(max((m - n_byz - supporters) / (m - n_byz), 0.5))
    mu = sum(good) / len(good)
    sigma = np.sqrt(sum((row - mu) ** 2 for row in good) / max(len(good) - ddof, 1))
    return [mu - z * sigma] * n_byz
