"""The attack that climbs through the rule, with gradients from central differences, whatever the rule."""

import math

import jax
import numpy as np
from reference import honest

OPTIONS = [
    {},
    {"steps": 1},
    {"restarts": 1},
    {"restarts": 8, "objective": "loss", "budget": 0.5},  # here a start that is drawn wins
    {"budget": 0.5},
    {"within": "norm"},
    {"within": "norm", "budget": 0.5},
    {"rate": 0.05},
    {"z": 0.5, "restarts": 1},
    {"objective": "descent"},
    {"objective": "descent", "rate": 0.05},
    {"objective": "loss"},
    {"objective": "loss", "budget": 0.5},
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

    def inside(p):
        far = math.dist(p, centre)
        return p if far <= radius else centre + (p - centre) * radius / far

    starts = [mu - z * sigma, -mu][:restarts]
    for i in range(2, restarts):
        draw = np.asarray(jax.random.normal(jax.random.fold_in(ctx.key, i), mu.shape, "float32"), float)
        starts.append(centre + radius * draw / math.hypot(*draw))
    tried = []
    for start in starts:
        p = inside(start)
        tried.append(p)
        for k in range(steps):
            slope = _gradient(harm, p)
            if slope.any():
                step = p + rate * (1 - k / steps) * radius * slope / math.hypot(*slope)
            else:
                step = mu + 0.7 * (p - mu)
            p = inside(step)
            tried.append(p)
    return [max(tried, key=harm)] * sum(byz)


def _gradient(harm, p, h=1e-5):
    slopes = []
    for c in range(len(p)):
        aside = np.array(p)
        aside[c] += h
        above = harm(aside)
        aside[c] -= 2 * h
        slopes.append((above - harm(aside)) / (2 * h))
    return np.array(slopes)
