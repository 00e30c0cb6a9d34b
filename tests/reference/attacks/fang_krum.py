"""Fang et al. against Krum."""

import math

import numpy as np
from reference import honest

OPTIONS = [
    {},
    {"base": "mean"},
    {"threshold": 3.0},
    {"base": "mean", "threshold": 3.0},
    {"halvings": 0},
    {"halvings": 1},
    {"selected_by": "rule_in_use"},
    {"selected_by": "rule_in_use", "base": "mean"},
    {"selected_by": "rule_in_use", "halvings": 3},
]


def fang_krum(rows, byz, ctx, selected_by="krum", base="zero", threshold=1e-5, halvings=40):
    good, m, c, d = honest(rows, byz), len(rows), int(sum(byz)), len(rows[0])
    mu = sum(good) / len(good)
    s = np.sign(mu)
    w = mu if base == "mean" else np.zeros(d)
    sums = []
    for i in range(len(good)):
        lengths = sorted(math.dist(good[i], good[j]) for j in range(len(good)) if j != i)
        sums.append(sum(lengths[: max(m - c - 2, 1)]))
    lam = min(sums) / (max(m - 2 * c - 1, 1) * math.sqrt(d))
    lam += max(math.dist(row, w) for row in good) / math.sqrt(d)
    for _ in range(halvings):
        if lam < threshold:
            break
        forged = w - lam * s
        sent = np.where(np.array(byz)[:, None], forged, rows)
        selected = byz[_krum(sent, ctx.f)] if selected_by == "krum" else np.array_equal(ctx.aggregate(sent), forged)
        if selected:
            break
        lam /= 2
    return [w - lam * s] * c


def _krum(rows, f):
    scores = []
    for i in range(len(rows)):
        others = sorted(float(np.sum((rows[i] - rows[j]) ** 2)) for j in range(len(rows)) if j != i)
        scores.append(sum(others[: max(len(rows) - f - 2, 1)]))
    return min(range(len(rows)), key=lambda i: (scores[i], i))
