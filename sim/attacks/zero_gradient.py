"""Nothing at all."""

import jax.numpy as jnp
from byzsim.types import Attack, Entry, Round, State, attack
from jaxtyping import Array, Bool, Float


def zero_gradient() -> Attack:
    """Every Byzantine row is zero.

    References: Allen-Zhu, Ebrahimian, Li, Alistarh, "Byzantine-resilient non-convex stochastic gradient descent", ICLR
        2021, section 5.
    """

    def grads(
        sent: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, rnd: Round
    ) -> tuple[Float[Array, "m d"], State]:
        del byz, rnd
        return jnp.zeros_like(sent), state

    return attack(grads=grads, own=False)


ENTRY = Entry(zero_gradient, source="Allen-Zhu et al., ICLR 2021, section 5", traits=frozenset({"collusive"}))
