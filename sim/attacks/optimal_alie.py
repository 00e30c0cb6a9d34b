"""A little is enough, with the shift that harms the rule in use the most."""

from typing import Literal

from sim.ops import LINE_SEARCHES, harm_of, line_maximize, masked_mean, masked_std
from sim.types import Attack, Entry, Reading, checked, collusion


@checked
def optimal_alie(
    *,
    search: Literal["byzantine_momentum", "byzfl"] = "byzantine_momentum",
    sign: Literal["minus", "plus"] = "minus",
    ddof: Literal[0, 1] = 1,
) -> Attack:
    """Every Byzantine row is the honest mean minus x standard deviations, x found by a line search through the rule.

        g_byz = mu - x sigma;    x maximises ||R(rows with g_byz) - mu||^2 over x >= 0,  R the rule in use

    Args:
        search: `ops.line_maximize` with 16 evaluations and first step 1 ("byzantine_momentum"), or with 20 and 10
            ("byzfl"); both from x = 0 with ratio 0.8. Static.
        sign: "minus" as above, or "plus". Static.
        ddof: of the standard deviation, 1 as in the sources' code. Static.
    Cost: 16 or 20 aggregations in every step.
    Choices: a harm that is not finite counts as infinite. The rule is tried with its state and draws of this step.
    References: github LPD-EPFL/ByzantineMomentum (El Mhamdi, Guerraoui, Rouault, ICLR 2021); byzfl; the attack after
        Baruch, Baruch, Goldberg, NeurIPS 2019.
    """

    def vector(sent, byz, rnd):
        mean = masked_mean(sent, ~byz)
        sigma = masked_std(sent, ~byz, mean, ddof=ddof)
        towards = -sigma if sign == "minus" else sigma
        x = line_maximize(lambda x: harm_of(mean + x * towards, sent, byz, rnd.aggregate), **LINE_SEARCHES[search])
        return mean + x * towards

    return collusion(vector)


ENTRY = Entry(
    optimal_alie,
    source="El Mhamdi et al., ICLR 2021 (code)",
    traits=frozenset({"collusive", "rule"}),
    readings=(
        Reading("byzantine_momentum", {}, "16 evaluations from 0, first step 1", "LPD-EPFL/ByzantineMomentum"),
        Reading(
            "byzfl", {"search": "byzfl", "sign": "plus"}, "mu + x sigma; 20 evaluations, first step 10", "byzfl 0.0.11"
        ),
    ),
)
