"""SignGuard: gradients of ordinary length whose signs are balanced as those of the largest group."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops import midpoint, uniform_weights, varying_as, weighted_sum
from byzsim.ops.rows import HIGHEST, squared
from byzsim.options import Count, Positive, checked
from byzsim.types import Aggregator, Context, Spec, Traced, Variant, stateless
from jaxtyping import Array, Bool, Float, Int

SLACK = 1e-5  # two distances that differ by less are equal; features lie in [0, 1] and are often multiples of 1/w


@checked
def signguard(
    *,
    low: Traced = 0.1,
    high: Traced = 3.0,
    part: Count = 10,
    bandwidth: Positive | Literal["auto"] = "auto",
    iterations: Count = 50,
    variant: Literal["xu2022", "code"] = "xu2022",
) -> Aggregator:
    """Mean of the gradients of ordinary norm in the largest cluster by signs, clipped to the median norm.

    ```text
    M  = median_i ||g_i||;    S1 = {i : low M < ||g_i|| < high M}
    x_i = fractions of positive, zero and negative entries of g_i, over w = max(d // part, 1) adjacent coordinates
    S2 = the largest cluster of the x_i by mean shift
    g  = mean over S1 and S2 of g_i min(1, M / ||g_i||)
    ```

    Mean shift has a flat kernel, as scikit-learn's, with the bandwidth h. Distances are Euclidean, and "within h" means
    a distance <= h + 1e-5:

    1. There is a seed for each worker, x_i. Up to `iterations` times, a seed moves to the mean of the points within h
       of it. It stops after a move of at most 1e-3 h, or where there is no point, and keeps the number of points within
       h before its last move. A seed that found none is dropped.
    2. The seeds have an order: most points first; then by first, second, third coordinate, each times 1e4 and rounded
       to an integer (ties to even), largest first; then by worker index. In this order, each seed that is not dropped
       is a centre, and drops all later seeds within h of it.
    3. A point belongs to the first centre, in this order, whose distance is at most 1e-5 above that of its nearest
       centre, if that nearest one is within h; otherwise to none. S2 are the points of the centre that has most; of
       equals, the first.

    Args:
        low: lower bound of the norms, strict, in median norms; traced. Paper and code: 0.1.
        high: upper bound of the norms, strict, in median norms; traced. Paper and code: 3.
        part: the window has one in `part` coordinates; static. Paper and code: 10.
        bandwidth: h; traced. "auto" is scikit-learn's estimate_bandwidth with quantile 0.5 (code): the mean over points
            of the distance to the k-th nearest point, itself being the first, k = max(n // 2, 1) of n points.
        iterations: largest number of moves of a seed; static. With a flat kernel and few points ten are enough
            (scikit-learn: 300).
        variant: "xu2022" as above. "code", the authors' own, differs in three things. Each column of x is divided by
            1e-8 plus its maximum over workers. Seeds are scikit-learn's bins, x_i / h rounded to integers (ties to
            even) times h; but the x_i if no two of these are equal, or if h = 0. Rows are clipped to the lower middle
            norm of an even number of them, while S1 keeps to the mean of the two middle ones. Static.

    Tolerates:
        f <= (m - 1) // 2 (the paper's experiments). A group of attackers with equal signs may be the largest cluster.

    Cost:
        O(md), two reads; O(m^2) for each move of the seeds.

    Notes:
        The window starts at jax.random.randint(ctx.key, (), 0, max(d - w, 1)), as in the code, which never takes the
        last coordinate. The median of an even number of norms is the mean of the two middle ones. Rows that are not
        usable (`ops.usable_rows`) are left out of the median, of points and seeds and of n (the code sets NaN to 0). If
        S1 and S2 have nobody in common, S1 counts; if S1 is empty too, all usable rows (code: NaN; ku: all rows); they
        are clipped all the same. The output is zero if there are none. `Info.weight` is equal for all that are
        averaged, whatever clipping takes from a row. SignGuard-Sim and SignGuard-Dist, which add a similarity to x, are
        not included. The paper does not divide columns by their maxima. For m > 50 the code estimates h on 50 workers;
        here it is estimated on all.

    References:
        Xu, Huang, Song, Lan, "Byzantine-robust federated learning through collaborative malicious gradient
        filtering", ICDCS 2022.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        # M and S1: the median norm, and the rows of ordinary norm
        squares = squared(grads)
        usable = jnp.isfinite(squares)
        positive = usable & (squares > 0)
        norm = jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)
        lower, median = _median(norm, usable)
        ordinary = usable & (norm > low * median) & (norm < high * median)
        # x_i: fractions of signs in a window of adjacent coordinates, drawn anew each step
        window = max(grads.shape[1] // part, 1)
        start = jax.random.randint(ctx.key, (), 0, max(grads.shape[1] - window, 1))
        signs = jax.lax.dynamic_slice_in_dim(grads, start, window, axis=1)
        points = _fractions(signs, usable, relative=variant == "code")
        # S2: the largest cluster of the x_i
        h = _bandwidth(points, usable) if bandwidth == "auto" else bandwidth
        majority = _largest_cluster(points, usable, h, iterations, bins=variant == "code")
        # whom to average: S1 and S2, else S1, else all that are usable
        either = jnp.where(ordinary.any(), ordinary, usable)
        kept = jnp.where((ordinary & majority).any(), ordinary & majority, either)
        # clipped to the median norm, in the authors' code to the lower middle one
        longest = lower if variant == "code" else median
        factor = jnp.where(norm > longest, longest / jnp.where(positive, norm, 1.0), 1.0)
        return weighted_sum(uniform_weights(kept) * factor, grads), uniform_weights(kept)

    return stateless(rule)


def _median(norm: Float[Array, " m"], usable: Bool[Array, " m"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The lower middle and the median of usable rows' norms; 0 if there are none."""
    ordered, n = jnp.sort(jnp.where(usable, norm, jnp.inf)), usable.sum()
    lower, upper = ordered[jnp.maximum(n - 1, 0) // 2], ordered[jnp.minimum(n // 2, len(norm) - 1)]
    return jnp.where(n > 0, lower, 0.0), jnp.where(n > 0, midpoint(lower, upper), 0.0)


def _fractions(signs: Float[Array, "m w"], usable: Bool[Array, " m"], *, relative: bool) -> Float[Array, "m 3"]:
    """Shares of positive, zero and negative entries; 0 for rows that are not usable."""
    counts = jnp.stack([(signs > 0).sum(axis=1), (signs == 0).sum(axis=1), (signs < 0).sum(axis=1)], axis=1)
    points = jnp.where(usable[:, None], counts / signs.shape[1], 0.0).astype(signs.dtype)
    return points / (points.max(axis=0, keepdims=True) + 1e-8) if relative else points


def _distances(a: Float[Array, "n 3"], b: Float[Array, "m 3"]) -> Float[Array, "n m"]:
    return jnp.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=-1))


def _bandwidth(points: Float[Array, "m 3"], usable: Bool[Array, " m"]) -> Float[Array, ""]:
    """The mean distance of usable points to their k-th nearest, themselves the first, k half of their number."""
    n = usable.sum()
    near = jnp.sort(jnp.where(usable[None], _distances(points, points), jnp.inf), axis=1)[:, jnp.maximum(n // 2, 1) - 1]
    return jnp.where(usable, near, 0.0).sum() / jnp.maximum(n, 1)


def _largest_cluster(
    points: Float[Array, "m 3"], usable: Bool[Array, " m"], h: Traced, iterations: int, *, bins: bool
) -> Bool[Array, " m"]:
    """The members of the largest cluster by mean shift, in the three steps of `signguard`."""
    # 1. where each seed comes to rest, and the number of points within h before its last move
    seeds, count = _shifted(_binned(points, usable, h) if bins else points, points, usable, h, iterations)
    # 2. the order of seeds (lexsort: the last key counts first)
    first, second, third = jnp.round(-1e4 * seeds).T
    seeds_first = jnp.lexsort((third, second, first, -count))
    seeds, alive = seeds[seeds_first], (count > 0)[seeds_first]
    near = _distances(seeds, seeds) <= h + SLACK

    # each seed in this order that is not dropped is a centre, and drops all later seeds within h
    def drop(alive, i):
        return jnp.where(alive[i], alive & ~(near[i] & (jnp.arange(len(alive)) > i)), alive), None

    centre, _ = jax.lax.scan(drop, alive, jnp.arange(len(seeds)))
    # 3. the centre of each point: the first that is as near as the nearest, if that one is within h
    distance = jnp.where(centre[None], _distances(points, seeds), jnp.inf)
    nearest = distance.min(axis=1, keepdims=True)
    own = jnp.argmax(distance <= nearest + SLACK, axis=1)
    member = usable & (nearest[:, 0] <= h + SLACK)
    # S2: the largest cluster; argmax takes the first of equals
    sizes = (member[:, None] & (own[:, None] == jnp.arange(len(seeds))[None])).sum(axis=0)
    return member & (own == jnp.argmax(sizes))


def _binned(points: Float[Array, "m 3"], usable: Bool[Array, " m"], h: Traced) -> Float[Array, "m 3"]:
    """Points rounded to multiples of h; the points themselves if that brings no two of them together."""
    rounded = jnp.where(h > 0, jnp.round(points / jnp.where(h > 0, h, 1.0)), points)
    same = (rounded[:, None] == rounded[None]).all(axis=-1) & usable[None] & usable[:, None]
    return jnp.where((h > 0) & jnp.triu(same, k=1).any(), rounded * h, points)


def _shifted(
    seeds: Float[Array, "m 3"], points: Float[Array, "m 3"], usable: Bool[Array, " m"], h: Traced, iterations: int
) -> tuple[Float[Array, "m 3"], Int[Array, " m"]]:
    """Where the seeds come to rest, and how many points were within h of each before its last move."""

    def move(carry):
        centre, count, active = carry
        # a flat kernel: all points within h count alike
        within = (_distances(centre, points) <= h + SLACK) & usable[None]
        found = within.sum(axis=1, dtype=jnp.int32)
        mean = jnp.einsum("sm,mk->sk", within.astype(points.dtype), points, precision=HIGHEST)
        mean = mean / jnp.maximum(found, 1)[:, None]
        # a seed that moves by no more than 1e-3 h is at rest, and one without points stays where it is
        far = jnp.sqrt(((mean - centre) ** 2).sum(axis=-1)) > 1e-3 * h
        moving = active & (found > 0)
        return jnp.where(moving[:, None], mean, centre), jnp.where(active, found, count), moving & far

    def step(carry, _):
        return jax.lax.cond(carry[2].any(), move, lambda carry: carry, carry), None

    start = (seeds, jnp.zeros(len(seeds), jnp.int32), usable)
    (centre, count, _), _ = jax.lax.scan(step, varying_as(start, seeds), length=iterations)
    return centre, count


SPEC = Spec(
    signguard,
    source="Xu et al., ICDCS 2022",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "scale", "consensus", "filter", "stochastic", "whole_rows"}),
    cost="m d + m^2",
    variants=(
        Variant("xu2022", {"variant": "xu2022"}, "clusters of plain fractions", "Xu et al. 2022"),
        Variant(
            "code",
            {"variant": "code"},
            "fractions relative to the largest; seeds in bins; clipped to the lower middle norm",
            "JianXu95/SignGuard; CRYPTO-KU/FL-Byzantine-Library",
        ),
    ),
)
