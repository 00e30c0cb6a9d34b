"""Copies of one honest worker."""

import jax
import numpy as np
from reference import honest, unit

OPTIONS = [
    {},
    {"target": "first"},
    {"warmup": 2},
    {"warmup": 7},
    {"target": "drawn", "warmup": 1},
    {"target": "drawn"},
    {"target": 3},
    {"target": 7},
]
GOLDEN = [
    {
        "source": "github LPD-EPFL/byzfl, tests/unit_test_attacks.py, TestMimicAttack",
        "options": {"target": "first"},
        "byz": [0, 0, 0, 1],
        "rows": [[[1, 2, 3], [4, 5, 6], [7, 8, 9], [50, -60, 70]]],
        "output": [[[1, 2, 3]]],
    },
    {
        "source": "by hand: mean (2, 0); z starts as unit(-2, 0), u = 8 + 0 + 8 times (-1, 0): the smallest first entry",
        "options": {},
        "byz": [0, 0, 1, 0],
        "rows": [[[0, 0], [2, 0], [9, 9], [4, 0]]],
        "output": [[[0, 0]]],
    },
]


def mimic(rounds, byz, ctx, target="learned", warmup=100):
    learns = target in ("learned", "drawn")
    sent, chosen = [], 0 if learns or target == "first" else min(target, len(honest(rounds[0], byz)) - 1)
    mu = z = 0.0 * rounds[0][0]
    for t, rows in enumerate(rounds):
        good = honest(rows, byz)
        mean = sum(good) / len(good)
        if learns and t < warmup:
            if t == 0:
                drawn = np.array(jax.random.normal(ctx[0].key, mean.shape), float)
                z = unit(drawn if target == "drawn" else good[0] - mean)
            mu = t / (t + 1) * mu + mean / (t + 1)
            u = sum((row - mu) @ z * (row - mu) for row in good)
            z = unit(t / (t + 1) * z + unit(u) / (t + 1))
            scores = [z @ row for row in good]
            chosen = scores.index(max(scores))
        sent.append([good[chosen]] * int(sum(byz)))
    return sent
