"""Coordinate-wise median."""

from typing import Literal

import jax.numpy as jnp
from byzsim import blocks
from byzsim.ops import middle_ranks, midpoint, order_statistics, per_row_sum
from byzsim.options import checked
from byzsim.types import Aggregator, Context, Spec, Variant, stateless
from jaxtyping import Array, Float


@checked
def median(*, middle: Literal["mean", "lower"] = "mean") -> Aggregator:
    """Coordinate-wise median.

    ```text
    g_c = median{g_1c, ..., g_mc}
    ```

    Args:
        middle: the median of an even m, the "mean" of the two middle values (NumPy, Yin et al. 2018) or the "lower" one
            (torch.median); static.

    Tolerates:
        f <= (m - 1) // 2.

    Cost:
        O(md log^2 m) by a sorting network over the workers, one read of the matrix.

    Notes:
        NaN counts as +inf, so with n_byz <= (m - 1) // 2 the output lies between honest values in every coordinate.
        `Info.weight` is the share of coordinates in which a worker's value is a middle one. The bound on kappa is that
        of Allouah et al. 2023.

    References:
        Yin, Chen, Ramchandran, Bartlett, "Byzantine-robust distributed learning: towards optimal statistical
        rates", ICML 2018.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        del ctx
        low, high = order_statistics(grads, middle_ranks(len(grads)))
        high = low if middle == "lower" else high
        hits = per_row_sum(lambda entry, low, high: (entry == low) * 1 + (entry == high), grads, low, high)
        shares = hits / jnp.float32(blocks.width(grads.shape[1]))
        return midpoint(low, high), shares / jnp.maximum(shares.sum(), jnp.finfo(jnp.float32).tiny)

    return stateless(rule)


SPEC = Spec(
    median,
    source="Yin et al., ICML 2018",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "coordinatewise"}),
    cost="m d",
    kappa=lambda m, f: 4 * (1 + f / (m - 2 * f)) ** 2,
    variants=(
        Variant(
            "yin2018",
            {"middle": "mean"},
            "an even m gives the mean of the two middle values",
            "Yin et al. 2018; NumPy, byzfl, krum 0.9.1, fedlib, Flower",
        ),
        Variant(
            "torch",
            {"middle": "lower"},
            "an even m gives the lower of the two middle values",
            "torch.median; ByzantineMomentum, byzpy, NDSS21",
        ),
    ),
)
