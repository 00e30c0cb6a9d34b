"""Phocas: the mean around the trimmed mean."""

import jax.numpy as jnp
from byzsim.ops import trimmed_mean_and_weights
from byzsim.ops.order import nearest_mean_and_weights
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
        O(md log^2 m) by five sorting networks over the workers, and five reads; O(md) for more than 100 workers.

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
        dropped = jnp.minimum(ctx.f, (m - 1) // 2)
        centre = trimmed_mean_and_weights(grads, dropped, m - 2 * dropped)[0]
        return nearest_mean_and_weights(grads, centre, m - dropped)

    return stateless(rule)


SPEC = Spec(
    phocas,
    source="Xie et al., 2018, arXiv 1805.09682",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "average", "coordinatewise"}),
    cost="m d",
)
