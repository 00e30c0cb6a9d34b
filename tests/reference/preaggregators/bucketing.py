"""Bucketing; the permutation is JAX's, from the first half of the round's key."""

import jax
import numpy as np
from reference import usable

OPTIONS = [{}, {"s": 1}, {"s": 3}, {"s": 7}, {"s": 20}]
GOLDEN = [
    {
        "source": "by hand: one bucket of all, in whatever order",
        "options": {"s": 4},
        "f": 1,
        "rows": [[1, 0], [2, -1], [6, 7]],
        "output": [[3, 2]],
    },
    {
        "source": "by hand: three alike, so in whatever order both buckets are",
        "options": {},
        "f": 1,
        "rows": [[4, -1], [4, -1], [4, -1]],
        "output": [[4, -1], [4, -1]],
    },
]


def bucketing(rows, f, ctx, s=2):
    m, good = len(rows), usable(rows)
    order = [int(i) for i in jax.random.permutation(jax.random.split(ctx.key)[0], m)]
    means = []
    for first in range(0, m, s):
        bucket = order[first : first + s]
        whole = all(i in good for i in bucket)
        means.append(sum(rows[i] for i in bucket) / len(bucket) if whole else np.full(len(rows[0]), np.nan))
    return np.array(means)
