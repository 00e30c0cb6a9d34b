"""Preaggregators that replace the rows by weighted sums of rows."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from byzsim.ops.rows import mix_rows
from byzsim.types import Aggregator, Context, Info, PreAggregator, State
from jaxtyping import Array, Float


def mixing(
    weights: Callable[[Float[Array, "m d"], Context], Float[Array, "k m"]], rows: Callable[[int], int] = lambda m: m
) -> PreAggregator:
    """A preaggregator from a function (gradients, context) -> matrix W >= 0; the rule gets the `rows(m)` rows W G.

    Cost:
        W and W G; never a tensor of m x m x d. What the rule says about its rows is passed back through W.
    The function's key is the first of jax.random.split(ctx.key), the rule's the second.
    """

    def wrap(rule: Aggregator) -> Aggregator:
        def apply(grads: Float[Array, "m d"], state: State, ctx: Context) -> tuple[Float[Array, " d"], State, Info]:
            own, inner = jax.random.split(ctx.key)
            w = weights(grads, ctx._replace(key=own))
            aggregate, state, info = rule.apply(mix_rows(w, grads), state, ctx._replace(key=inner))
            return aggregate, state, info._replace(weight=(info.weight @ w).astype(jnp.float32), suspicion=())

        return Aggregator(lambda m, d: rule.init(rows(m), d), apply, rule.redundancy)

    return wrap
