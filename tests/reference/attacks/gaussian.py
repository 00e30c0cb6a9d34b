"""Gaussian noise; the draws are JAX's, one key for each worker."""

import jax
import numpy as np

OPTIONS = [{}, {"sigma": 0.5}, {"sigma": 0.5, "noise": "add"}]
TOLERANCE = 1e-4


def gaussian(rows, byz, ctx, sigma=200.0, noise="replace"):
    forged = []
    for i in np.flatnonzero(byz):
        drawn = sigma * np.asarray(jax.random.normal(jax.random.fold_in(ctx.key, i), rows[i].shape, "float32"), float)
        forged.append(rows[i] + drawn if noise == "add" else drawn)
    return forged
