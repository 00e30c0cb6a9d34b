"""Pre-rules that shorten long rows."""

from collections.abc import Callable

import jax.numpy as jnp
from byzsim.ops import norms
from byzsim.ops.rows import divided
from byzsim.types import Aggregator, Info, PreRule, Round, State, Traced
from jaxtyping import Array, Float


def clipped_to(limit: Callable[[Float[Array, " m"], Round], Float[Array, ""] | float]) -> PreRule:
    """A pre-rule from a function (norms of the rows, round) -> the length to which longer rows are cut.

    Norms are those of `ops.norms`; a row of norm +inf that is cut becomes the zero row, and an infinite limit cuts
    nothing. Memory: the (m, d) rows once more. What the rule says about its rows is passed back, with these
    added to those that were shortened.
    """

    def wrap(rule: Aggregator) -> Aggregator:
        def apply(grads: Float[Array, "m d"], state: State, rnd: Round) -> tuple[Float[Array, " d"], State, Info]:
            length = norms(grads)
            most = limit(length, rnd)
            aggregate, state, info = rule.apply(_cut(grads, length, most), state, rnd)
            return aggregate, state, info._replace(clipped=info.clipped + (length > most).sum())

        return Aggregator(rule.init, apply, rule.load)

    return wrap


def _cut(grads: Float[Array, "m d"], length: Float[Array, " m"], limit: Traced) -> Float[Array, "m d"]:
    long = length > limit
    lost = long & jnp.isinf(length)
    rows = jnp.where(lost[:, None], 0.0, grads)
    unit = divided(rows, jnp.where(long & ~lost, length, 1.0))  # first: limit / length could underflow
    return jnp.where(long[:, None], unit * jnp.where(long, limit, 1.0)[:, None], rows)
