"""Iterative filtering: weights fall along the top eigenvector until the covariance is as small as honest work's."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim import blocks
from byzsim.ops import usable_rows, varying_as, weighted_sum
from byzsim.ops.spectra import SHRINK, deviation_gram, downweight, top_direction
from byzsim.options import NotNegative, Positive, checked
from byzsim.types import Aggregator, Context, Spec, Variant, stateless
from jaxtyping import Array, Bool, Float


@checked
def iterative_filtering(
    *,
    sigma: NotNegative | Literal["auto"] = "auto",
    expansion: Positive = 20.0,
    variant: Literal["su_xu2018", "rcl"] = "su_xu2018",
) -> Aggregator:
    """Mean with weights that fall along the top eigenvector until the covariance is below a bound.

    ```text
    c_i = 1;    repeat:
        mu = sum_i c_i g_i / sum_i c_i;      Sigma = sum_i c_i (g_i - mu)(g_i - mu)^T / sum_i c_i;
        lambda, v = top eigenvalue and unit eigenvector of Sigma;    if lambda <= expansion sigma^2: stop;
        tau_i = <g_i - mu, v>^2;    c_i <- c_i (1 - tau_i / max tau),  the maximum over rows with c_i > 0
    g = sum_i c_i g_i / sum_i c_i
    ```

    Args:
        sigma: root of the top eigenvalue of the honest gradients' covariance, in gradient units; traced. With the
            variant "rcl" it is the eigenvalue itself, in squared units. The papers take it as known. "auto", the
            default, is byzsim's own and has no unit: sigma^2 (with "rcl": sigma) is the median over pairs i < j of
            ||g_i - g_j||^2 / (2 min(n - 1, d)) over the n usable rows, the lower middle of an even number of pairs,
            min(n - 1, d) at least 1. It is an average of the eigenvalues that are not 0, which f < m / 4 workers cannot
            move far, since most pairs are honest. It is 0 if n < 2.
        expansion: factor of the bound; traced; 20 (Steinhardt's thesis, as in rcl).
        variant: "su_xu2018" as above, with as many rounds as it takes, at most m - 1. "rcl" is the function filterL2 of
            robust-collaborative-learning: it stops if lambda^2 <= expansion sigma^2, and after min(2f, m - 1) rounds
            whatever lambda is. Static.

    Tolerates:
        f < m / 4.

    Cost:
        O(m^2 d + m d log^2 m) once, and O(m^3) in each round; m - 1 are compiled.

    Notes:
        A factor 1 - tau_i / max tau below 1e-5 becomes 0, so that copies of the farthest row leave with it; at least
        one row leaves in each round. rcl also deletes that row, one in each round, which is the same but for its
        copies. If max tau = 0 the weights stay. Rows that are not usable (`ops.usable_rows`) start with c_i = 0; the
        output is zero if there are no others. The steps are as in rcl. Derivatives treat v as a constant.

    References:
        Su, Xu, "Securing distributed gradient descent in high dimensional statistical learning", SIGMETRICS
        2019 (arXiv 2018). Yin, Chen, Ramchandran, Bartlett, "Defending against saddle point attack in Byzantine-robust
        distributed learning", ICML 2019. Steinhardt, "Robust learning: information theory and algorithms", thesis,
        Stanford 2018.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        m, d, usable = len(grads), blocks.width(grads.shape[1]), usable_rows(grads)
        gram = deviation_gram(grads, usable)
        if variant == "rcl":
            size = _typical(gram, usable, d) if sigma == "auto" else abs(sigma) * SHRINK**2
            bound, rounds = jnp.sqrt(expansion) * size, 2 * ctx.f
        else:
            size = _typical(gram, usable, d) if sigma == "auto" else (sigma * SHRINK) ** 2
            bound, rounds = expansion * size, m

        def filtered(c):
            eigenvalue, tau = top_direction(gram, c)
            within = eigenvalue <= bound
            return jnp.where(within, c, downweight(c, tau)), within

        def step(carry, i):
            c, done = carry
            return jax.lax.cond(done | (i >= rounds), lambda c: (c, done), filtered, c), None

        begun = varying_as((usable.astype(grads.dtype), jnp.asarray(False)), grads)
        (c, _), _ = jax.lax.scan(step, begun, jnp.arange(m - 1))
        weight = c / jnp.maximum(c.sum(), 1e-30)
        return weighted_sum(weight, grads), weight

    return stateless(rule)


def _typical(gram: Float[Array, "m m"], usable: Bool[Array, " m"], d: int) -> Float[Array, ""]:
    """Half the median squared distance of usable pairs, spread over the dimensions that they span; 0 without pairs."""
    norms = jnp.diagonal(gram)
    pair = jnp.triu(usable[None] & usable[:, None], k=1)
    distances = jnp.where(pair, jnp.maximum(norms[:, None] + norms[None] - 2 * gram, 0.0), jnp.inf)
    median = jnp.sort(distances, axis=None)[jnp.maximum(pair.sum() - 1, 0) // 2]
    return jnp.where(pair.any(), median, 0.0) / (2 * jnp.clip(usable.sum() - 1, 1, d))


SPEC = Spec(
    iterative_filtering,
    source="Su and Xu, SIGMETRICS 2019; Yin et al., ICML 2019",
    max_f=lambda m: (m - 1) // 4,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "filter"}),
    cost="m^2 d + m^4",
    variants=(
        Variant(
            "su_xu2018",
            {"variant": "su_xu2018"},
            "until lambda <= 20 sigma^2",
            "Su and Xu 2018, Yin et al. 2019, Steinhardt 2018",
        ),
        Variant(
            "rcl",
            {"variant": "rcl"},
            "until lambda^2 <= 20 sigma^2, at most 2f rounds",
            "LPD-EPFL/robust-collaborative-learning, filterL2",
        ),
    ),
)
