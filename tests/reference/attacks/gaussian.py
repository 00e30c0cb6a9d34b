"""Gaussian noise; the draws are JAX's, one key for each worker."""

import jax
import numpy as np

OPTIONS = [{}, {"sigma": 0.5}, {"sigma": 0.5, "mode": "add"}]
TOLERANCE = 1e-4


def gaussian(rows, byz, ctx, sigma=200.0, mode="replace"):
    forged = []
    for i in np.flatnonzero(byz):
        noise = sigma * np.asarray(jax.random.normal(jax.random.fold_in(ctx.key, i), rows[i].shape, "float32"), float)
        forged.append(rows[i] + noise if mode == "add" else noise)
    return forged
