"""Clipped clustering."""

import itertools
import math

import numpy as np
from reference import mean_of, usable

OPTIONS = [{}, {"linkage": "single"}, {"tau": 1.5}, {"history": 2}]
EIGHT = [[1, 2, 0], [4, -1, 3], [-2, 5, 1], [7, 3, -4], [0, -6, 2], [3, 8, 5], [-5, 1, 9], [2, -3, -7]]
GOLDEN = [
    {
        "source": "scikit-learn's AgglomerativeClustering, run, with the steps of blades' code around it",
        "options": options,
        "f": 1,
        "rows": [EIGHT],
        "output": [output],
        "tolerance": 1e-4,  # the code adds 1e-6 to norms
    }
    for options, output in (
        ({}, [2.8950353713706454, -1.807251192575491, -1.1530913389194977]),
        ({"linkage": "single"}, [1.3285687896948377, 1.7420562766169982, 0.5928762113308643]),
    )
]


def clipped_clustering(rounds, f, linkage="average", tau=1e5, history=1000):
    out, seen = [], []
    for rows in rounds:
        good = usable(rows)
        size = {i: math.sqrt(float(np.sum(np.square(rows[i])))) for i in good}
        seen = [*seen, [size[i] for i in good]][-history:]
        norms = [norm for of_round in seen for norm in of_round]
        longest = min(float(np.median(norms)), tau) if norms else 0.0
        clipped = [row * min(1.0, longest / size[i]) if size.get(i) else row for i, row in enumerate(rows)]
        out.append(mean_of(clipped, larger_of_two(rows, good, size, linkage)))
    return out


def larger_of_two(rows, good, size, linkage):
    def far(i, j):
        return 1 - (float(rows[i] @ rows[j]) / size[i] / size[j] if size[i] and size[j] else 0.0)

    clusters = [[i] for i in good]  # the last that was put together stands at the end
    while len(clusters) > 2:
        apart = {}
        for a, b in itertools.combinations(sorted(clusters, key=min), 2):
            each = [far(i, j) for i in a for j in b]
            apart[tuple(a), tuple(b)] = sum(each) / len(each) if linkage == "average" else min(each)
        a, b = min(apart, key=lambda pair: round(apart[pair], 9))
        clusters = [c for c in clusters if tuple(c) not in (a, b)] + [[*a, *b]]
    return sorted(max(reversed(clusters), key=len)) if clusters else []
