"""Every member of a zoo once more, as plain float64 NumPy loops, written from the papers and not from `sim`.

Slow and literal, without an import of ours: what the tests compare with. A member NAME has its loop in the folder of
its zoo, in NAME.py, as a function of the same name; OPTIONS are the options that tests go through, GOLDEN known
answers with their source, TOLERANCE (default 1e-5) how near float32 can come, SAME what is another member by definition
(options, name of the other, its options).

    rules       NAME(rows, f, **options) -> aggregate
    attacks     NAME(rows, byz, **options) -> what the Byzantine workers send, a row each
    pre_rules   NAME(rows, f, **options) -> the rows that the rule sees

`rows` is a float64 matrix (m, d); for members with the trait "stateful" a list of them, and a list comes back. A
function with a parameter `ctx` gets what a `Round` holds: key, step, lr, params, previous, server_loss(params),
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
