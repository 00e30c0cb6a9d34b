"""Minus the sum of the honest gradients."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops import per_row, weighted_sum
from byzsim.ops.random import normals
from byzsim.options import checked
from byzsim.types import Attack, Context, Spec, State, Traced, Variant, colluding, make_attack
from jaxtyping import Array, Bool, Float


@checked
def negation(*, factor: Traced = 1e10, variant: Literal["paper", "code"] = "paper", noise: Traced = 200.0) -> Attack:
    """Every Byzantine row is minus the sum of all honest gradients, times a large constant ("model negation").

    ```text
    g_byz = -factor * sum over honest i of g_i
    ```

    Args:
        factor: the constant; traced; for "paper" only. BrSGD section 5.1: 1e10.
        variant: "paper" as above. In "code", which the authors published (karry520/RobustSGD), the Byzantine worker of
            lowest index sends minus the sum of all other rows, honest and forged, and the other Byzantine workers send
            N(0, noise^2 I). Static.
        noise: standard deviation of that noise; traced; for "code" only, where it is 200.

    Notes:
        The noise of worker i is `noise * jax.random.normal(jax.random.fold_in(ctx.key, i), (d,))`. Which worker sends
        the negated sum in the authors' code is not known; the lowest index is byzsim's choice.

    References:
        Li et al., FTL-IJCAI 2021 (arXiv 2108.06658), section 5.1.
    """

    def paper(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, " d"]:
        del ctx
        return -factor * weighted_sum((~byz).astype(updates.dtype), updates)

    def code(
        updates: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, ctx: Context
    ) -> tuple[Float[Array, "m d"], State]:
        def draw(i):
            return noise * normals(jax.random.fold_in(ctx.key, i), updates.shape[1])

        workers = jnp.arange(len(updates))
        rows = jnp.where(byz[:, None], per_row(draw, workers), updates)
        negator = byz & (workers == jnp.argmax(byz))
        others = weighted_sum((~negator).astype(updates.dtype), rows)
        return jnp.where(negator[:, None], -others, rows), state

    return colluding(paper) if variant == "paper" else make_attack(grads=code, reads_own_gradients=False)


SPEC = Spec(
    negation,
    source="Li et al., FTL-IJCAI 2021, section 5.1",
    traits=frozenset({"collusive"}),
    variants=(
        Variant("paper", {"variant": "paper"}, "-1e10 times the honest sum, from all", "BrSGD section 5.1"),
        Variant(
            "code",
            {"variant": "code"},
            "one (theirs the last) sends minus the sum of all others, the rest N(0, 200^2 I)",
            "the authors' code",
        ),
    ),
)
