"""Mean around the median."""

from typing import Literal

import jax.numpy as jnp
from byzsim.ops import middle_ranks, midpoint, order_statistics, ranks, row_sum
from byzsim.ops.order import nearest_mean_and_weights
from byzsim.options import checked
from byzsim.types import Aggregator, Context, Spec, Variant, stateless
from jaxtyping import Array, Float, Int


@checked
def meamed(*, middle: Literal["mean", "lower", "mean_by_index", "lower_by_index"] = "mean") -> Aggregator:
    """Mean of the m - f values of every coordinate that are nearest to its median.

    ```text
    g_c = (1 / (m - f)) sum over the m - f smallest |g_ic - median_c| of g_ic
    ```

    Args:
        middle: the median of an even m, the "mean" of the two middle values or the "lower" one (torch.median).
            "mean_by_index" and "lower_by_index" differ in ties: of values equally near the median they take those of
            the lowest worker indices, as byzfl, byzpy and ByzantineMomentum do. Static.

    Tolerates:
        f <= (m - 1) // 2.

    Cost:
        O(md log^2 m) by two sorting networks over the workers, and four reads; O(md) for more than 128 workers.

    Notes:
        Of two values equally near the median on either side the smaller is taken, so that the order of workers does not
        count: [7, 4, 1] with f = 1 gives 2.5, "by index" 5.5. An f above (m - 1) // 2 counts as (m - 1) // 2. NaN
        counts as +inf. `Info.weight` is a worker's share of all entries that lie between the smallest and the largest
        value averaged in their coordinate, both included; "by index" it is the share of all values averaged.

    References:
        Xie, Koyejo, Gupta, "Generalized Byzantine-tolerant SGD", 2018, arXiv 1802.10116.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        m = len(grads)
        low, high = order_statistics(grads, middle_ranks(m))
        centre = low if middle.startswith("lower") else midpoint(low, high)
        count = m - jnp.minimum(ctx.f, (m - 1) // 2)
        if middle.endswith("by_index"):
            return _nearest_by_index(grads, centre, count)
        return nearest_mean_and_weights(grads, centre, count)

    return stateless(rule)


def _nearest_by_index(
    grads: Float[Array, "m d"], centre: Float[Array, " d"], count: Int[Array, ""] | int
) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
    """Mean of each column's `count` entries nearest to `centre`, of equally near ones the first; and rows' shares."""
    known = jnp.isfinite(grads)
    near = count > ranks(jnp.where(known, jnp.abs(grads - centre[None]), jnp.inf).T).T
    total = row_sum(
        lambda taken, row: jnp.where(taken, jnp.nan_to_num(row, nan=jnp.inf, posinf=jnp.inf), 0.0), near, grads
    )
    return total / count, near.mean(axis=1) / count


SPEC = Spec(
    meamed,
    source="Xie et al., 2018, arXiv 1802.10116",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "average", "coordinatewise"}),
    cost="m d",
    variants=(
        Variant(
            "xie2018",
            {"middle": "mean"},
            "the median of an even m is the mean of the two middle values",
            "Xie et al. 2018",
        ),
        Variant(
            "lower",
            {"middle": "lower"},
            "the median of an even m is the lower of the two middle values",
            "byzsim: byzantine_momentum without its ties",
        ),
        Variant(
            "byzfl",
            {"middle": "mean_by_index"},
            "the mean of the two middle values; of equally near values the lowest worker indices",
            "byzfl 0.0.11",
        ),
        Variant(
            "byzantine_momentum",
            {"middle": "lower_by_index"},
            "the lower of the two middle values; of equally near values the lowest worker indices",
            "LPD-EPFL/ByzantineMomentum, byzpy",
        ),
    ),
)
