"""A rule of one's own against Krum, the median and BrSGD, under three attacks and with three seeds.

    byzsim run examples/own_rule.py

results/own_rule then has the table (README.md, table.tex for LaTeX, table.csv) and its figures (.png, .svg).
"""

import jax.numpy as jnp
from byzsim import Spec, types
from byzsim.experiments.plan import Table, axis


def closest_half():
    """The mean of the half of the rows that lie closest to the coordinate-wise median."""

    def rule(grads, ctx):
        distance = jnp.linalg.norm(grads - jnp.nanmedian(grads, axis=0), axis=1)
        kept = distance <= jnp.nanmedian(distance)  # a row of NaN has no distance, so it is not kept
        rows = jnp.where(kept[:, None], grads, 0)  # so that no NaN gets through
        return rows.sum(axis=0) / kept.sum(), kept / kept.sum()

    return types.stateless(rule)


SPECS = {"closest_half": Spec(closest_half, source="this file", max_f=lambda m: (m - 1) // 2)}
SPEC = Table(
    name="own_rule",
    title="A rule of one's own: softmax regression on digits, 10 workers",
    source="this file",
    base={"data": "digits", "model": "softmax", "m": 10, "batch": 16, "epochs": 10, "lr": 0.5},
    axes=(
        axis("rule", ["closest_half", "krum", "median", "brsgd"]),
        axis("attack", ["sign_flip", "alie", "gaussian"]),
        axis("alpha", [0.2]),
        axis("seed", [0, 1, 2]),
    ),
    quick={"epochs": 1},
    labels={"closest_half": "Closest half", "brsgd": "BrSGD", "alie": "ALIE"},
)
