"""Rows that are no numbers."""

import jax.numpy as jnp
from byzsim.types import Attack, Entry, attack


def nan() -> Attack:
    """Every entry of every Byzantine row is NaN.

    References: the "nan" attack of github LPD-EPFL/ByzantineMomentum.
    """

    def grads(sent, byz, state, rnd):
        del byz, rnd
        return jnp.full_like(sent, jnp.nan), state

    return attack(grads=grads, own=False)


ENTRY = Entry(nan, source="LPD-EPFL/ByzantineMomentum", traits=frozenset({"collusive", "non_finite"}))
