"""Phocas: the mean around the trimmed mean."""

import jax.numpy as jnp
from byzsim.ops import sorted_rows
from byzsim.ops.order import nearest_window_start, rank_window_mean, rank_window_weights
from byzsim.types import Aggregator, Context, Spec, stateless
from jaxtyping import Array, Float


def phocas() -> Aggregator:
    """Mean of the m - f values of every coordinate that are nearest to its trimmed mean.

    ```text
    t_c = mean of the values of coordinate c without the f smallest and the f largest
    g_c = (1 / (m - f)) sum over the m - f smallest |g_ic - t_c| of g_ic
    ```

    Tolerates:
        f <= (m - 1) // 2.

    Cost:
        O(md log^2 m) by sorting over the workers; a copy of the matrix.

    Notes:
        An f above (m - 1) // 2 counts as (m - 1) // 2; t_c is then the median. Of two values equally near t_c on either
        side the smaller is taken. NaN counts as +inf. `Info.weight` is a worker's share of all entries that lie between
        the smallest and the largest value averaged in their coordinate, both included.

    References:
        Xie, Koyejo, Gupta, "Phocas: dimensional Byzantine-resilient stochastic gradient descent", 2018,
        arXiv 1805.09682.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        m = len(grads)
        ordered = sorted_rows(grads)
        dropped = jnp.minimum(ctx.f, (m - 1) // 2)
        centre = rank_window_mean(ordered, dropped, m - 2 * dropped)
        start = nearest_window_start(ordered, centre, m - dropped)
        return rank_window_mean(ordered, start, m - dropped), rank_window_weights(grads, ordered, start, m - dropped)

    return stateless(rule)


SPEC = Spec(
    phocas,
    source="Xie et al., 2018, arXiv 1805.09682",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "average", "coordinatewise"}),
    cost="m d",
)
