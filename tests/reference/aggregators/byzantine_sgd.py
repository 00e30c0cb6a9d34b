"""Byzantine SGD (Alistarh, Allen-Zhu, Li)."""

import math

import numpy as np
from reference import usable

OPTIONS = [
    {},
    {"v": 2.0},
    {"v": 3.0, "th_b": 8.0},
    {"v": 50.0, "th_a": 0.5, "th_b": 500.0},
    {"diameter": 0.01, "horizon": 3},
]


def machine(vectors, good, radius, m):
    """The first good machine with more than m/2 within the radius, or the first of those with the most."""
    counts = {i: sum(np.linalg.norm(vectors[i] - vectors[j]) <= radius for j in good) for i in good}
    enough = [i for i in good if 2 * counts[i] > m]
    return vectors[enough[0] if enough else max(good, key=lambda i: (counts[i], -i))]


def byzantine_sgd(rounds, f, ctx, v="auto", diameter=10.0, horizon=1000, delta=0.1, th_a=None, th_b=None):
    m, d = rounds[0].shape
    a, b, alive, out = np.zeros(m), np.zeros((m, d)), set(range(m)), []
    first = ctx[0].params
    for rows, now in zip(rounds, ctx, strict=True):
        good = usable(rows)
        if not good:
            alive = set()
            out.append(np.zeros(d))
            continue
        for i in good:
            a[i] += rows[i] @ (now.params - first)
            b[i] += rows[i]
        bound = v
        if v == "auto":
            radii = [sorted([np.linalg.norm(rows[i] - rows[j]) for j in good] + [math.inf] * m)[m // 2] for i in good]
            bound = min(radii) / 2
        scale = bound * math.sqrt(horizon * math.log(16 * m * horizon / delta))
        limit_a = 4 * diameter * scale if th_a is None else th_a
        limit_b = 4 * scale if th_b is None else th_b
        b_med, g_med = machine(b, good, limit_b, m), machine(rows, good, 2 * bound, m)
        near = {
            i
            for i in good
            if abs(a[i] - np.median(a)) <= limit_a
            and np.linalg.norm(b[i] - b_med) <= limit_b
            and np.linalg.norm(rows[i] - g_med) <= 4 * bound * (1 + 1e-9)
        }
        alive &= near
        out.append(sum((rows[i] for i in sorted(alive)), np.zeros(d)) / max(len(alive), 1))
    return out
