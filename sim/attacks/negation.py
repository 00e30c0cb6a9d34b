"""Minus the sum of the honest gradients."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops import per_row, weighted_sum
from byzsim.ops.random import normals
from byzsim.options import checked
from byzsim.types import Attack, Entry, Round, State, Traced, Variant, attack, collusion
from jaxtyping import Array, Bool, Float


@checked
def negation(*, factor: Traced = 1e10, variant: Literal["paper", "code"] = "paper", noise: Traced = 200.0) -> Attack:
    """Every Byzantine row is minus the sum of all honest gradients, times a large constant ("model negation").

        g_byz = -factor * sum over honest i of g_i

    Args:
        factor: traced; of the "paper" only. BrSGD section 5.1: 1e10.
        variant: "paper" as above. "code", which the authors published (karry520/RobustSGD): the Byzantine worker of
            lowest index sends minus the sum of all other rows, honest and forged, and the other Byzantine workers
            send N(0, noise^2 I). Static.
        noise: standard deviation; traced; of the "code" only. 200 there.
    Choices: the noise of worker i is `noise * jax.random.normal(jax.random.fold_in(rnd.key, i), (d,))`. Which of the
        authors' workers negates is not known to us; the lowest index is our choice.
    References: Li et al., FTL-IJCAI 2021 (arXiv 2108.06658), section 5.1.
    """

    def paper(sent: Float[Array, "m d"], byz: Bool[Array, " m"], rnd: Round) -> Float[Array, " d"]:
        del rnd
        return -factor * weighted_sum((~byz).astype(sent.dtype), sent)

    def code(
        sent: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, rnd: Round
    ) -> tuple[Float[Array, "m d"], State]:
        def draw(i):
            return noise * normals(jax.random.fold_in(rnd.key, i), sent.shape[1])

        workers = jnp.arange(len(sent))
        rows = jnp.where(byz[:, None], per_row(draw, workers), sent)
        negator = byz & (workers == jnp.argmax(byz))
        others = weighted_sum((~negator).astype(sent.dtype), rows)
        return jnp.where(negator[:, None], -others, rows), state

    return collusion(paper) if variant == "paper" else attack(grads=code, own=False)


ENTRY = Entry(
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
