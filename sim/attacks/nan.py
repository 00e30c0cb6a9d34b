"""Rows that are no numbers."""

import jax.numpy as jnp
from byzsim.types import Attack, Entry, Round, State, attack
from jaxtyping import Array, Bool, Float


def nan() -> Attack:
    """Every entry of every Byzantine row is NaN.

    References: the "nan" attack of github LPD-EPFL/ByzantineMomentum.
    """

    def grads(
        sent: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, rnd: Round
    ) -> tuple[Float[Array, "m d"], State]:
        del byz, rnd
        return jnp.full_like(sent, jnp.nan), state

    return attack(grads=grads, own=False)


ENTRY = Entry(nan, source="LPD-EPFL/ByzantineMomentum", traits=frozenset({"collusive", "non_finite"}))
