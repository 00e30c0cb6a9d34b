"""Geometric median of means."""

import numpy as np
from byzsim.aggregators._weiszfeld import weiszfeld
from byzsim.ops import usable_rows
from byzsim.ops.rows import mix_rows
from byzsim.options import Count, Positive, checked
from byzsim.types import Aggregator, Context, Spec, Traced, stateless
from jaxtyping import Array, Float


@checked
def geometric_median_of_means(
    *, size: Count = 2, steps: Count = 100, nu: Positive = 1e-6, tolerance: Traced = 1e-6
) -> Aggregator:
    """The geometric median of the means of groups of consecutive workers.

    ```text
    y_l = mean of g_i over group l;    g = argmin_z sum_l ||z - y_l||
    ```

    Args:
        size: number of workers in a group; static. Group l is the workers l size, ..., l size + size - 1, so there are
            k = ceil(m / size) groups, and the last may be smaller. The paper asks for k = m / size of at least
            2 (1 + epsilon) f and leaves the choice open; 2 keeps most of the tolerance.
        steps: largest number of Weiszfeld steps; static.
        nu: smallest distance that counts in them, in gradient units, above 0; traced.
        tolerance: they end with a step that moves z by at most this times the harmonic mean of the distances; traced.

    Tolerates:
        f <= (ceil(m / size) - 1) // 2, since each Byzantine worker may spoil a group.

    Cost:
        O(md) for the means, O(steps k d) for the steps.

    Notes:
        The first z is the coordinate-wise median of the k means (of an even k the mean of the two middle values; the
        mean of a spoilt group counts as +inf in every coordinate, and a coordinate whose median is not finite starts at
        0). A step is w_l = 1 / max(nu, ||z - y_l||), z <- sum_l w_l y_l / sum_l w_l. A row that is not usable
        (`ops.usable_rows`) spoils its group, which is left out; without any other group the output is zero.
        `Info.weight` of a worker is its group's share in the last step over the group's size. The paper does not say
        how to compute the median, and its variant that first drops means of large norm is not included.

    References:
        Chen, Su, Xu, "Distributed statistical machine learning in adversarial settings: Byzantine gradient
        descent", Proceedings of the ACM on Measurement and Analysis of Computing Systems (POMACS), 2017.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        del ctx
        group = np.arange(len(grads)) // size
        members = (np.arange(group[-1] + 1)[:, None] == group).astype(grads.dtype)
        averaging = members / members.sum(axis=1, keepdims=True)
        means = mix_rows(averaging, grads)
        z, share = weiszfeld(means, usable_rows(means), "median", steps=steps, nu=nu, tolerance=tolerance)
        return z, share @ averaging

    return stateless(rule)


SPEC = Spec(
    geometric_median_of_means,
    source="Chen, Su and Xu, POMACS 2017",
    revision=2,
    max_f=lambda m, size=2: (-(-m // size) - 1) // 2,
    traits=frozenset({"translation", "consensus", "filter"}),
    cost="m d",
)
