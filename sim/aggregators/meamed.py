"""Mean around the median."""

from typing import Literal

import jax.numpy as jnp

from sim.ops import middle_ranks, midpoint, nearest_start, sorted_rows, window, window_share
from sim.types import Aggregator, Entry, Reading, checked, stateless


@checked
def meamed(*, middle: Literal["mean", "lower"] = "mean") -> Aggregator:
    """Mean of every coordinate's m - f values that are nearest to its median.

        g_c = (1 / (m - f)) sum over the m - f smallest |g_ic - median_c| of g_ic

    Args:
        middle: the median of an even m, "mean" of the two middle values or the "lower" one (torch.median). Static.
    Tolerates: f <= (m - 1) // 2.
    Cost: O(md log^2 m) by sorting over the workers; a copy of the matrix.
    Choices: of two values equally near the median on either side the smaller is taken. f above (m - 1) // 2 counts as
        that. NaN counts as +inf. `Info.weight` is a worker's share of all entries that lie between the smallest and the
        largest value averaged in their coordinate, both included.
    References: Xie, Koyejo, Gupta, "Generalized Byzantine-tolerant SGD", 2018, arXiv 1802.10116.
    """

    def rule(grads, rnd):
        m = len(grads)
        ordered = sorted_rows(grads)
        low, high = (ordered[rank] for rank in middle_ranks(m))
        count = m - jnp.minimum(rnd.f, (m - 1) // 2)
        start = nearest_start(ordered, low if middle == "lower" else midpoint(low, high), count)
        return window(ordered, start, count), window_share(grads, ordered, start, count)

    return stateless(rule)


ENTRY = Entry(
    meamed,
    source="Xie et al., 2018, arXiv 1802.10116",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "average", "coordinatewise"}),
    cost="m d",
    readings=(
        Reading(
            "xie2018",
            {"middle": "mean"},
            "the median of an even m is the mean of the two middle values",
            "Xie et al. 2018",
        ),
        Reading(
            "byzantine_momentum",
            {"middle": "lower"},
            "the median of an even m is the lower of the two middle values",
            "LPD-EPFL/ByzantineMomentum, byzpy",
        ),
    ),
)
