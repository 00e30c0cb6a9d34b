"""SafeguardSGD, line by line of Algorithm 1."""

import math

import jax
import numpy as np
from reference import usable

SMALL = {"t0": 4, "t1": 12}
OPTIONS = [
    SMALL,
    {},
    {**SMALL, "factor": 1.2, "average": "after"},
    {**SMALL, "factor": 1.2, "readmit": 10},
    {"guards": "single", "window": 8, "nu": 0.25},
    {"guards": "single", "horizon": 20.0},
    {"thresholds": "recalled"},
    {**SMALL, "thresholds": "recalled", "level": 0.5},
    {**SMALL, "thresholds": "recalled", "level": 0.5, "multiplier": 1.1, "factor": 1.5},
    {"guards": "single", "thresholds": "theory", "v": 0.5},
    {"guards": "single", "thresholds": "theory", "v": 0.3, "p": 0.5, "horizon": 100.0},
    {**SMALL, "thresholds": "theory", "v": 0.4},
    {**SMALL, "thresholds": "printed", "v": 0.1},
    {**SMALL, "thresholds": "given", "th0": 0.6, "th1": 1.0},
    {**SMALL, "thresholds": "epfml", "factor": 1.0, "th0": 2.0, "th1": 3.0},
    {**SMALL, "thresholds": "third_party", "average": "after", "level": 0.7},
    {**SMALL, "nu": 0.5},
]
TOLERANCE = 1e-4


def safeguard(
    rounds,
    f,
    ctx,
    guards="double",
    t0=None,
    t1=None,
    window=None,
    thresholds="projected",
    factor=2.0,
    th0=7.5,
    th1=18.0,
    multiplier=1.5,
    level=5.0,
    v=1.0,
    p=0.1,
    horizon=1000.0,
    average="before",
    readmit=None,
    nu=0.0,
):
    m, d = rounds[0].shape
    lengths = [t1 or 600, t0 or 100] if guards == "double" else [window]  # an epoch has 100 steps unless a run says so
    ths = [th1, th0] if guards == "double" else [th0]
    sums = [np.zeros((m, d)) for _ in lengths]
    begun, promised = [0 for _ in lengths], [0.0 for _ in lengths]
    good, out = set(range(m)), []
    for rows, now in zip(rounds, ctx, strict=True):
        t = now.step
        k_noise, k_1, k_0 = jax.random.split(now.key, 3)
        again = readmit is not None and t % readmit == 0
        if again:
            good = set(range(m))
        fine = usable(rows)
        good &= set(fine)
        keep = set(good)
        for g, length in enumerate(lengths):
            if again or (length is not None and t % length == 0):
                sums[g], begun[g], promised[g] = np.zeros((m, d)), t, 0.0
            for i in fine:
                sums[g][i] += rows[i] / max(len(good), 1)
            key = k_1 if g == 0 and guards == "double" else k_0
            if thresholds == "projected":
                y, distance = majority(sums[g], sorted(good), m)
                growth = max((length or horizon) / (t - begun[g] + 1), 1.0)
                promised[g] = max(promised[g], y * math.sqrt(growth))
                limit = factor * (1 + 2 / math.sqrt(d)) * promised[g]
            else:
                distance, limit = judge(
                    sums[g], good, m, thresholds, key, factor, multiplier, level, ths[g], v, p, length or horizon
                )
            strict = thresholds == "third_party"
            keep &= {i for i in good if distance[i] < limit or (not strict and distance[i] == limit)}
            if thresholds == "epfml" and length is not None and (t + 1) % length == 0:
                ths[g] = sorted(distance)[m // 2] + 0.001
        counted = sorted(good if average == "before" else keep)
        mean = sum((rows[i] for i in counted), np.zeros(d)) / max(len(counted), 1)
        if nu > 0:
            mean = mean + nu * np.asarray(jax.random.normal(k_noise, (d,), "float32"), float)
        out.append(mean)
        good = keep
    return out


def judge(sums, good, m, thresholds, key, factor, multiplier, level, th, v, p, steps):
    """(distances of all workers from the median machine, the largest with which one stays)"""

    def apart(i, j):
        return float(np.linalg.norm(sums[i] - sums[j]))

    if thresholds in ("recalled", "third_party"):
        if thresholds == "recalled":
            y, distance = majority(sums, sorted(good), m)
            return distance, factor * multiplier * max(y, level)
        return third_party(apart, sorted(good), m, factor * multiplier, level)
    if thresholds in ("theory", "printed"):
        th = 8 * v * math.sqrt(steps * math.log(16 * m * steps / p)) / (m if thresholds == "theory" else 1)
    enough = (m + 1) // 2 if thresholds == "epfml" else m // 2 + 1
    most, median = 0, None
    for i in np.asarray(jax.random.permutation(key, m)):
        if i in good and most < enough:
            count = sum(apart(i, j) <= th for j in good)
            if count > most:
                most, median = count, i
    if median is None:
        return [math.inf] * m, factor * th
    return [apart(median, j) for j in range(m)], factor * th


def majority(sums, members, m):
    """The smallest radius around a member that holds a majority of all m, and everybody's distance from the member."""
    rank = m // 2
    if len(members) <= rank:
        return math.inf, [0.0] * m
    y = {i: sorted(np.linalg.norm(sums[i] - sums[j]) for j in members)[rank] for i in members}
    median = min(members, key=lambda i: (y[i], i))
    return y[median], [float(np.linalg.norm(sums[median] - sums[j])) for j in range(m)]


def third_party(apart, members, m, times, level):
    rank = (m - 1) // 2
    if len(members) - 1 <= rank:
        return [0.0] * m, math.inf
    order = {i: sorted((apart(i, j), j) for j in members if j != i) for i in members}
    best = min(members, key=lambda i: (order[i][rank][0], i))
    score, median = order[best][rank]
    return [apart(median, j) for j in range(m)], times * min(level, score)
