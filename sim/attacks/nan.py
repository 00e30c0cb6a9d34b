"""Rows that are no numbers."""

import jax.numpy as jnp
from byzsim.types import Attack, Context, Spec, State, make_attack
from jaxtyping import Array, Bool, Float


def nan() -> Attack:
    """Every entry of every Byzantine row is NaN.

    References:
        The "nan" attack of github LPD-EPFL/ByzantineMomentum.
    """

    def grads(
        updates: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, ctx: Context
    ) -> tuple[Float[Array, "m d"], State]:
        del byz, ctx
        return jnp.full_like(updates, jnp.nan), state

    return make_attack(grads=grads, reads_own_gradients=False)


SPEC = Spec(nan, source="LPD-EPFL/ByzantineMomentum", traits=frozenset({"collusive", "non_finite"}))
