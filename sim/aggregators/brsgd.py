"""BrSGD: keep the gradients that stand with the majority in most coordinates and near the median."""

import operator
from typing import Literal

import jax.numpy as jnp
from byzsim import blocks
from byzsim.ops import (
    masked_mean,
    middle_ranks,
    midpoint,
    order_statistics,
    per_row_sum,
    ranks,
    row_sum,
    uniform_weights,
    usable_rows,
)
from byzsim.options import Fraction, checked
from byzsim.types import Aggregator, Context, Spec, Traced, Variant, stateless
from jaxtyping import Array, Bool, Float, Int

Threshold = Literal["majority", "half"]
Side = Literal["above", "below"]
Empty = Literal["nearest", "c1", "median"]
ScoreTie = Literal["index", "all"]
Middle = Literal["mean", "lower"]
NonFinite = Literal["drop", "keep"]


@checked
def brsgd(
    *,
    variant: Literal["paper", "code"] = "paper",
    beta: Fraction = 0.5,
    threshold: Traced | Threshold = "majority",
    empty: Empty = "nearest",
    at_mean: Side = "above",
    column_tie: Side = "above",
    score_tie: ScoreTie = "index",
    middle: Middle = "mean",
    non_finite: NonFinite = "drop",
) -> Aggregator:
    """Mean of the rows that are near the median and most often on the majority's side of the column means.

    ```text
    a_c  = (1/m) sum_i g_ic                      M_ic = 1 if worker i is on the larger side of a_c, else 0
    s_i  = sum_c M_ic                            C2 = the ceil(beta m) workers of highest s_i
    C1   = {i : ||g_i - g_med||_1 <= 2 T}        g  = mean of g_i over C1 and C2
    ```

    Args:
        variant: "paper" is Algorithm 2 as its prose means it: the listing's index d stands for c, and its minus sign
            for a logical NOT (as printed, each flipped column would only shift all scores alike). "code" is the
            two-level majority that the authors published (github karry520/RobustSGD, December 2021), which has no
            threshold and no median; of the options below only `non_finite` applies to it. Static.
        beta: fraction kept by score; traced. The paper's experiments: 1/2.
        threshold: the paper's T, which it never states. A number is in gradient units, and traced. The names are
            static: "majority", the default, makes 2T the (m // 2 + 1)-th smallest distance to the median, which has no
            unit, and with which C1 meets any C2 of at least m / 2 workers; "half" makes 2T the median of the distances.
        empty: what an empty intersection gives, on which the paper is silent: the member of C2 "nearest" to the median,
            the mean over "c1" (if C1 is empty too, the "nearest"), or the "median" itself. Static.
        at_mean: the side of an entry that equals the column mean; static. The listing's >= says "above".
        column_tie: the side that counts as the larger one when both are equal; static. The listing's < says "above".
        score_tie: at the last kept score, lowest worker "index" first, or keep "all" of that score (paper silent);
            static.
        middle: the median of an even m, the "mean" of the two middle values or the "lower" one (paper silent); static.
        non_finite: "drop" leaves rows that are not usable (`ops.usable_rows`) out of means, counts and sets, and the
            median takes their NaN as +inf. "keep" computes on: such a row spoils the column means, and stays out of the
            output only because its distance is not within any threshold. Static.

    Tolerates:
        f <= (m - 1) // 2 (the paper's alpha < beta <= 1/2; its experiments go to alpha = 1/2 all the same).

    Cost:
        O(md log^2 m) with a sorting network for the median, about four reads.

    References:
        Li, Chen, Dong, Zhang, Wang, Zeng, "Efficient Byzantine-resilient stochastic gradient descent",
        FTL-IJCAI 2021, arXiv 2108.06658.
    """

    def usable_of(grads: Float[Array, "m d"]) -> Bool[Array, " m"]:
        return usable_rows(grads) if non_finite == "drop" else jnp.ones(len(grads), bool)

    def code(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        del ctx
        usable, quarter = usable_of(grads), len(grads) // 4
        mask = _larger_side(grads, _larger_side(grads, usable[:, None]))
        outside = jnp.where(
            usable, blocks.added_up((jnp.abs(grads) - jnp.where(mask, grads, 0.0)).sum(axis=1)), jnp.inf
        )
        first = _top(jnp.where(usable, blocks.added_up(mask.sum(axis=1)), -1), len(grads) - quarter)
        kept = _top(jnp.where(first, -outside, -jnp.inf), len(grads) - 2 * quarter) & first & usable
        return masked_mean(grads, kept), uniform_weights(kept)

    def paper(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        del ctx
        usable, m = usable_of(grads), len(grads)
        low, high = order_statistics(grads, middle_ranks(m))
        median = low if middle == "lower" else midpoint(low, high)
        distance = jnp.where(usable, per_row_sum(lambda entry, centre: jnp.abs(entry - centre), grads, median), jnp.inf)
        score = jnp.where(usable, _score(grads, usable, at_mean, column_tie), -1)
        count = jnp.ceil(beta * m - 1e-4)  # a beta such as 0.3 may stand for 3.0000001 of 10 workers
        near = (distance <= _two_t(threshold, distance)) & usable
        top = _top(score, count, ties=score_tie == "all") & usable
        both = near & top
        closest = ranks(jnp.where(top, distance, jnp.inf)) == 0
        nearest = closest & top
        instead = {"nearest": nearest, "c1": jnp.where(near.any(), near, nearest), "median": usable}[empty]
        kept = jnp.where(both.any(), both, instead)
        mean = masked_mean(grads, kept)
        return jnp.where((empty != "median") | both.any(), mean, median), uniform_weights(kept)

    return stateless(paper if variant == "paper" else code)


def _score(grads: Float[Array, "m d"], usable: Bool[Array, " m"], at_mean: Side, column_tie: Side) -> Int[Array, " m"]:
    """In how many columns each row is on the larger side of the column mean, counted over usable rows."""
    over = operator.ge if at_mean == "above" else operator.gt
    more = operator.ge if column_tie == "above" else operator.gt
    average = masked_mean(grads, usable)
    above = row_sum(lambda counts, row: (counts & over(row, average)).astype(jnp.int32), usable, grads)
    upper_wins = more(2 * above, usable.sum())

    def votes(entry: Array, average: Array, upper_wins: Array) -> Array:
        return (over(entry, average) == upper_wins).astype(jnp.int32)

    return per_row_sum(votes, grads, average, upper_wins)


def _larger_side(grads: Float[Array, "m d"], among: Bool[Array, "m _"]) -> Bool[Array, "m d"]:
    """The entries of `among` on their column mean's larger side: those up to it if strictly more, else the rest."""
    count = row_sum(lambda inside: inside.astype(jnp.int32), among)
    average = row_sum(lambda inside, row: jnp.where(inside, row, 0.0), among, grads) / jnp.maximum(count, 1)
    below = among & (grads <= average[None])
    return jnp.where(2 * row_sum(lambda low: low.astype(jnp.int32), below) > count, below, among & ~below)


def _two_t(threshold: Traced | Threshold, distance: Float[Array, " m"]) -> Float[Array, ""] | float:
    """The largest L1 distance to the median that passes constraint 1."""
    if not isinstance(threshold, str):
        return 2 * threshold
    low, high = middle_ranks(len(distance))
    ordered = distance[jnp.argsort(distance)]
    return ordered[len(distance) // 2] if threshold == "majority" else (ordered[low] + ordered[high]) / 2


def _top(score: Array, count: Array | int, *, ties: bool = False) -> Bool[Array, " m"]:
    """The `count` highest scores, lowest index first among equals; with `ties` also all equal to the last of them."""
    kept = ranks(-score) < count
    return score >= jnp.where(kept, score, score.max()).min() if ties else kept


SPEC = Spec(
    brsgd,
    source="Li et al., FTL-IJCAI 2021, arXiv 2108.06658",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"translation", "scale", "consensus", "filter"}),  # equal scores go by worker index
    cost="m d",
    variants=(
        Variant(
            "paper",
            {"variant": "paper"},
            "votes of the columns' larger sides, and distances to the median",
            "Li et al. 2021",
        ),
        Variant(
            "code",
            {"variant": "code"},
            "a majority of a majority in each column, and what of a row is outside of it; no median, no threshold",
            "karry520/RobustSGD, the authors' code",
        ),
    ),
)
