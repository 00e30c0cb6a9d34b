"""FLTrust."""

import numpy as np
from reference import usable

OPTIONS = [{}]


def fltrust(rows, f, ctx, server_batch=100):
    own, total, trusted = ctx.server_gradient(ctx.params), np.zeros(len(rows[0])), 0.0
    for i in usable(rows):
        size = np.linalg.norm(rows[i])
        if size > 0:
            trust = max(rows[i] @ own / size / np.linalg.norm(own), 0.0)
            trusted += trust
            total += trust * np.linalg.norm(own) / size * rows[i]
    return total / trusted if trusted > 0 else total
