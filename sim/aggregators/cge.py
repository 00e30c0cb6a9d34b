"""Comparative gradient elimination."""

from typing import Literal

import jax.numpy as jnp
from byzsim import blocks
from byzsim.ops import masked_mean, rank_by_score, uniform_weights
from byzsim.ops.rows import HIGHEST
from byzsim.options import checked
from byzsim.types import Aggregator, Context, Spec, Variant, stateless
from jaxtyping import Array, Float


@checked
def cge(*, combine: Literal["mean", "sum"] = "mean") -> Aggregator:
    """Mean of the m - f gradients of smallest Euclidean norm.

    ```text
    g = (1 / (m - f)) sum over the m - f smallest ||g_i|| of g_i
    ```

    Args:
        combine: "mean", or "sum" as in the paper, which is longer by the number of rows kept; static.

    Tolerates:
        f <= (m - 1) // 2: the output is no longer than the longest honest gradient. Convergence needs nearly redundant
        honest costs, and a smaller f.

    Cost:
        O(md), two reads.

    Notes:
        Ties go to the lowest worker index; at least one row is kept. Rows that are not usable (`ops.usable_rows`) are
        left out, even where fewer than m - f remain: then the mean is over these, and zero if there are none.
        `Info.weight` are the shares in the mean, for "sum" as well.

    References:
        Liu, Gupta, Vaidya, "Approximate Byzantine fault-tolerance in distributed optimization", PODC 2021
        (arXiv 2101.09337).
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        squared = blocks.added_up(jnp.einsum("md,md->m", grads, grads, precision=HIGHEST))
        usable = jnp.isfinite(squared)
        shortest = rank_by_score(jnp.where(usable, squared, jnp.inf), usable) < jnp.maximum(len(grads) - ctx.f, 1)
        kept = shortest & usable
        average = masked_mean(grads, kept)
        return average * kept.sum() if combine == "sum" else average, uniform_weights(kept)

    return stateless(rule)


SPEC = Spec(
    cge,
    source="Liu et al., PODC 2021",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "scale", "consensus", "average", "filter"}),
    cost="m d",
    variants=(
        Variant(
            "byzantine_momentum",
            {"combine": "mean"},
            "the mean of the m - f shortest",
            "LPD-EPFL/ByzantineMomentum",
        ),
        Variant(
            "liu2021",
            {"combine": "sum"},
            "the sum of the m - f shortest",
            "Liu et al. 2021",
        ),
    ),
)
