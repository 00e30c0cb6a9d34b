"""As far from all honest rows together as one of them is."""

from typing import Literal

import jax.numpy as jnp
from byzsim.attacks._search import largest_step, perturbation, shift_terms
from byzsim.ops import masked_mean, sq_distances
from byzsim.options import Positive, checked
from byzsim.types import Attack, Context, Spec, Variant, colluding
from jaxtyping import Array, Bool, Float


@checked
def min_sum(
    *,
    direction: Literal["unit", "sign", "std"] = "unit",
    bound: Literal["max", "min"] = "max",
    line_search: Literal["halving", "exact"] = "halving",
    gamma0: Positive = 10.0,
) -> Attack:
    """Every Byzantine row is the honest mean minus gamma times a direction, with a bound on its summed distances.

    ```text
    g_byz = mu - gamma p;    gamma = the largest with  sum_i ||g_byz - g_i||^2 <= max_j sum_i ||g_i - g_j||^2
    ```

    Args:
        direction: p, "unit" for mu / ||mu||, "sign" for the sign of mu, or "std" for the standard deviation (ddof = 1);
            static.
        bound: the "max" over j as above, which the paper states, or the "min", which the official notebooks compute;
            static.
        line_search: "halving" or "exact", as in `min_max`; static.
        gamma0: where "halving" starts; traced. The authors' notebooks: 10 (or 30).

    Cost:
        O(md) for the terms of the quadratic, O(m^2 d) for the distances of honest rows; no cost in d for a tried gamma.

    Notes:
        All i, j are honest workers. With a zero direction, or a bound below the sum of distances of mu, every Byzantine
        row is mu. "halving" tries at most 50 gammas.

    References:
        Shejwalkar and Houmansadr, "Manipulating the Byzantine: optimizing model poisoning attacks and defenses
        for federated learning", NDSS 2021. The default direction is that of the authors' notebooks.
    """

    def vector(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, " d"]:
        del ctx
        mean = masked_mean(updates, ~byz)
        p = perturbation(direction, updates, byz, mean)
        a, _, c = shift_terms(updates, mean, p)  # the sum of b over honest rows is 0
        both = ~byz[:, None] & ~byz[None]
        sums = jnp.where(both, sq_distances(updates, mean), 0.0).sum(axis=1)
        allowed = sums.max() if bound == "max" else jnp.where(byz, jnp.inf, sums).min()
        spread, n = jnp.where(byz, 0.0, a).sum(), (~byz).sum()
        exact = jnp.sqrt(jnp.maximum(allowed - spread, 0.0) / jnp.where(c > 0, n * c, 1.0))
        gamma = (
            exact
            if line_search == "exact"
            else largest_step(lambda g: spread + n * g * g * c <= allowed, updates, gamma0)
        )
        return mean - jnp.where(c > 0, gamma, 0.0) * p

    return colluding(vector)


SPEC = Spec(
    min_sum,
    source="Shejwalkar and Houmansadr, NDSS 2021",
    traits=frozenset({"collusive"}),
    variants=(
        Variant("paper", {}, "at most the largest sum of distances of an honest row", "the paper; FLPoison"),
        Variant("ndss21", {"bound": "min"}, "at most the smallest such sum", "the authors' notebooks"),
        Variant(
            "std", {"direction": "std"}, "p = the standard deviation", "the paper; the notebooks: with the smallest sum"
        ),
        Variant("exact", {"line_search": "exact"}, "the largest gamma in closed form", "byzsim"),
    ),
)
