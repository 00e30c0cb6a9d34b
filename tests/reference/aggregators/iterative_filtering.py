"""Iterative filtering by the top eigenvector."""

import numpy as np
from reference import filtered, spread_along_top, usable

OPTIONS = [
    {},
    {"variant": "rcl"},
    {"expansion": 1.5},
    {"expansion": 1.5, "variant": "rcl"},
    {"sigma": 0.7},
    {"sigma": 0.4, "expansion": 2.0},
    {"sigma": 0.25, "variant": "rcl"},
    {"sigma": 0.1, "expansion": 2.0, "variant": "rcl"},
]
F = (0, 1, 2, 3)
GOLDEN = [
    {
        "source": "by hand: mean 3, variance 9 > 8, tau 9 1 1 25; c = 16/25 24/25 24/25 0; mean 96/64, variance 48/64 <= 8",
        "options": {"sigma": 2.0, "expansion": 2.0},
        "f": 0,
        "rows": [[0], [2], [2], [8]],
        "output": [1.5],
    },
    {
        "source": "by hand: the same points; squared distances of pairs 4 4 64 0 36 36, lower middle 4, over 2 min(3, 1): sigma^2 = 2, so 20 sigma^2 = 40 >= 9",
        "options": {},
        "f": 1,
        "rows": [[0], [2], [2], [8]],
        "output": [3],
    },
    {
        "source": "by hand: the same points; 4 sigma^2 = 8 < 9, then 8 >= 3/4",
        "options": {"expansion": 4.0},
        "f": 1,
        "rows": [[0], [2], [2], [8]],
        "output": [1.5],
    },
    {
        "source": "by hand: the same points; 9^2 > 2 * 36 though 9 <= 2 * 36, so one round; (3/4)^2 <= 72",
        "options": {"sigma": 6.0, "expansion": 2.0, "variant": "rcl"},
        "f": 1,
        "rows": [[0], [2], [2], [8]],
        "output": [1.5],
    },
    {
        "source": "by hand: the same points, bound 0; 2 f = 2 rounds; in the second, tau 9/4 1/4 1/4 takes the 0 away: 2 2",
        "options": {"sigma": 0.0, "variant": "rcl"},
        "f": 1,
        "rows": [[0], [2], [2], [8]],
        "output": [2],
    },
    {
        "source": "by hand: no round with f = 0",
        "options": {"sigma": 0.0, "variant": "rcl"},
        "f": 0,
        "rows": [[0], [2], [2], [8]],
        "output": [3],
    },
]


def iterative_filtering(rows, f, sigma="auto", expansion=20.0, variant="su_xu2018"):
    m, d = len(rows), len(rows[0])
    good = usable(rows)
    if not good:
        return np.zeros(d)
    n = len(good)
    if sigma == "auto":
        pairs = sorted(float(np.sum((rows[i] - rows[j]) ** 2)) for i in good for j in good if i < j)
        scale = pairs[(len(pairs) - 1) // 2] / (2 * max(min(n - 1, d), 1)) if n > 1 else 0.0
    else:
        scale = sigma if variant == "rcl" else sigma**2
    weights = [1.0 if i in good else 0.0 for i in range(m)]
    for _ in range(min(2 * f, m - 1) if variant == "rcl" else m - 1):
        top, along = spread_along_top(rows, weights)[1:]
        if (top**2 <= expansion * scale**2) if variant == "rcl" else (top <= expansion * scale):
            break
        weights = filtered(weights, along)
    return spread_along_top(rows, weights)[0]
