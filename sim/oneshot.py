"""Rules and attacks without training: on one matrix, or on several matrices in order."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from byzsim.ops import varying_as
from byzsim.types import Aggregator, Attack, Context, Info, Missing, State, Traced, begin
from jaxtyping import Array, Bool, Float, Int, Key


class Undeclared(Exception):
    """Raised when a rule reads f and the caller has not given it."""


def make_context(
    key: Key[Array, ""], f: Int[Array, ""] | int | None, d: int, dtype: Any = jnp.float32, **known: Any
) -> Context:
    """The context of a first step whose parameters and previous aggregate are zero.

    Args:
        key: random key of the step.
        f: number of declared Byzantine workers; None: reading it raises `Undeclared`.
        d: number of coordinates.
        dtype: dtype of the rows.
        known: fields of `Context` with other values.
    """
    zero = jnp.zeros(d, dtype)
    fields: dict[str, Any] = {"step": jnp.int32(0), "params": zero, "previous": zero} | known
    declared: Any = Missing(Undeclared) if f is None else jnp.asarray(f, jnp.int32)
    return Context(key, f=declared, **fields)


def summed(n: int) -> Callable[[Float[Array, " d"]], Float[Array, ""]]:
    """A cheap `Context.server_loss` for checks and timings: the sum of all parameters."""
    del n
    return lambda params: params.sum()


def aggregate(rule: Aggregator, rows: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Info]:
    """(aggregate, info) of a rule in its initial state."""
    out, _, info = rule.apply(rows, init_state(rule, rows), ctx)
    return out, info


def against(rule: Aggregator, ctx: Context, state: State = None) -> Context:
    """The context of an attack against `rule` in this state (None: the initial state): it has `aggregate`."""
    return ctx._replace(
        aggregate=lambda rows: rule.apply(rows, init_state(rule, rows) if state is None else state, ctx)[0]
    )


def forged_rows(
    attack: Attack, updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context, state: State = None
) -> tuple[Float[Array, "m d"], State]:
    """(rows, the attack's next state): Byzantine workers' rows are forged, those of honest workers stay.

    Args:
        attack: the attack.
        updates: what each worker would send if it were honest.
        byz: True for Byzantine workers.
        ctx: the context.
        state: the attack's state; None: its initial state.
    """
    state = init_state(attack, updates) if state is None else state
    forged, state = attack.grads(updates, byz, state, ctx)
    return jnp.where(byz[:, None], forged, updates), state


def init_state(member: Aggregator | Attack, rows: Float[Array, "m d"]) -> State:
    """The state of a rule or an attack before its first step with rows of this shape and dtype.

    >>> from byzsim import centered_clipping
    >>> init_state(centered_clipping(), jnp.ones((5, 2), jnp.bfloat16))
    Array([0, 0], dtype=bfloat16)

    Args:
        member: the rule or the attack.
        rows: gradients (m, d); in a `jax.shard_map` those of the first step, over whose axes the state will vary.
    """
    return varying_as(begin(member, *rows.shape, rows.dtype), rows)


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
    """The aggregates of several matrices in order, each at its own parameters. Matrix t has the key fold_in(key, t)."""
    d = rounds.shape[2]

    def one(carry: tuple[State, Array, Array], now: tuple[Array, Array]) -> tuple[tuple[State, Array, Array], Array]:
        state, previous, step = carry
        grads, params = now
        step_key = jax.random.fold_in(key, step)
        ctx = make_context(step_key, f, d, rounds.dtype, step=step, lr=lr, params=params, previous=previous, **known)
        out, state, _ = rule.apply(grads, state, ctx)
        return (state, out, step + 1), out

    first = varying_as((init_state(rule, rounds[0]), jnp.zeros(d, rounds.dtype)), rounds, params)
    if len(rounds) == 1:  # no loop, whose state XLA may copy
        return one((*first, jnp.int32(0)), (rounds[0], params[0]))[1][None]
    return jax.lax.scan(one, (*first, jnp.int32(0)), (rounds, params))[1]


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
    """The rows that the first `n_byz` workers send in several steps in order, against a rule that sees all rows."""
    m, d = rounds.shape[1:]
    byz = jnp.arange(m) < n_byz

    def one(carry: tuple[State, State, Array, Array], updates: Float[Array, "m d"]) -> Any:
        state, rule_state, last, step = carry
        ctx = make_context(jax.random.fold_in(key, step), f, d, rounds.dtype, step=step, previous=last)
        forged, state = forged_rows(attack, updates, byz, against(rule, ctx, rule_state)._replace(**known), state)
        last, rule_state, _ = rule.apply(forged, rule_state, ctx)
        return (state, rule_state, last, step + 1), forged[:n_byz]

    first = (*(init_state(member, rounds[0]) for member in (attack, rule)), previous)
    return jax.lax.scan(one, (*varying_as(first, rounds, previous), jnp.int32(0)), rounds)[1]
