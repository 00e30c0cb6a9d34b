"""Krum."""

import math

import numpy as np
from reference import usable

OPTIONS = [
    {},
    *({"definition": name} for name in ("byzfl", "byzantine_momentum", "torchjd", "epfml", "ndss21", "alie")),
]
F = (0, 1, 2)
GOLDEN = [
    {
        "source": "by hand: points 0 1 9 14 18, m - f - 2 = 2 others; squared sums 82 65 89 41 97, so 14; 3 others: 278 234 170 210 386 (so 9), 1 other (self counted): 1 1 25 16 16 (so 0)",
        "options": {},
        "f": 1,
        "rows": [[0], [1], [9], [14], [18]],
        "output": [14],
    },
    {
        "source": "by hand: points 0 10 21 32, m - f - 2 = 2 others; sums 541 221 242 605; f = 1 leaves one other: 100 100 121 121, lowest index",
        "options": {},
        "f": 1,
        "rows": [[0], [10], [21], [32]],
        "output": [0],
    },
    {
        "source": "by hand: the same points, f = 0: two others",
        "options": {},
        "f": 0,
        "rows": [[0], [10], [21], [32]],
        "output": [10],
    },
]


DEFINITIONS = {  # (power of the distances, k of the m - f - k others)
    "blanchard2017": (2, 2),
    "byzfl": (2, 1),
    "byzantine_momentum": (1, 1),
    "torchjd": (1, 2),
    "epfml": (4, 2),
    "ndss21": (2, 3),
    "alie": (1, 0),
}


def scores(rows, left, f, power, fewer):
    """Krum's score of each row in `left`, over others in it; rows that are not usable are infinitely far."""
    good, found = usable(rows), {}
    for i in left:
        others = []
        for j in left:
            if j != i:
                both = i in good and j in good
                squared = float(np.sum((rows[i] - rows[j]) ** 2)) if both else math.inf
                others.append(squared ** (power / 2))
        found[i] = sum(sorted(others)[: max(len(left) - f - fewer, 1)])
    return found


def krum(rows, f, definition="blanchard2017"):
    good, m = usable(rows), len(rows)
    found = scores(rows, range(m), f, *DEFINITIONS[definition])
    return rows[min(range(m), key=lambda i: (found[i], i not in good, i))]
