"""Preaggregators that shorten long rows."""

from collections.abc import Callable

import jax.numpy as jnp
from byzsim.ops import norms
from byzsim.ops.rows import safe_divide
from byzsim.types import Aggregator, Context, Info, PreAggregator, State, Traced
from jaxtyping import Array, Float


def clipped_to(limit: Callable[[Float[Array, " m"], Context], Float[Array, ""] | float]) -> PreAggregator:
    """A preaggregator from a function (norms of the rows, context) -> the length to which longer rows are cut.

    Norms are those of `ops.norms`; a row of norm +inf that is cut becomes the zero row, and an infinite limit cuts
    nothing. Memory: the (m, d) rows once more. What the rule says about its rows is passed back, with these
    added to those that were shortened.
    """

    def wrap(rule: Aggregator) -> Aggregator:
        def apply(grads: Float[Array, "m d"], state: State, ctx: Context) -> tuple[Float[Array, " d"], State, Info]:
            length = norms(grads)
            most = limit(length, ctx)
            aggregate, state, info = rule.apply(_cut(grads, length, most), state, ctx)
            return aggregate, state, info._replace(clipped=info.clipped + (length > most).sum())

        return Aggregator(rule.init, apply, rule.redundancy)

    return wrap


def _cut(grads: Float[Array, "m d"], length: Float[Array, " m"], limit: Traced) -> Float[Array, "m d"]:
    long = length > limit
    lost = long & jnp.isinf(length)
    rows = jnp.where(lost[:, None], 0.0, grads)
    unit = safe_divide(rows, jnp.where(long & ~lost, length, 1.0))  # first: limit / length could underflow
    return jnp.where(long[:, None], unit * jnp.where(long, limit, 1.0)[:, None], rows)
