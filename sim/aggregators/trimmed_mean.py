"""Coordinate-wise trimmed mean."""

import jax.numpy as jnp
from byzsim.ops import trimmed_mean_and_weights
from byzsim.types import Aggregator, Context, Spec, stateless
from jaxtyping import Array, Float


def trimmed_mean() -> Aggregator:
    """Coordinate-wise mean without the f smallest and the f largest values.

    ```text
    g_c = (1 / (m - 2f)) sum over k = f+1 ... m-f of g_(k)c,    g_(1)c <= ... <= g_(m)c
    ```

    Tolerates:
        f <= (m - 1) // 2.

    Cost:
        O(md log^2 m) by sorting networks over the workers; beyond 64 workers a sort, and a copy of the matrix.

    Notes:
        An f above (m - 1) // 2 counts as (m - 1) // 2, which leaves the middle value, or both of an even m. NaN counts
        as +inf, so with n_byz <= f the output lies between honest values in every coordinate. `Info.weight` is a
        worker's share of all entries that lie between the smallest and the largest value kept in their coordinate, both
        included. The paper trims a fraction beta of the workers; here beta = f / m. The bound on kappa is that of
        Allouah et al. 2023.

    References:
        Yin, Chen, Ramchandran, Bartlett, "Byzantine-robust distributed learning: towards optimal statistical
        rates", ICML 2018.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        m = len(grads)
        dropped = jnp.minimum(ctx.f, (m - 1) // 2)
        return trimmed_mean_and_weights(grads, dropped, m - 2 * dropped)

    return stateless(rule)


SPEC = Spec(
    trimmed_mean,
    source="Yin et al., ICML 2018",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "average", "coordinatewise"}),
    cost="m d",
    kappa=lambda m, f: 6 * f / (m - 2 * f) * (1 + f / (m - 2 * f)),
)
