"""A little is enough, with the shift that harms the rule in use the most."""

from typing import Literal

from byzsim.attacks._search import LINE_SEARCHES, LineSearch, deviation_from_honest_mean, line_maximize
from byzsim.ops import masked_mean, masked_std
from byzsim.options import checked
from byzsim.types import Attack, Context, Spec, Variant, colluding
from jaxtyping import Array, Bool, Float


@checked
def optimal_alie(
    *,
    line_search: LineSearch = "up_and_down",
    sign: Literal["plus", "minus"] = "plus",
    ddof: Literal[0, 1] = 1,
) -> Attack:
    """Every Byzantine row is the honest mean plus x standard deviations, with x from a line search through the rule.

    ```text
    g_byz = mu + x sigma;    x maximises ||R(rows with g_byz) - mu||^2 over x >= 0,  R the rule in use
    ```

    Args:
        line_search: how x is found, from 0 on with steps that shrink by 0.8; static. "up_and_down" has 16 evaluations
            and a first step of 1, then goes up and down around the best (ByzantineMomentum); "up" has 20 and a first
            step of 10, then goes only up from the best (byzfl).
        sign: "plus" as above, the default of both sources, or "minus": mu - x sigma; static.
        ddof: 0 for the population deviation, 1 for the unbiased one, as in the sources' code; static.

    Cost:
        16 or 20 aggregations in every step.

    Notes:
        Harm that is not finite counts as infinite. The rule is tried with its state and draws of this step.

    References:
        github LPD-EPFL/ByzantineMomentum (El Mhamdi, Guerraoui, Rouault, ICLR 2021); byzfl; the attack after
        Baruch, Baruch, Goldberg, NeurIPS 2019.
    """

    def vector(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, " d"]:
        mean = masked_mean(updates, ~byz)
        sigma = masked_std(updates, ~byz, mean, ddof=ddof)
        towards = sigma if sign == "plus" else -sigma
        x = line_maximize(
            lambda x: deviation_from_honest_mean(mean + x * towards, updates, byz, ctx.aggregate),
            updates,
            **LINE_SEARCHES[line_search],
        )
        return mean + x * towards

    return colluding(vector)


SPEC = Spec(
    optimal_alie,
    source="El Mhamdi et al., ICLR 2021 (code)",
    revision=2,
    traits=frozenset({"collusive", "rule"}),
    variants=(
        Variant(
            "byzantine_momentum",
            {},
            "mu + x sigma; 16 evaluations, first step 1, up and down",
            "LPD-EPFL/ByzantineMomentum (little)",
        ),
        Variant("byzfl", {"line_search": "up"}, "mu + x sigma; 20 evaluations, first step 10, only up", "byzfl 0.0.11"),
        Variant(
            "negative",
            {"sign": "minus"},
            "mu - x sigma; 16 evaluations, first step 1, up and down",
            "byzsim 0.2.0; ByzantineMomentum with negative:True searches this way too, but sends mu + x sigma",
        ),
    ),
)
