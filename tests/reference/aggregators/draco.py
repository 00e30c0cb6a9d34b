"""DRACO's vote."""

import numpy as np
from reference import usable

OPTIONS = [{}, {"r": 2}, {"tolerance": 0.9}, {"r": 100, "tolerance": 0.9}]
GOLDEN = [
    {
        "source": "by hand: groups (1 1 7), (5 4 4): majorities 1 and 4",
        "options": {},
        "f": 1,
        "rows": [[1], [1], [7], [5], [4], [4]],
        "output": [2.5],
    },
    {
        "source": "by hand: seven workers are groups (2 9 2) and (0 6 0 0)",
        "options": {},
        "f": 1,
        "rows": [[2], [9], [2], [0], [6], [0], [0]],
        "output": [1],
    },
]


def draco(rows, f, r=3, tolerance=1e-6):
    m, good, winners = len(rows), usable(rows), []
    r = min(r, m)
    members = {}
    for i in range(m):
        members.setdefault(min(i // r, m // r - 1), []).append(i)
    for group in members.values():
        votes = {}
        for i in group:
            if i in good:
                size = np.abs(rows[i]).max()
                votes[i] = sum(np.abs(rows[j] - rows[i]).max() <= tolerance * size for j in group if j in good)
        if votes:
            winners.append(max(votes, key=lambda i: (votes[i], -i)))
    return sum((rows[i] for i in winners), np.zeros(len(rows[0]))) / max(len(winners), 1)
