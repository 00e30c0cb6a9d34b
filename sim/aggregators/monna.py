"""MoNNA: the mean of the gradients nearest to a trusted one."""

import jax.numpy as jnp

from sim.ops import masked_mean, per_row, preference, share, usable_rows
from sim.types import Aggregator, Entry, Reading, checked, stateless


@checked
def monna(*, trusted: int = -1) -> Aggregator:
    """Mean of the m - f gradients nearest to that of a trusted worker, its own among them.

        g = (1 / (m - f)) sum over the m - f smallest ||g_i - g_trusted|| of g_i

    Args:
        trusted: index of that worker; a negative one counts from the end. -1, the last: the engine's Byzantine workers
            are the first unless it is told otherwise. (byzfl: 0.) Static.
    Tolerates: f <= (m - 1) // 2, if the trusted worker is honest (in the paper every honest worker trusts itself).
    Cost: O(md), three reads.
    Choices: the trusted row comes first, then ties go to the lowest worker index; at least one row is kept. Rows
        that are not usable (`ops.usable_rows`) are left out, even where fewer than m - f remain: the mean is then over
        these; zero if there are none. If the trusted row is not usable, all are equally far. An index beyond the
        workers raises ValueError.
    References: Farhadkhani, Guerraoui, Gupta, Hoang, Pinot, Stephan, "Robust collaborative learning with linear
        gradient overhead", ICML 2023.
    """

    def rule(grads, rnd):
        m = len(grads)
        usable = usable_rows(grads)
        if not -m <= trusted < m:
            raise ValueError(f"monna: trusted={trusted} is no index of {m} workers")
        own = range(m)[trusted]
        squared = per_row(lambda row: jnp.square(row - grads[own]).sum(), grads)
        distance = jnp.where(usable & usable[own], squared, jnp.inf).at[own].add(-1.0)  # itself before a copy
        nearest = preference(distance, usable) < jnp.maximum(m - rnd.f, 1)
        kept = nearest & usable
        return masked_mean(grads, kept), share(kept)

    return stateless(rule)


ENTRY = Entry(
    monna,
    source="Farhadkhani et al., ICML 2023",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"translation", "scale", "consensus", "average", "filter"}),
    cost="m d",
    readings=(
        Reading("last", {"trusted": -1}, "the last worker is trusted", "byzsim"),
        Reading("byzfl", {"trusted": 0}, "the first worker is trusted", "byzfl"),
    ),
)
