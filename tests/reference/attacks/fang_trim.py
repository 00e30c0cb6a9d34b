"""Fang et al. against the trimmed mean and the median; the draws are JAX's, one key for each worker."""

import jax
import numpy as np
from reference import byzantine, honest

OPTIONS = [
    {},
    {"b": 3.5},
    {"draw": "factor"},
    {"draw": "factor", "b": 3.5},
    {"knowledge": "partial"},
    {"knowledge": "partial", "draw": "factor"},
    {"knowledge": "partial", "b": 3.5},
]


def fang_trim(rows, byz, ctx, b=2.0, knowledge="full", draw="uniform"):
    d = len(rows[0])
    known = honest(rows, byz) if knowledge == "full" else byzantine(rows, byz)
    forged = []
    for i in np.flatnonzero(byz):
        uniform = np.asarray(jax.random.uniform(jax.random.fold_in(ctx.key, i), (d,), "float32"), float)
        row = []
        for c in range(d):
            values, u = [float(g[c]) for g in known], uniform[c]
            mu = sum(values) / len(values)
            if mu == 0:
                row.append(0.0)
                continue
            s = 1 if mu > 0 else -1
            if knowledge == "partial":
                sigma = (sum((v - mu) ** 2 for v in values) / len(values)) ** 0.5
                near, far = mu - 3 * s * sigma, mu - 4 * s * sigma
            else:
                near = min(values) if s > 0 else max(values)
                r = b if draw == "uniform" else 1 + u * (b - 1)
                far = r * near if s * near < 0 else near / r
                if draw == "factor":
                    row.append(far)
                    continue
            row.append(near + u * (far - near))
        forged.append(row)
    return forged
