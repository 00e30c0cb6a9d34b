"""Weiszfeld's iteration, for the geometric medians."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim import blocks
from byzsim.ops import (
    median,
    middle_ranks,
    order_statistics,
    sq_distances_to,
    uniform_weights,
    varying_as,
    weighted_sum,
)
from byzsim.types import Traced
from jaxtyping import Array, Bool, Float

WeiszfeldStart = Literal["zero", "mean", "median", "lower_median"]


def weiszfeld(
    grads: Float[Array, "m d"],
    usable: Bool[Array, " m"],
    start: WeiszfeldStart,
    *,
    steps: int,
    nu: Traced,
    tolerance: Traced,
) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
    """Smoothed Weiszfeld steps towards the geometric median of the `usable` rows: (z, each row's share in it).

    w_i = 1 / max(nu, ||z - g_i||), z <- sum_i w_i g_i / sum_i w_i; at most `steps` times, and none after one that
    moved z by no more than `tolerance` times the harmonic mean of the distances, which neither rows far away nor a
    shift of all rows change. Two reads a step. A backward pass computes distances again, so it keeps a
    z for each step and never a matrix.
    """

    @jax.checkpoint
    def move(carry):
        z, _, _ = carry
        halves = jnp.where(usable, sq_distances_to(grads, z, 0.5), 1.0)  # whole distances might overflow
        weight = jnp.where(usable, 0.5 / jnp.sqrt(jnp.maximum(halves, (nu / 2) ** 2)), 0.0)
        shares = weight / jnp.where(usable.any(), weight.sum(), 1.0)
        there = weighted_sum(shares, grads)
        spread = usable.sum() / jnp.where(usable.any(), weight.sum(), 1.0)
        moved = blocks.added_up(jnp.vdot(there - z, there - z)) > (tolerance * spread) ** 2
        return there, shares, moved

    def step(carry, _):
        return jax.lax.cond(carry[2], move, lambda carry: carry, carry), None

    first = (_weiszfeld_start(grads, usable, start), jnp.zeros(len(grads), grads.dtype), jnp.asarray(True))
    return jax.lax.scan(step, varying_as(first, grads), length=steps)[0][:2]


def _weiszfeld_start(
    grads: Float[Array, "m d"], usable: Bool[Array, " m"], start: WeiszfeldStart
) -> Float[Array, " d"]:
    """Zero, the mean of the usable rows, or a median by coordinate, with rows that are not usable as +inf."""
    if start == "zero":
        return jnp.zeros(grads.shape[1], grads.dtype)
    if start == "mean":
        return weighted_sum(uniform_weights(usable), grads)
    rows = jnp.where(usable[:, None], grads, jnp.inf)
    middle = median(rows) if start == "median" else order_statistics(rows, middle_ranks(len(rows))[:1])[0]
    return jnp.where(jnp.isfinite(middle), middle, 0.0)
