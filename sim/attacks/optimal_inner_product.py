"""Inner product manipulation, with the factor that harms the rule in use the most."""

from typing import Literal

import jax.numpy as jnp
from byzsim.attacks._search import LINE_SEARCHES, LineSearch, deviation_from_honest_mean, line_maximize
from byzsim.ops import masked_mean
from byzsim.options import checked
from byzsim.types import Attack, Context, Spec, Variant, colluding
from jaxtyping import Array, Bool, Float


@checked
def optimal_inner_product(
    *,
    line_search: LineSearch = "up_and_down",
    coefficient: Literal["-x", "1-x"] = "-x",
) -> Attack:
    """Every Byzantine row is -x times the honest mean, with x from a line search through the rule in use.

    ```text
    g_byz = -x mu,  or  (1 - x) mu;    x maximises ||R(rows with g_byz) - mu||^2 over x >= 0,  R the rule in use
    ```

    Args:
        line_search: how x is found, from 0 on with steps that shrink by 0.8; static. "up_and_down" has 16 evaluations
            and a first step of 1, then goes up and down around the best (ByzantineMomentum); "up" has 20 and a first
            step of 10, then goes only up from the best (byzfl).
        coefficient: "-x", or "1-x" as in ByzantineMomentum's "empire"; static.

    Cost:
        16 or 20 aggregations in every step.

    Notes:
        Harm that is not finite counts as infinite. The rule is tried with its state and draws of this step.

    References:
        github LPD-EPFL/ByzantineMomentum (El Mhamdi, Guerraoui, Rouault, ICLR 2021); byzfl; the attack after
        Xie, Koyejo, Gupta, UAI 2019.
    """

    def vector(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, " d"]:
        mean = masked_mean(updates, ~byz)
        start = jnp.zeros_like(mean) if coefficient == "-x" else mean
        x = line_maximize(
            lambda x: deviation_from_honest_mean(start - x * mean, updates, byz, ctx.aggregate),
            updates,
            **LINE_SEARCHES[line_search],
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
        Variant("byzfl", {"line_search": "up"}, "-x mu; 20 evaluations, first step 10, only up", "byzfl 0.0.11"),
        Variant("byzantine_momentum", {"coefficient": "1-x"}, "(1 - x) mu", "LPD-EPFL/ByzantineMomentum (empire)"),
    ),
)
