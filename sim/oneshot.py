"""Rules and attacks without training: on one matrix, or on several matrices in order."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
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
    out, _, info = rule.apply(rows, _begun(rule, rows, None), ctx)
    return out, info


def against(rule: Aggregator, ctx: Context, state: State = None) -> Context:
    """The context of an attack against `rule` in this state (None: the initial state): it has `aggregate`."""
    return ctx._replace(aggregate=lambda rows: rule.apply(rows, _begun(rule, rows, state), ctx)[0])


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
    forged, state = attack.grads(updates, byz, _begun(attack, updates, state), ctx)
    return jnp.where(byz[:, None], forged, updates), state


def _begun(member: Aggregator | Attack, rows: Float[Array, "m d"], state: State) -> State:
    """The state, or the initial state if it is None."""
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
    """The aggregates of several matrices in order, each at its own parameters. Matrix t has the key fold_in(key, t)."""
    m, d = rounds.shape[1:]

    def one(carry: tuple[State, Array, Array], now: tuple[Array, Array]) -> tuple[tuple[State, Array, Array], Array]:
        state, previous, step = carry
        grads, params = now
        step_key = jax.random.fold_in(key, step)
        ctx = make_context(step_key, f, d, rounds.dtype, step=step, lr=lr, params=params, previous=previous, **known)
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
    """The rows that the first `n_byz` workers send in several steps in order, against a rule that sees all rows."""
    m, d = rounds.shape[1:]
    byz = jnp.arange(m) < n_byz

    def one(carry: tuple[State, State, Array, Array], updates: Float[Array, "m d"]) -> Any:
        state, rule_state, last, step = carry
        ctx = make_context(jax.random.fold_in(key, step), f, d, rounds.dtype, step=step, previous=last)
        forged, state = forged_rows(attack, updates, byz, against(rule, ctx, rule_state)._replace(**known), state)
        last, rule_state, _ = rule.apply(forged, rule_state, ctx)
        return (state, rule_state, last, step + 1), forged[:n_byz]

    states = (begin(member, m, d, rounds.dtype) for member in (attack, rule))
    return jax.lax.scan(one, (*states, previous, jnp.int32(0)), rounds)[1]
