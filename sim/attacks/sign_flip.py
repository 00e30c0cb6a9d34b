"""The opposite direction."""

from typing import Literal

import jax.numpy as jnp
from byzsim.ops import masked_mean
from byzsim.options import checked
from byzsim.types import Attack, Context, Spec, Variant, colluding, make_attack
from jaxtyping import Array, Bool, Float


@checked
def sign_flip(*, gradient: Literal["own", "mean", "first"] = "own") -> Attack:
    """Every Byzantine row is minus a gradient.

    ```text
    g_byz = -g_own,  or  -(1 / (m - n_byz)) sum over honest i of g_i,  or  -g_k, k the first Byzantine worker
    ```

    Args:
        gradient: the worker's "own", the honest "mean", or that of the "first" Byzantine worker; static.

    Notes:
        Minus a multiple of the honest mean is `inner_product`, with its epsilon.

    References:
        Allen-Zhu, Ebrahimian, Li, Alistarh, "Byzantine-resilient non-convex stochastic gradient descent", ICLR
        2021, section 5 (own); Xie, Koyejo, Gupta, "Zeno", ICML 2019, the authors' code (first).
    """

    if gradient == "own":
        return make_attack(grads=lambda updates, byz, state, ctx: (-updates, state))

    def vector(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, " d"]:
        del ctx
        return -(masked_mean(updates, ~byz) if gradient == "mean" else updates[jnp.argmax(byz)])

    return colluding(vector, reads_own_gradients=gradient == "first")


SPEC = Spec(
    sign_flip,
    source="Allen-Zhu et al., ICLR 2021, section 5",
    variants=(
        Variant("own", {}, "-g_own", "SafeguardSGD; SignGuard's code, epfml (bit flip), byzpy, blades"),
        Variant("mean", {"gradient": "mean"}, "minus the honest mean", "byzfl, krum 0.9.1"),
        Variant("zeno", {"gradient": "first"}, "minus the first Byzantine worker's gradient, from all", "Zeno's code"),
    ),
)
