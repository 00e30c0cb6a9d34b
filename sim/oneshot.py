"""A rule or an attack outside of training: in one round, or in several one after another."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from byzsim.types import Aggregator, Attack, Context, Info, State, Traced, begin
from jaxtyping import Array, Bool, Float, Int, Key


class Undeclared(Exception):
    """A rule reads f, and nobody has said how many workers are declared Byzantine."""


class _WithoutF(Context):
    """What a rule sees where f was not given."""

    def __getattribute__(self, name):
        if name == "f":
            raise Undeclared
        return super().__getattribute__(name)


def make_context(
    key: Key[Array, ""], f: Int[Array, ""] | int | None, d: int, dtype: Any = jnp.float32, **known: Any
) -> Context:
    """The first round, with parameters and a previous aggregate of zero; `known` are fields that differ.

    Args:
        f: None: whoever reads it raises `Undeclared`.
    """
    zero = jnp.zeros(d, dtype)
    fields: dict[str, Any] = {"step": jnp.int32(0), "params": zero, "previous": zero} | known
    fields["f"] = None if f is None else jnp.asarray(f, jnp.int32)
    return (_WithoutF if f is None else Context)(key, **fields)


def summed(n: int) -> Callable[[Float[Array, " d"]], Float[Array, ""]]:
    """A server's loss for rules that ask for one: the sum of all parameters, next to no work."""
    del n
    return lambda params: params.sum()


def aggregate(rule: Aggregator, rows: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Info]:
    """What a rule that has seen nothing before makes of these rows."""
    out, _, info = rule.apply(rows, _begun(rule, rows, None), ctx)
    return out, info


def against(rule: Aggregator, ctx: Context, state: State = None) -> Context:
    """The round as an attack sees it that may try the rule in use, in this state; None: its first."""
    return ctx._replace(aggregate=lambda rows: rule.apply(rows, _begun(rule, rows, state), ctx)[0])


def forged_rows(
    attack: Attack, updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context, state: State = None
) -> tuple[Float[Array, "m d"], State]:
    """(all rows, with those of Byzantine workers forged; the attack's next state). In this state; None: its first."""
    forged, state = attack.grads(updates, byz, _begun(attack, updates, state), ctx)
    return jnp.where(byz[:, None], forged, updates), state


def _begun(member: Aggregator | Attack, rows: Float[Array, "m d"], state: State) -> State:
    return begin(member, *rows.shape, rows.dtype) if state is None else state


def aggregates(
    rule: Aggregator,
    rounds: Float[Array, "n m d"],
    key: Key[Array, ""],
    f: Int[Array, ""] | None,
    *,
    params: Float[Array, "n d"],
    lr: Traced = 1.0,
    **known: Any,
) -> Float[Array, "n d"]:
    """What a rule makes of rounds in order, each at its own parameters; round t draws from fold_in(key, t)."""
    m, d = rounds.shape[1:]

    def one(carry, now):
        state, previous, step = carry
        grads, params = now
        own = jax.random.fold_in(key, step)
        ctx = make_context(own, f, d, rounds.dtype, step=step, lr=lr, params=params, previous=previous, **known)
        out, state, _ = rule.apply(grads, state, ctx)
        return (state, out, step + 1), out

    first = (begin(rule, m, d, rounds.dtype), jnp.zeros(d, rounds.dtype), jnp.int32(0))
    return jax.lax.scan(one, first, (rounds, params))[1]


def forgeries(
    attack: Attack,
    rule: Aggregator,
    rounds: Float[Array, "n m d"],
    n_byz: int,
    key: Key[Array, ""],
    f: Int[Array, ""],
    *,
    previous: Float[Array, " d"],
    **known: Any,
) -> Float[Array, "n n_byz d"]:
    """What the first `n_byz` workers send in rounds in order, while the rule in use goes on with what it is sent."""
    m, d = rounds.shape[1:]
    byz = jnp.arange(m) < n_byz

    def one(carry, updates):
        state, rule_state, last, step = carry
        ctx = make_context(jax.random.fold_in(key, step), f, d, rounds.dtype, step=step, previous=last)
        forged, state = forged_rows(attack, updates, byz, against(rule, ctx, rule_state)._replace(**known), state)
        last, rule_state, _ = rule.apply(forged, rule_state, ctx)
        return (state, rule_state, last, step + 1), forged[:n_byz]

    states = (begin(member, m, d, rounds.dtype) for member in (attack, rule))
    return jax.lax.scan(one, (*states, previous, jnp.int32(0)), rounds)[1]
