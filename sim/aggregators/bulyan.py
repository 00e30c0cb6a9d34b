"""Bulyan: Krum again and again, then a mean around the median of what it picked."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops import midpoint, rank_by_score, sorted_rows, sq_distances
from byzsim.ops.krum import KrumVariant, krum_scores, krum_winners
from byzsim.ops.order import at_rank, nearest_window_start, rank_window_mean, rank_window_weights
from byzsim.ops.rows import mix_rows
from byzsim.options import checked
from byzsim.types import Aggregator, Context, Spec, Variant, stateless
from jaxtyping import Array, Bool, Float, Int

Selection = Literal["iterative", "once", "means_drop_best", "iterative_means"]


@checked
def bulyan(
    *,
    selection: Selection = "iterative",
    krum_variant: KrumVariant = "blanchard2017",
    theta: Literal["m-2f", "m-2f-2"] = "m-2f",
    second_stage: Literal["near_median", "trimmed_mean"] = "near_median",
    middle: Literal["mean", "lower"] = "mean",
) -> Aggregator:
    """Theta rows that Krum selects, then in every coordinate the mean of the theta - 2f values nearest their median.

    ```text
    V = theta rows, each by Krum among those not selected before;    theta = m - 2f
    g_c = (1 / (theta - 2f)) sum over the theta - 2f smallest |v_c - median_c(V)|, v in V, of v_c
    ```

    Args:
        selection: how V is made; static. "iterative" selects the row of smallest Krum score among the r rows left, over
            its r - f - k nearest others that are left. "once" selects the theta rows of smallest score among all m. The
            other two put means of several rows into V: for i = 0 ... theta - 1 the mean of the max(m - f - 2 - i, 1)
            usable rows of smallest score that are left (of all usable ones, if fewer are left); then one of the
            averaged rows leaves. In "means_drop_best" the scores are those among all m, and the row of smallest score
            leaves; in "iterative_means" the scores are those among the r rows left, and the row nearest to the mean
            leaves.
        krum_variant: p and k of the Krum score, as `variant` of `krum`; static.
        theta: the size of V; static.
        second_stage: "near_median" as above, or the "trimmed_mean" of V, without its f smallest and f largest values;
            static.
        middle: the median of an even number, the "mean" of the two middle values or the "lower" one; static.

    Tolerates:
        f with m >= 4f + 3.

    Cost:
        O(m^2 d) for the Gram matrix, O(m^3) to select, O(md log^2 m) to sort.

    Notes:
        theta and the number of others in a score are at least 1. In the second stage an f above (theta - 1) // 2 counts
        as that, which leaves one value, or two of an even number. Ties in scores go to the lowest worker index, ties in
        nearness to a mean to the smaller score (krum 0.9.1 leaves both to rounding). Ties do occur: where a score
        counts one other, two rows nearest to each other tie, so the order of workers may count, and two rows are
        equally near to their mean. Of two values equally near the median the smaller is taken (means in V are rounded,
        which may decide such a tie; Flower's argpartition takes either). Rows that are not usable (`ops.usable_rows`)
        are infinitely far from all others and never selected, though m and r count them. If V has only v < theta rows,
        theta is v from then on; the output is zero if V is empty. `Info.weight` is a selected row's share of all
        entries of V that lie between the smallest and the largest value averaged in their coordinate, both included;
        the share of a mean in V is split evenly between its rows.

    References:
        El Mhamdi, Guerraoui, Rouault, "The hidden vulnerability of distributed learning in Byzantium", ICML
        2018.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        m, f = len(grads), ctx.f
        squared = sq_distances(grads)
        # first stage: the rows of V, which of them are there, and whose rows they are made of (origin, a row each)
        size = jnp.maximum(m - 2 * f - (2 if theta == "m-2f-2" else 0), 1)
        if selection == "iterative":
            rows, valid, origin = grads, krum_winners(squared, f, krum_variant, size), jnp.eye(m)
        elif selection == "once":
            rows, valid, origin = grads, _best(squared, f, krum_variant, size), jnp.eye(m)
        else:
            origin = _means(squared, f, krum_variant, size, again=selection == "iterative_means")
            rows, valid = mix_rows(origin, grads), origin.any(axis=1)
        # second stage: what is not in V counts as +inf, so it stands above all windows
        picked = jnp.where(valid[:, None], rows, jnp.inf)
        ordered = sorted_rows(picked)
        place = _second(ordered, valid.sum(), f, second_stage, middle)
        weight = (rank_window_weights(picked, ordered, *place) * valid) @ origin
        return jnp.where(valid.any(), rank_window_mean(ordered, *place), 0.0), weight

    return stateless(rule)


def _best(
    squared: Float[Array, "m m"], f: Int[Array, ""] | int, krum_variant: KrumVariant, size: Int[Array, ""]
) -> Bool[Array, " m"]:
    """The usable ones of the `size` rows of smallest score, as a mask."""
    usable = jnp.isfinite(jnp.diagonal(squared))
    score = krum_scores(squared, f, krum_variant, jnp.ones(len(squared), bool))
    return (rank_by_score(score, usable) < size) & usable


def _means(
    squared: Float[Array, "m m"],
    f: Int[Array, ""] | int,
    krum_variant: KrumVariant,
    size: Int[Array, ""],
    *,
    again: bool,
) -> Float[Array, "m m"]:
    """The weights of the means that make V, a row for each mean; zero in rows from `size` on.

    Args:
        again: scores are those among the rows left, and the row nearest to the mean leaves ("iterative_means").
    """
    m = len(squared)
    usable = jnp.isfinite(jnp.diagonal(squared))
    once = krum_scores(squared, f, krum_variant, jnp.ones(m, bool))
    # exactly symmetric, so that two rows that are each other's nearest have exactly equal scores
    paired = jnp.minimum(squared, squared.T)

    def step(left, i):
        # Krum among the rows left; a row that is not usable stays, as an infinitely far neighbour
        score = krum_scores(paired, f, krum_variant, left | ~usable) if again else once
        place = rank_by_score(jnp.where(left, score, jnp.inf), left)
        # the i-th mean is over the m - f - 2 - i rows of smallest score
        best = (place < jnp.maximum(m - f - 2 - i, 1)) & left
        # the row that leaves: the one of smallest score, or the one nearest to the mean, and of equally near ones the
        # one of smaller score
        leaving = jnp.argmin(place)
        if again:
            spread = jnp.where(best, paired, 0.0).sum(axis=1)  # |g_j - mean of best|^2 but for a factor and a constant
            nearest = best & (spread <= jnp.where(best, spread, jnp.inf).min())
            leaving = jnp.argmin(jnp.where(nearest, place, m))
        weight = jnp.where(i < size, best / jnp.maximum(best.sum(), 1), 0.0)  # V has `size` rows: later ones are empty
        return left & (jnp.arange(m) != leaving), weight

    return jax.lax.scan(step, usable, jnp.arange(m))[1]


def _second(
    ordered: Float[Array, "m d"], size: Int[Array, ""], f: Int[Array, ""] | int, second_stage: str, middle: str
) -> tuple[Int[Array, "..."], Int[Array, ""]]:
    """The values that the second stage averages in each column: (the first rank, how many).

    Args:
        ordered: the columns in order; what is not in V is +inf, behind the `size` values of V.
    """
    lower = jnp.maximum(size - 1, 0) // 2  # rank of the lower middle
    dropped = jnp.minimum(f, lower)  # at least one value stays
    count = jnp.maximum(size - 2 * dropped, 1)
    if second_stage == "trimmed_mean":
        return dropped, count
    low, high = at_rank(ordered, lower), at_rank(ordered, size // 2)
    return nearest_window_start(ordered, low if middle == "lower" else midpoint(low, high), count), count


SPEC = Spec(
    bulyan,
    source="El Mhamdi et al., ICML 2018",
    max_f=lambda m: max((m - 3) // 4, 0),
    traits=frozenset({"translation", "scale", "consensus"}),
    cost="m^2 d",
    variants=(
        Variant(
            "el_mhamdi2018",
            {},
            "m - 2f rows, Krum among those left; mean around their median",
            "El Mhamdi et al. 2018; Flower (strategy)",
        ),
        Variant(
            "flower",
            {"selection": "once"},
            "the m - 2f rows of smallest Krum score among all; mean around their median",
            "Flower (message API)",
        ),
        Variant(
            "krum",
            {"selection": "iterative_means", "theta": "m-2f-2", "second_stage": "trimmed_mean"},
            "m - 2f - 2 Multi-Krum means, each among those left, the row nearest to it leaving; trimmed mean",
            "krum 0.9.1",
        ),
        Variant(
            "byzantine_momentum",
            {"selection": "means_drop_best", "krum_variant": "torchjd", "theta": "m-2f-2", "middle": "lower"},
            "m - 2f - 2 Multi-Krum means, the best row of each leaving, distances not squared; mean around the median",
            "LPD-EPFL/ByzantineMomentum, Python path",
        ),
    ),
)
