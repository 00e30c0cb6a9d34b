"""A rescaled negative gradient, small enough not to trip a safeguard."""

from typing import Literal

from byzsim.ops import masked_mean
from byzsim.options import checked
from byzsim.types import Attack, Spec, Traced, Variant, colluding, make_attack


@checked
def safeguard_attack(*, c: Traced = 0.4, gradient: Literal["own", "mean"] = "own") -> Attack:
    """Every Byzantine row is minus c times a true gradient.

    ```text
    g_byz = -c g_own, or -c mu;    mu = mean over honest i of g_i
    ```

    Args:
        c: the factor; traced. The submission of SafeguardSGD has 0.4 in its main text and 0.5 in its appendix, the
            second version 0.6 and 0.7.
        gradient: the worker's "own" gradient, or the honest "mean", which makes it inner product manipulation; static.

    Notes:
        The submission says "negative rescaled gradient" and not whose; the default is the worker's own, as in its sign
        flip.

    References:
        Allen-Zhu, Ebrahimian, Li, Alistarh, "Byzantine-resilient non-convex stochastic gradient descent",
        ICLR 2021 (arXiv 2012.14368).
    """

    if gradient == "own":
        return make_attack(grads=lambda updates, byz, state, ctx: (-c * updates, state))
    return colluding(lambda updates, byz, ctx: -c * masked_mean(updates, ~byz))


SPEC = Spec(
    safeguard_attack,
    source="Allen-Zhu et al., ICLR 2021",
    variants=(
        Variant("allenzhu2021", {}, "-0.4 g_own", "submission, main text"),
        Variant("appendix", {"c": 0.5}, "-0.5 g_own", "submission, appendix"),
        Variant("v2", {"c": 0.6}, "-0.6 g_own", "arXiv 2012.14368 v2"),
        Variant("v2_strong", {"c": 0.7}, "-0.7 g_own", "arXiv 2012.14368 v2"),
    ),
)
