"""Nothing at all."""

import jax.numpy as jnp
from byzsim.types import Attack, Context, Spec, State, make_attack
from jaxtyping import Array, Bool, Float


def zero_gradient() -> Attack:
    """Every Byzantine row is zero.

    References:
        Allen-Zhu, Ebrahimian, Li, Alistarh, "Byzantine-resilient non-convex stochastic gradient descent", ICLR
        2021, section 5.
    """

    def grads(
        updates: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, ctx: Context
    ) -> tuple[Float[Array, "m d"], State]:
        del byz, ctx
        return jnp.zeros_like(updates), state

    return make_attack(grads=grads, reads_own_gradients=False)


SPEC = Spec(zero_gradient, source="Allen-Zhu et al., ICLR 2021, section 5", traits=frozenset({"collusive"}))
