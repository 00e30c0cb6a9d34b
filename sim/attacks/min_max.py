"""As far away as the two honest rows that are farthest apart."""

from typing import Literal

import jax.numpy as jnp
from byzsim.attacks._search import largest_step, perturbation, shift_terms
from byzsim.ops import masked_mean, sq_distances
from byzsim.options import Positive, checked
from byzsim.types import Attack, Context, Spec, Variant, colluding
from jaxtyping import Array, Bool, Float


@checked
def min_max(
    *,
    direction: Literal["unit", "sign", "std"] = "unit",
    line_search: Literal["halving", "exact"] = "halving",
    gamma0: Positive = 10.0,
) -> Attack:
    """Every Byzantine row is the honest mean minus gamma times a direction, near enough to every honest row.

    ```text
    g_byz = mu - gamma p;    gamma = the largest with  max_i ||g_byz - g_i||^2 <= max_ij ||g_i - g_j||^2
    ```

    Args:
        direction: p, "unit" for mu / ||mu||, "sign" for the sign of mu, or "std" for the standard deviation (ddof = 1);
            static.
        line_search: how gamma is found; static. "halving" is the authors' loop: gamma = gamma0 and step = gamma0 / 2
            first; then, while gamma differs from the last allowed gamma (0 at first) by more than 1e-5, an allowed
            gamma grows by the step, another shrinks by it, and the step is halved. The last allowed gamma counts, which
            is at most 2 gamma0. "exact": the smallest root of the quadratics ||mu - gamma p - g_i||^2 = allowed, over
            honest i.
        gamma0: where "halving" starts; traced. The authors' notebooks: 10 (or 30).

    Cost:
        O(md) for the terms of the quadratics, O(m^2 d) for the distances of honest rows; no cost in d for a tried
        gamma.

    Notes:
        All i, j are honest workers. With a zero direction every Byzantine row is mu. "halving" tries at most 50 gammas.

    References:
        Shejwalkar and Houmansadr, "Manipulating the Byzantine: optimizing model poisoning attacks and defenses
        for federated learning", NDSS 2021. The default direction is that of the authors' notebooks.
    """

    def vector(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, " d"]:
        del ctx
        mean = masked_mean(updates, ~byz)
        p = perturbation(direction, updates, byz, mean)
        a, b, c = shift_terms(updates, mean, p)
        both = ~byz[:, None] & ~byz[None]
        allowed = jnp.where(both, sq_distances(updates, mean), 0.0).max()
        roots = (b + jnp.sqrt(jnp.maximum(b * b + c * (allowed - a), 0.0))) / jnp.where(c > 0, c, 1.0)
        exact = jnp.where(byz, jnp.inf, roots).min()

        def fits(gamma):
            return jnp.where(byz, -jnp.inf, a - 2 * gamma * b + gamma * gamma * c).max() <= allowed

        gamma = exact if line_search == "exact" else largest_step(fits, updates, gamma0)
        return mean - jnp.where(c > 0, gamma, 0.0) * p

    return colluding(vector)


SPEC = Spec(
    min_max,
    source="Shejwalkar and Houmansadr, NDSS 2021",
    traits=frozenset({"collusive"}),
    variants=(
        Variant("ndss21", {}, "p = mu / ||mu||, halving from 10", "the authors' notebooks"),
        Variant("sign", {"direction": "sign"}, "p = sign(mu)", "Shejwalkar and Houmansadr 2021"),
        Variant("std", {"direction": "std"}, "p = the standard deviation", "Shejwalkar and Houmansadr 2021"),
        Variant("exact", {"line_search": "exact"}, "the largest gamma in closed form", "byzsim"),
    ),
)
