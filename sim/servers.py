"""Several servers, each with a model of its own: what the engine needs to know of them, and a rule for each."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from byzsim.types import Aggregator, Context, Info, State
from jaxtyping import Array, Float, Int, Key


class Servers(NamedTuple):
    """The servers of a task whose parameters are (n, d), a model for each honest server."""

    n: int
    """honest servers"""
    hears: int | None
    """workers whose rows a server takes in a step, drawn anew for each server; None: all"""
    exchange: Callable[[Key[Array, ""], Float[Array, "n d"], Int[Array, ""]], Float[Array, "n d"]]
    """(key, the models after the servers' steps, steps done before) -> the models after the servers' exchange"""


def for_each(rule: Aggregator, servers: Servers) -> Aggregator:
    """The rule at every server by itself, with a state of its own, on that server's part of the rows.

    Raises:
        ValueError: (in `init`) a server is to hear more workers than there are, or workers compute the same batches.
    """
    n = servers.n

    def init(m: int, nd: int) -> State:
        heard = m if servers.hears is None else servers.hears
        if heard > m or (heard < m and rule.redundancy > 1):
            shared = " that share batches" * (rule.redundancy > 1)
            raise ValueError(f"each server hears {heard} of m={m} workers{shared}; expected at most m, or all of those")
        return jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * n), rule.init(heard, nd // n))

    def apply(grads: Float[Array, "m nd"], state: State, ctx: Context) -> tuple[Float[Array, " nd"], State, Info]:
        m = len(grads)

        def at_one(rows, state, params, previous, key):
            draw, key = jax.random.split(key)
            heard = jnp.arange(m) if servers.hears is None else jax.random.permutation(draw, m)[: servers.hears]
            own = ctx._replace(key=key, params=params, previous=previous, server_loss=server_loss)
            out, state, info = rule.apply(rows[heard], state, own)
            return out, state, Info(jnp.zeros(m).at[heard].set(info.weight), jnp.float32(info.clipped))

        def server_loss(count: int) -> Callable[[Array], Array]:
            loss = ctx.server_loss(count)  # of the models of all servers
            return lambda params: loss(jnp.tile(params, n))

        rows = jnp.moveaxis(grads.reshape(m, n, -1), 1, 0)
        known = jax.tree.map(lambda each: each.reshape(n, -1), (ctx.params, ctx.previous))
        out, state, info = jax.vmap(at_one)(rows, state, *known, jax.random.split(ctx.key, n))
        return out.ravel(), state, jax.tree.map(lambda each: jnp.mean(each, axis=0), info)

    return Aggregator(init, apply, rule.redundancy)
