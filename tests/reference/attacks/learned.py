"""The attack that climbs through the rule, with gradients from central differences: independent of any rule's formula."""

import math

import numpy as np
from reference import honest

OPTIONS = [
    {},
    {"steps": 1},
    {"restarts": 1},
    {"budget": 0.5},
    {"within": "norm"},
    {"within": "norm", "budget": 0.5},
    {"rate": 0.05},
    {"z": 0.5},
    {"objective": "descent"},
    {"objective": "descent", "rate": 0.05},
    {"objective": "loss"},
    {"objective": "loss", "rate": 0.05},
]
TOLERANCE = 2e-4  # float32 over ten steps


def learned(
    rows,
    byz,
    ctx,
    objective="distance",
    steps=10,
    restarts=2,
    budget=3.0,
    within="distance",
    rate=0.5,
    z=1.5,
):
    good = honest(rows, byz)
    mu = sum(good) / len(good)
    sigma = np.sqrt(sum((row - mu) ** 2 for row in good) / len(good))
    centre = mu if within == "distance" else np.zeros(len(mu))
    radius = budget * max(math.dist(row, centre) for row in good)

    def harm(p):
        aggregate = ctx.aggregate(np.where(np.array(byz)[:, None], p, rows))
        if objective == "distance":
            return float(sum((aggregate - mu) ** 2))
        return -float(sum(aggregate * mu)) if objective == "descent" else float(ctx.loss_after(aggregate))

    def gradient(p):
        slopes = []
        for c in range(len(p)):
            h = np.zeros(len(p))
            h[c] = 1e-5
            slopes.append((harm(p + h) - harm(p - h)) / 2e-5)
        return np.array(slopes)

    def inside(p):
        far = math.dist(p, centre)
        return p if far <= radius else centre + (p - centre) * radius / far

    best, most = None, -math.inf
    for start in [mu - z * sigma, -mu][:restarts]:
        p = inside(start)
        for k in range(steps + 1):
            if harm(p) > most:
                best, most = p, harm(p)
            if k == steps:
                break
            slope = gradient(p)
            length = math.hypot(*slope)
            if length > 0:
                p = inside(p + rate * (1 - k / steps) * radius * slope / length)
            else:
                p = mu + 0.7 * (p - mu)
    return [best] * sum(byz)
