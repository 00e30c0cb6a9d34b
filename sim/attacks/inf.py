"""Infinite rows."""

from typing import Literal

import jax.numpy as jnp
from byzsim.options import checked
from byzsim.types import Attack, Entry, Round, State, attack
from jaxtyping import Array, Bool, Float


@checked
def inf(*, sign: Literal["plus", "minus"] = "plus") -> Attack:
    """Every entry of every Byzantine row is infinite.

    Args:
        sign: +inf ("plus", as in byzfl) or -inf. Static.
    References: the "Inf" attack of byzfl (Gonzalez et al., 2025).
    """

    def grads(
        sent: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, rnd: Round
    ) -> tuple[Float[Array, "m d"], State]:
        del byz, rnd
        return jnp.full_like(sent, jnp.inf if sign == "plus" else -jnp.inf), state

    return attack(grads=grads, own=False)


ENTRY = Entry(inf, source="byzfl", traits=frozenset({"collusive", "non_finite"}))
