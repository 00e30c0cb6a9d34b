"""Every member of a zoo once more, as plain float64 NumPy loops, written from the papers and not from `sim`.

Slow and literal, without an import of ours: what the tests compare with. A member NAME has its loop in the folder of
its zoo, in NAME.py, as a function of the same name; OPTIONS are the options that tests go through, GOLDEN known
answers with their source, TOLERANCE (default 1e-5) how near float32 can come, F the f to go through, and compares(case,
options) leaves out inputs, with the reason.

    rules       NAME(rows, f, **options) -> aggregate
    attacks     NAME(rows, byz, **options) -> what the Byzantine workers send, a row each (GOLDEN: the rule is the mean)
    preaggregators   NAME(rows, f, **options) -> the rows that the rule sees

`rows` is a float64 matrix (m, d); for members with the trait "stateful" a list of them, and a list comes back. A
function with a parameter `ctx` gets what a `Context` holds: key, step, lr, params, previous, server_loss(params),
server_gradient(params), aggregate(rows), loss_after(aggregate), in NumPy but for the JAX key; with "stateful" a list.
Rows that hold a NaN, an infinity or a squared norm beyond float32 are left out where a rule's documentation says so.
"""

import math

import numpy as np

FLOAT32_MAX = float(np.finfo(np.float32).max)


def usable(rows):
    return [i for i, row in enumerate(rows) if np.isfinite(row).all() and float(np.sum(np.square(row))) <= FLOAT32_MAX]


def middle_of(values, middle="mean"):
    ordered = sorted(math.inf if math.isnan(v) else v for v in values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low if middle == "lower" or low == high else (low + high) / 2


def honest(rows, byz):
    return [row for row, bad in zip(rows, byz, strict=True) if not bad]


def byzantine(rows, byz):
    return [row for row, bad in zip(rows, byz, strict=True) if bad]


def normal_quantile(p):
    """The standard normal quantile, by bisection of the error function."""
    low, high = -10.0, 10.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 * (1 + math.erf(middle / math.sqrt(2))) < p else (low, middle)
    return (low + high) / 2


KRUM = {  # the power of a distance, and how many fewer than m - f others count
    "blanchard2017": (2, 2),
    "byzfl": (2, 1),
    "byzantine_momentum": (1, 1),
    "torchjd": (1, 2),
    "epfml": (4, 2),
    "ndss21": (2, 3),
    "alie": (1, 0),
}


def krum_scores(rows, f, power, fewer, left=None):
    """The score of every row left: the sum over its r - f - fewer nearest others of the r left."""
    left = range(len(rows)) if left is None else left
    good, scores = usable(rows), {}
    for i in left:
        others = []
        for j in left:
            if j != i:
                square = float(np.sum((rows[i] - rows[j]) ** 2)) if i in good and j in good else math.inf
                value = {1: math.sqrt(square), 2: square, 4: square**2}[power]
                others.append(value if value <= FLOAT32_MAX else math.inf)
        scores[i] = math.fsum(sorted(others)[: max(len(left) - f - fewer, 1)])
    return scores


def mean_of(rows, kept):
    return sum(rows[i] for i in kept) / len(kept) if kept else np.zeros(len(rows[0]))


def nearest_to(centre, values, count):
    """The `count` values nearest to the centre; of two equally near the smaller."""
    return sorted(values, key=lambda v: (abs(v - centre) if math.isfinite(v) else math.inf, v))[:count]


def spread_along_top(rows, weights):
    """Weighted mean, top eigenvalue of the weighted covariance, and each row's squared deviation along its eigenvector."""
    total = sum(weights)
    used = [i for i, weight in enumerate(weights) if weight > 0]
    mean = sum(weights[i] * rows[i] for i in used) / total
    covariance = sum(weights[i] * np.outer(rows[i] - mean, rows[i] - mean) for i in used) / total
    values, vectors = np.linalg.eigh(covariance)
    along = [float((rows[i] - mean) @ vectors[:, -1]) ** 2 if i in used else 0.0 for i in range(len(rows))]
    return mean, max(float(values[-1]), 0.0), along


def filtered(weights, along):
    """Weights after one round of filtering: the farthest row goes, and with it its copies."""
    farthest = max(along)
    if farthest == 0:
        return weights
    factors = [1 - far / farthest for far in along]
    return [weight * (factor if factor >= 1e-5 else 0.0) for weight, factor in zip(weights, factors, strict=True)]


def deviation(rows, ddof=0):
    """The standard deviation of each coordinate."""
    mu = sum(rows) / len(rows)
    return np.sqrt(sum((row - mu) ** 2 for row in rows) / max(len(rows) - ddof, 1))


def unit(vector):
    norm = math.sqrt(sum(vector**2))
    return vector / norm if norm > 0 else np.zeros(len(vector))


def replaced(rows, byz, forged):
    """All rows, where every Byzantine one is `forged`."""
    return np.array([forged if bad else row for row, bad in zip(rows, byz, strict=True)])


def z_max(m, n_byz, supporters="honest", *, clamp=True):
    """ALIE's shift: so many standard deviations that just enough supporters stand beyond it."""
    needed = max(math.floor(m / 2 + 1) - n_byz, 1)
    among = m if supporters == "all" else m - n_byz
    z = normal_quantile(min(max((among - needed) / among, 1e-6), 1 - 1e-6))
    return max(z, 0.0) if clamp else z


def most_harm(harm, evals=16, delta=1.0):
    """ByzantineMomentum's line search from 0: the x >= 0 of most harm that it meets, the first of equals."""
    tried = []

    def better(x):
        value = harm(x)
        value = value if math.isfinite(value) else math.inf
        is_better = not tried or value > max(seen for _, seen in tried)
        tried.append((x, value))
        return is_better

    best, expanding = 0.0, True
    better(best)
    x = best
    while len(tried) < evals:
        if expanding:
            x = best + delta
        elif x < best:
            x = x + delta
        else:
            lower = x - delta
            while lower < 0:
                lower = (lower + x) / 2
            x = lower
        won = better(x)
        best = x if won else best
        expanding = expanding and won
        delta *= 2 if expanding else 0.8
    return best


def most_harm_upwards(harm):
    """byzfl's: twenty points, doubled steps of 10 while they gain, then best + step with a step that shrinks by a fifth."""
    best, most, step, gaining = 0.0, harm(0.0), 10.0, True
    for _ in range(19):
        value = harm(best + step)
        if value > most:
            best, most = best + step, value
        else:
            gaining = False
        step *= 2 if gaining else 0.8
    return best


def halving(fits, first):
    """The last gamma that fits in the halving search of the NDSS 2021 notebooks."""
    gamma, step, noted = first, first / 2, 0.0
    for _ in range(50):
        if abs(gamma - noted) <= 1e-5:
            break
        if fits(gamma):
            noted = gamma
            gamma += step
        else:
            gamma -= step
        step /= 2
    return noted


def bisection(fits):
    """The end of an interval from 0 on which `fits` is true."""
    low, high = 0.0, 1.0
    while fits(high) and high < 1e30:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
