"""Infinite rows."""

from typing import Literal

import jax.numpy as jnp
from byzsim.options import checked
from byzsim.types import Attack, Context, Spec, State, make_attack
from jaxtyping import Array, Bool, Float


@checked
def inf(*, sign: Literal["plus", "minus"] = "plus") -> Attack:
    """Every entry of every Byzantine row is infinite.

    Args:
        sign: "plus" for +inf (byzfl), "minus" for -inf; static.

    References:
        The "Inf" attack of byzfl (Gonzalez et al., 2025).
    """

    def grads(
        updates: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, ctx: Context
    ) -> tuple[Float[Array, "m d"], State]:
        del byz, ctx
        return jnp.full_like(updates, jnp.inf if sign == "plus" else -jnp.inf), state

    return make_attack(grads=grads, reads_own_gradients=False)


SPEC = Spec(inf, source="byzfl", traits=frozenset({"collusive", "non_finite"}))
