"""Directed deviation against Krum."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops import masked_mean, norms, rank_by_score, sq_distances, varying_as
from byzsim.ops.krum import krum_scores
from byzsim.ops.rows import HIGHEST
from byzsim.options import Natural, checked
from byzsim.types import Attack, Context, Spec, Traced, Variant, colluding
from jaxtyping import Array, Bool, Float, Int


@checked
def fang_krum(
    *,
    selected_by: Literal["krum", "rule_in_use"] = "krum",
    base: Literal["zero", "mean"] = "zero",
    threshold: Traced = 1e-5,
    halvings: Natural = 40,
) -> Attack:
    """Every Byzantine row goes against the sign of the honest mean, as far as Krum still selects one of them.

    ```text
    g_byz = w - lambda s,   s = sign(mu),   lambda the first of lambda_0, lambda_0 / 2, lambda_0 / 4, ... that is
        below the threshold or with which Krum selects a Byzantine row
    lambda_0 = min_i (sum of the m - c - 2 smallest ||g_i - g_j||, j != i) / (max(m - 2c - 1, 1) sqrt(d))
               + max_i ||g_i - w|| / sqrt(d),    c = n_byz;  i, j honest
    ```

    Args:
        selected_by: who selects. "krum": Krum (Blanchard et al. 2017: squared distances to the m - f - 2 nearest
            others, at least one) with the declared f, whatever rule is in use; of equal scores the lowest index.
            "rule_in_use": the rule in use, which selects a Byzantine row if its aggregate equals g_byz in every
            coordinate. Static.
        base: w; static. "zero": in the paper w is the model before the step, whose gradient is zero. "mean": the honest
            mean, as in later attacks on Krum that were derived from this one.
        threshold: smallest lambda that is tested, in gradient units; traced. The paper: 1e-5.
        halvings: largest number of halvings; the last lambda is then sent. Static; 40 halvings take 1e7 down to 1e-5.

    Cost:
        O(m^2 d) once and O(m^2 log m) for each lambda; with "rule_in_use" one aggregation for each lambda.

    Notes:
        mu is over the honest rows; the authors take it over all workers' honest gradients. All Byzantine rows are
        equal: the paper lets the others lie within a small distance of the first, and solves for equal ones. A lambda
        below the threshold is sent without a test. Of fewer than m - c - 2 honest others all are counted, and always at
        least one; where there is none, or the sum is not finite, it is 0. lambda_0 is computed as in two public codes;
        the notebooks of Shejwalkar and Houmansadr (NDSS 2021) count m - 2c - 2 neighbours. The coordinates where mu is
        0 stay at w.

    References:
        Fang, Cao, Jia, Gong, "Local model poisoning attacks to Byzantine-robust federated learning", USENIX
        Security 2020 (arXiv 1911.11815).
    """

    def vector(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, " d"]:
        mean = masked_mean(updates, ~byz)
        sign = jnp.sign(mean)
        centre = mean if base == "mean" else jnp.zeros_like(mean)
        honest = jnp.where(byz[:, None], 0.0, updates - centre[None])
        squared = sq_distances(honest)
        by_krum = _krum_selects(honest, squared, byz, sign, ctx.f)

        def by_rule(size: Float[Array, ""]) -> Bool[Array, ""]:
            forged = centre - size * sign
            return (ctx.aggregate(jnp.where(byz[:, None], forged, updates)) == forged).all()

        first = _upper_bound(honest, squared, byz)
        size = _halved(first, by_krum if selected_by == "krum" else by_rule, threshold, halvings)
        return centre - size * sign

    return colluding(vector)


def _krum_selects(
    honest: Float[Array, "m d"],
    squared: Float[Array, "m m"],
    byz: Bool[Array, " m"],
    sign: Float[Array, " d"],
    f: Int[Array, ""] | int,
) -> Callable[[Float[Array, ""]], Bool[Array, ""]]:
    """A function: lambda -> whether Krum selects a Byzantine row when these are -lambda * sign.

    Args:
        honest: the rows from w; zero in the place of Byzantine ones.
        squared: their squared distances.
    """
    # ||g_i + lambda s||^2 = ||g_i||^2 + 2 lambda <g_i, s> + lambda^2 ||s||^2: no (m, d) rows for a new lambda
    lengths = jnp.einsum("md,md->m", honest, honest, precision=HIGHEST)
    along = jnp.einsum("md,d->m", honest, sign, precision=HIGHEST)
    entries = jnp.abs(sign).sum()

    def selects(size: Float[Array, ""]) -> Bool[Array, ""]:
        apart = jnp.maximum(lengths + 2 * size * along + size**2 * entries, 0.0)
        apart = jnp.where(jnp.isfinite(apart), apart, jnp.inf)
        # distances of all rows: honest ones from each other, from Byzantine ones, and Byzantine ones from each other
        mixed = jnp.where(byz, apart[:, None], jnp.where(byz[:, None], apart, squared))
        mixed = jnp.where(byz[None] & byz[:, None], 0.0, mixed)
        score = krum_scores(mixed, f, "blanchard2017", alive=jnp.ones_like(byz))
        return byz[jnp.argmin(rank_by_score(score, jnp.isfinite(jnp.diagonal(mixed))))]

    return selects


def _upper_bound(honest: Float[Array, "m d"], squared: Float[Array, "m m"], byz: Bool[Array, " m"]) -> Float[Array, ""]:
    """lambda_0, where the search starts."""
    m, d = honest.shape
    nearest = krum_scores(squared, 0, "torchjd", alive=~byz).min()  # distances to the r - 2 nearest of r honest rows
    nearest = jnp.where(jnp.isfinite(nearest), nearest, 0.0)
    return (nearest / jnp.maximum(m - 2 * byz.sum() - 1, 1) + norms(honest).max()) / d**0.5


def _halved(
    first: Float[Array, ""],
    selects: Callable[[Float[Array, ""]], Bool[Array, ""]],
    threshold: Traced,
    halvings: int,
) -> Float[Array, ""]:
    """The first of `first`, first / 2, ... that is below the threshold or is selected; the last one if none."""

    def varied(selected: Bool[Array, ""] | bool) -> Bool[Array, ""]:
        return varying_as(jnp.asarray(selected), first)

    def halve(carry, _):
        size, found = carry
        below = found | (size < threshold)
        found = jax.lax.cond(below, lambda _: varied(True), lambda size: varied(selects(size)), size)
        return (jnp.where(found, size, size / 2), found), None

    return jax.lax.scan(halve, (first, varied(False)), length=halvings)[0][0]


SPEC = Spec(
    fang_krum,
    source="Fang et al., USENIX Security 2020",
    traits=frozenset({"collusive"}),
    variants=(
        Variant("fang2020", {}, "w = 0, the current model; Krum selects", "Fang et al. 2020"),
        Variant("around_mean", {"base": "mean"}, "w = mu", "attacks tailored to Krum, after Fang et al."),
        Variant("rule_in_use", {"selected_by": "rule_in_use"}, "the rule in use selects", "ours"),
    ),
)
