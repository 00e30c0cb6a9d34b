"""Inner product manipulation, with the factor that harms the rule in use the most."""

from typing import Literal

import jax.numpy as jnp
from byzsim.attacks._search import LINE_SEARCHES, deviation_from_honest_mean, line_maximize
from byzsim.ops import masked_mean
from byzsim.options import checked
from byzsim.types import Attack, Context, Spec, Variant, colluding
from jaxtyping import Array, Bool, Float


@checked
def optimal_inner_product(
    *,
    search: Literal["byzantine_momentum", "byzfl"] = "byzantine_momentum",
    convention: Literal["negated", "one_minus"] = "negated",
) -> Attack:
    """Every Byzantine row is -x times the honest mean, x found by a line search through the rule in use.

        g_byz = -x mu,  or  (1 - x) mu;    x maximises ||R(rows with g_byz) - mu||^2 over x >= 0,  R the rule in use

    Args:
        search: `ops.line_maximize` from x = 0 with ratio 0.8: 16 evaluations, first step 1, then up and down around the
            best ("byzantine_momentum"); or 20, first step 10, then only up from the best ("byzfl"). Static.
        convention: "negated", or "one_minus" as in ByzantineMomentum's "empire". Static.
    Cost: 16 or 20 aggregations in every step.
    Choices: a harm that is not finite counts as infinite. The rule is tried with its state and draws of this step.
    References: github LPD-EPFL/ByzantineMomentum (El Mhamdi, Guerraoui, Rouault, ICLR 2021); byzfl; the attack after
        Xie, Koyejo, Gupta, UAI 2019.
    """

    def vector(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, " d"]:
        mean = masked_mean(updates, ~byz)
        start = jnp.zeros_like(mean) if convention == "negated" else mean
        x = line_maximize(
            lambda x: deviation_from_honest_mean(start - x * mean, updates, byz, ctx.aggregate), **LINE_SEARCHES[search]
        )
        return start - x * mean

    return colluding(vector)


SPEC = Spec(
    optimal_inner_product,
    source="El Mhamdi et al., ICLR 2021 (code)",
    revision=2,
    traits=frozenset({"collusive", "rule"}),
    variants=(
        Variant("negated", {}, "-x mu; 16 evaluations from 0, first step 1", "Xie et al. 2019 with that search"),
        Variant("byzfl", {"search": "byzfl"}, "-x mu; 20 evaluations, first step 10, only up", "byzfl 0.0.11"),
        Variant("byzantine_momentum", {"convention": "one_minus"}, "(1 - x) mu", "LPD-EPFL/ByzantineMomentum (empire)"),
    ),
)
