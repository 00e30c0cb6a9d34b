"""Inner product manipulation: turn the average against the true gradient."""

from typing import Literal

from byzsim.ops import masked_mean
from byzsim.options import checked
from byzsim.types import Attack, Context, Spec, Traced, Variant, colluding
from jaxtyping import Array, Bool, Float


@checked
def inner_product(*, epsilon: Traced = 0.1, coefficient: Literal["-epsilon", "1-epsilon"] = "-epsilon") -> Attack:
    """Every Byzantine row is -epsilon times the honest mean ("fall of empires").

    ```text
    g_byz = -epsilon mu,  or  (1 - epsilon) mu;    mu = (1 / (m - n_byz)) sum over honest i of g_i
    ```

    Args:
        epsilon: the factor; traced. The default 0.1 is that of the code of Karimireddy et al. 2021; other sources use
            0.2, 1 or 2.
        coefficient: "-epsilon", or "1-epsilon" as in ByzantineMomentum's "empire", whose 1.1 is -0.1 mu; static.

    References:
        Xie, Koyejo, Gupta, "Fall of empires: breaking Byzantine-tolerant SGD by inner product
        manipulation", UAI 2019.
    """

    def vector(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, " d"]:
        del ctx
        times = -epsilon if coefficient == "-epsilon" else 1 - epsilon
        return times * masked_mean(updates, ~byz)

    return colluding(vector)


SPEC = Spec(
    inner_product,
    source="Xie et al., UAI 2019",
    traits=frozenset({"collusive"}),
    variants=(
        Variant("epfml", {}, "-0.1 mu", "Xie et al. 2019 with the factor of epfml's code (Karimireddy et al. 2021)"),
        Variant("ku", {"epsilon": 0.2}, "-0.2 mu", "CRYPTO-KU/FL-Byzantine-Library"),
        Variant("byzfl", {"epsilon": 2.0}, "-2 mu", "byzfl 0.0.11 (tau = 2)"),
        Variant("byzpy", {"epsilon": 1.0}, "-mu", "byzpy (Empire, scale -1)"),
        Variant(
            "byzantine_momentum",
            {"epsilon": 1.1, "coefficient": "1-epsilon"},
            "(1 - 1.1) mu",
            "ByzantineMomentum (empire): the rule of epfml",
        ),
    ),
)
