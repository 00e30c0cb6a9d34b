"""Pre-rules that shorten long rows."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from sim.ops import norms
from sim.types import Aggregator, PreRule, Round


def clipped_to(limit: Callable[[Float[Array, " m"], Round], Float[Array, ""] | float]) -> PreRule:
    """A pre-rule from a function (norms of the rows, round) -> the length to which longer rows are cut.

    Norms are those of `ops.norms`; a row of norm +inf that is cut becomes the zero row, and an infinite limit cuts
    nothing. Memory: the (m, d) rows once more. What the rule says about its rows is passed back as it is.
    """

    def wrap(rule):
        def apply(grads, state, rnd):
            length = norms(grads)
            return rule.apply(_cut(grads, length, limit(length, rnd)), state, rnd)

        return Aggregator(rule.init, apply, rule.load)

    return wrap


def _cut(grads, length, limit):
    long = length > limit
    rows = jnp.where((long & jnp.isinf(length))[:, None], 0.0, grads)
    unit = rows / jnp.where(long, length, 1.0)[:, None]
    return jnp.where(long[:, None], unit * jnp.where(long, limit, 1.0)[:, None], rows)  # limit / length could underflow
