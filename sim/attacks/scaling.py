"""A gradient blown up by a constant."""

from typing import Literal

from byzsim.ops import masked_mean
from byzsim.options import checked
from byzsim.types import Attack, Spec, Traced, Variant, colluding, make_attack


@checked
def scaling(*, factor: Traced = 1e10, gradient: Literal["own", "mean"] = "own") -> Attack:
    """Every Byzantine row is the worker's own gradient times a large constant ("gradient scale").

    ```text
    g_byz = factor * g_own,  or  factor * (1 / (m - n_byz)) sum over honest i of g_i
    ```

    Args:
        factor: the constant; traced. BrSGD section 5.1: 1e10.
        gradient: which gradient, the worker's "own" or the honest "mean"; the paper does not say. Static.

    References:
        Li et al., FTL-IJCAI 2021 (arXiv 2108.06658), section 5.1.
    """

    if gradient == "own":
        return make_attack(grads=lambda updates, byz, state, ctx: (factor * updates, state))
    return colluding(lambda updates, byz, ctx: factor * masked_mean(updates, ~byz))


SPEC = Spec(
    scaling,
    source="Li et al., FTL-IJCAI 2021, section 5.1",
    variants=(
        Variant("own", {}, "1e10 g_own", "BrSGD section 5.1, read as the worker's own gradient"),
        Variant(
            "mean", {"gradient": "mean"}, "1e10 times the honest mean", "BrSGD section 5.1, read as the correct one"
        ),
        Variant("code_strong", {"factor": 100.0}, "100 g_own", "the authors' code, its strongest factor"),
        Variant("code_negative", {"factor": -23.0}, "-23 g_own", "the authors' code, another of its factors"),
    ),
)
