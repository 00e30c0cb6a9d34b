"""Model negation, as in the paper and as in the authors' code."""

import jax
import numpy as np
from reference import honest

OPTIONS = [{}, {"factor": 0.5}, {"variant": "code"}, {"variant": "code", "noise": 0.5}]
TOLERANCE = 1e-4
GOLDEN = [
    {
        "source": "by hand: honest sum (4, -1), twice, turned around",
        "options": {"factor": 2.0},
        "byz": [0, 1, 0],
        "rows": [[1, 1], [9, 9], [3, -2]],
        "output": [[-8, 2]],
    },
    {
        "source": "by hand: without noise only the honest sum (4, -1) is left to turn around",
        "options": {"variant": "code", "noise": 0.0},
        "byz": [0, 1, 0, 1],
        "rows": [[1, 1], [9, 9], [3, -2], [7, 7]],
        "output": [[-4, 1], [0, 0]],
    },
]


def negation(rows, byz, ctx, factor=1e10, variant="paper", noise=200.0):
    if variant == "paper":
        return [-factor * sum(honest(rows, byz))] * int(sum(byz))
    forged = [
        noise * np.asarray(jax.random.normal(jax.random.fold_in(ctx.key, i), rows[i].shape, "float32"), float)
        for i in np.flatnonzero(byz)[1:]  # the first one negates
    ]
    return [-sum(honest(rows, byz) + forged), *forged]
