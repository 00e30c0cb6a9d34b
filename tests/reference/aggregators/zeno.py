"""Zeno."""

import numpy as np
from reference import usable

OPTIONS = [{}, {"rho": 2.0}, {"rho": 2.0, "penalty": "mean"}]
F = (0, 1, 2)


def zeno(rows, f, ctx, server_batch=4, rho=5e-4, penalty="sum"):
    good, scores = usable(rows), {}
    for i in good:
        squares = np.sum(rows[i] ** 2) / (len(rows[i]) if penalty == "mean" else 1)
        scores[i] = ctx.server_loss(ctx.params) - ctx.server_loss(ctx.params - ctx.lr * rows[i]) - rho * squares
    kept = sorted(good, key=lambda i: (-scores[i], i))[: max(len(rows) - f, 1)]
    return sum((rows[i] for i in kept), np.zeros(len(rows[0]))) / max(len(kept), 1)
