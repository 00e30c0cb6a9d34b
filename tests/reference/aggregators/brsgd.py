"""BrSGD, as in the paper and as in the published code."""

import math

import numpy as np
from reference import middle_of, usable

OPTIONS = [
    {},
    {"variant": "code"},
    {"beta": 0.3},
    {"beta": 1.0},
    {"threshold": "half"},
    {"threshold": 4.0},
    {"threshold": 0.5},
    {"threshold": 0.5, "empty": "c1"},
    {"threshold": 0.5, "empty": "median"},
    {"at_mean": "below"},
    {"column_tie": "below"},
    {"score_tie": "all"},
    {"middle": "lower"},
    {"non_finite": "keep"},
]
GOLDEN = [
    {
        "source": "by hand: column means 3 3 -3; above >= mean: rows 4 | 4 | 1 2 3, so larger sides below, below, above; scores 3 3 3 0; median .5 .5 .25; L1 distances 1.25 1.25 2.25 35.25, third smallest 2.25: rows 1 2 3; C2 is the first ceil(4/2) = 2 of score 3; mean of rows 1 2",
        "options": {},
        "f": 1,
        "rows": [[0, 0, 0], [1, 0, 0.5], [0, 1, 1.5], [11, 11, -14]],
        "output": [0.5, 0, 0.25],
    },
    {
        "source": "by hand: the same rows; C2 is the 3 of score 3, 2T = 1.25 keeps rows 1 2 of them",
        "options": {"threshold": 0.625, "beta": 0.75},
        "f": 1,
        "rows": [[0, 0, 0], [1, 0, 0.5], [0, 1, 1.5], [11, 11, -14]],
        "output": [0.5, 0, 0.25],
    },
    {
        "source": "by hand: the same rows; 2T = 1 keeps none, so the nearest of C2 = rows 1 2, the first of equals",
        "options": {"threshold": 0.5},
        "f": 1,
        "rows": [[0, 0, 0], [1, 0, 0.5], [0, 1, 1.5], [11, 11, -14]],
        "output": [0, 0, 0],
    },
    {
        "source": "by hand: points 0 1 2 9, mean 3, below 0 1 2 strictly more; their mean 1, up to it 0 1 strictly more: mask 0 1; q = 1; first 3 by mask (1 1 0 0, lowest index) 0 1 2; left over |x| - masked 0 0 2; the best 2 are 0 1",
        "options": {"variant": "code"},
        "f": 1,
        "rows": [[0], [1], [2], [9]],
        "output": [0.5],
    },
]


def brsgd(
    rows,
    f,
    variant="paper",
    beta=0.5,
    threshold="majority",
    empty="nearest",
    at_mean="above",
    column_tie="above",
    score_tie="index",
    middle="mean",
    non_finite="drop",
):
    good = usable(rows) if non_finite == "drop" else list(range(len(rows)))
    if variant == "code":
        return _brsgd_code(rows, good)
    m = len(rows)
    score = dict.fromkeys(good, 0)
    for column in np.transpose(rows):
        average = sum(column[i] for i in good) / len(good)
        upper = [i for i in good if column[i] > average or (at_mean == "above" and column[i] == average)]
        larger = 2 * len(upper) > len(good) or (column_tie == "above" and 2 * len(upper) == len(good))
        for i in good:
            score[i] += (i in upper) == larger
    centre = np.array([middle_of(column, middle) for column in np.transpose(rows)])
    distance = {i: float(np.sum(np.abs(rows[i] - centre))) for i in good}
    ordered = sorted([*distance.values(), *[math.inf] * (m - len(good))])
    if threshold == "majority":
        limit = ordered[m // 2]
    elif threshold == "half":
        limit = (ordered[(m - 1) // 2] + ordered[m // 2]) / 2
    else:
        limit = 2 * threshold
    near = [i for i in good if distance[i] <= limit]
    k = math.ceil(beta * m - 1e-4)
    top = sorted(good, key=lambda i: (-score[i], i))[:k]
    if score_tie == "all":
        top = [i for i in good if score[i] >= score[top[-1]]]
    both = [i for i in near if i in top]
    if not both and empty == "median":
        return centre
    if not both:
        both = near if empty == "c1" and near else [min(top, key=lambda i: (distance[i], i))]
    return sum(rows[i] for i in both) / len(both)


def _brsgd_code(rows, good):
    """The two-level majority of the authors' published code, on the usable rows, q from all of them."""
    m, d = len(rows), len(rows[0])
    mask = {i: [False] * d for i in good}
    for c in range(d):
        side = good
        for _ in range(2):
            average = sum(rows[i][c] for i in side) / len(side)
            low = [i for i in side if rows[i][c] <= average]
            side = low if 2 * len(low) > len(side) else [i for i in side if i not in low]
        for i in side:
            mask[i][c] = True
    q = m // 4
    outside = {i: sum(abs(rows[i][c]) - (rows[i][c] if mask[i][c] else 0.0) for c in range(d)) for i in good}
    first = sorted(good, key=lambda i: (-sum(mask[i]), i))[: m - q]
    kept = sorted(sorted(first), key=lambda i: (outside[i], i))[: m - 2 * q]
    return sum(rows[i] for i in kept) / len(kept)


def compares(case, options):
    """Told to keep bad rows, it computes with NaN."""
    return not (case == "bad" and options.get("non_finite") == "keep")
