"""Every rule and attack once more, as plain float64 NumPy loops, written from the papers and not from `sim`.

Slow, literal, and without a single import of ours: what the tests compare with. Rows that hold a NaN, an infinity or
a squared norm beyond float32 are left out where the documentation of a rule says so.
"""

import math

import numpy as np

FLOAT32_MAX = float(np.finfo(np.float32).max)


def usable(rows):
    return [i for i, row in enumerate(rows) if np.isfinite(row).all() and float(np.sum(np.square(row))) <= FLOAT32_MAX]


# ---- rules: (rows, f, **options) -> aggregate


def mean(rows, f):
    total = np.zeros(len(rows[0]))
    for row in rows:
        total += row
    return total / len(rows)


def middle_of(values, middle="mean"):
    ordered = sorted(math.inf if math.isnan(v) else v for v in values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low if middle == "lower" or low == high else (low + high) / 2


def median(rows, f, middle="mean"):
    return np.array([middle_of(column, middle) for column in np.transpose(rows)])


def krum(rows, f):
    good = usable(rows)
    scores = []
    for i in range(len(rows)):
        others = []
        for j in range(len(rows)):
            if j != i:
                both = i in good and j in good
                others.append(float(np.sum((rows[i] - rows[j]) ** 2)) if both else math.inf)
        scores.append(sum(sorted(others)[: max(len(rows) - f - 2, 1)]))
    best = min(range(len(rows)), key=lambda i: (scores[i], i not in good, i))
    return rows[best]


def brsgd(
    rows,
    f,
    reading="paper",
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
    if reading == "code":
        return _brsgd_code(rows, good)
    m = len(rows)
    score = dict.fromkeys(good, 0)
    for column in np.transpose(rows):
        average = sum(column[i] for i in good) / len(good)
        upper = [i for i in good if column[i] > average or (at_mean == "above" and column[i] == average)]
        larger = 2 * len(upper) > len(good) or (column_tie == "above" and 2 * len(upper) == len(good))
        for i in good:
            score[i] += (i in upper) == larger
    centre = median(rows, f, middle)
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


# ---- attacks on gradients: (rows, who is Byzantine, **options) -> what the Byzantine workers send, one row each


def honest(rows, byz):
    return [row for row, bad in zip(rows, byz, strict=True) if not bad]


def none(rows, byz):
    return [row for row, bad in zip(rows, byz, strict=True) if bad]


def label_flip(rows, byz):
    return none(rows, byz)  # an attack on labels: what is sent is honest work on wrong ones


def negation(rows, byz, factor=1e10):
    return [-factor * sum(honest(rows, byz))] * sum(byz)


def scaling(rows, byz, factor=1e10):
    return [factor * row for row in none(rows, byz)]


def inner_product(rows, byz, epsilon=0.1):
    good = honest(rows, byz)
    return [-epsilon * sum(good) / len(good)] * sum(byz)


def alie(rows, byz, z=None, ddof=0):
    good = honest(rows, byz)
    m, n_byz = len(rows), sum(byz)
    if z is None:
        supporters = max(m // 2 + 1 - n_byz, 1)
        z = normal_quantile(max((m - n_byz - supporters) / (m - n_byz), 0.5))
    mu = sum(good) / len(good)
    sigma = np.sqrt(sum((row - mu) ** 2 for row in good) / max(len(good) - ddof, 1))
    return [mu - z * sigma] * n_byz


def normal_quantile(p):
    """The standard normal quantile, by bisection of the error function."""
    low, high = -10.0, 10.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 * (1 + math.erf(middle / math.sqrt(2))) < p else (low, middle)
    return (low + high) / 2
