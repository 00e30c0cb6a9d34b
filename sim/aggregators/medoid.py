"""Medoid: the gradient that is closest to all others together."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops import rank_by_score, sq_distances
from byzsim.ops.distances import pow_from_squared
from byzsim.options import checked
from byzsim.types import Aggregator, Context, Spec, stateless
from jaxtyping import Array, Float


@checked
def medoid(*, power: Literal[1, 2] = 1) -> Aggregator:
    """The gradient with the smallest sum of distances to all others.

    ```text
    s_i = sum_j ||g_i - g_j||^p;    g = g_argmin(s)
    ```

    Args:
        power: p; static. With p = 2 the output is the gradient nearest to the mean, which one Byzantine row can move.

    Tolerates:
        f <= (m - 1) // 2 (p = 1, within a factor of 2 (m - f) / (m - 2f) of the honest spread); f = 0 (p = 2).

    Cost:
        O(m^2 d) for the Gram matrix.

    Notes:
        The rule does not use f. Ties go to the lowest worker index. Rows that are not usable (`ops.usable_rows`) are
        left out of the sums and are not selected while another is usable.

    References:
        El Mhamdi, Guerraoui, Rouault, "The hidden vulnerability of distributed learning in Byzantium", ICML
        2018 (as "GeoMed"); Chen, Su, Xu, "Distributed statistical machine learning in adversarial settings", 2017.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        del ctx
        squared = sq_distances(grads)
        usable = jnp.isfinite(jnp.diagonal(squared))
        score = jnp.where(usable, pow_from_squared(squared, power), 0.0).sum(axis=1)
        best = jnp.argmin(rank_by_score(score, usable))
        return grads[best], jax.nn.one_hot(best, len(grads))

    return stateless(rule)


SPEC = Spec(
    medoid,
    source="El Mhamdi et al., ICML 2018",
    max_f=lambda m, power=1: (m - 1) // 2 if power == 1 else 0,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "selects_one", "filter"}),
    cost="m^2 d",
)
