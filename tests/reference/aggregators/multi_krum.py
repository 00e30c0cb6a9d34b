"""Multi-Krum."""

import numpy as np
from reference import usable
from reference.aggregators.krum import scores

DEFINITIONS = {  # (power, k of the m - f - k others, q)
    "blanchard2017": (2, 2, lambda m, f: m - f - 2),
    "byzfl": (2, 1, lambda m, f: m - f),
    "byzantine_momentum": (1, 1, lambda m, f: m - f - 2),
    "krum": (2, 2, lambda m, f: m - 2 * f - 3),
    "torchjd": (1, 2, lambda m, f: 1),
    "fedlib": (4, 2, lambda m, f: 1),
    "ndss21": (2, 3, lambda m, f: m - 2 * f - 2),
}
OPTIONS = [{}, *({"definition": name} for name in list(DEFINITIONS)[1:]), {"q": 2}]
F = (0, 1, 2)
GOLDEN = [
    {
        "source": "by hand: points 0 1 9 14 18, two others each: 82 65 89 41 97; the best two of m - f - 2 are 14 and 1",
        "options": {},
        "f": 1,
        "rows": [[0], [1], [9], [14], [18]],
        "output": [7.5],
    },
]


def multi_krum(rows, f, definition="blanchard2017", q=None):
    power, fewer, default = DEFINITIONS[definition]
    m, good = len(rows), usable(rows)
    q = max(default(m, f) if q is None else q, 1)
    taken, left = [], list(range(m))
    while len(taken) < q and any(i in good for i in left):
        found = scores(rows, left if definition == "ndss21" else range(m), f, power, fewer)
        best = min((i for i in left if i in good), key=lambda i: (found[i], i))
        taken.append(best)
        left.remove(best)
    return sum((rows[i] for i in taken), np.zeros(len(rows[0]))) / max(len(taken), 1)
