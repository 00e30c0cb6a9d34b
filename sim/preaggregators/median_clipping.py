"""Clipping at the workers' median norm."""

import jax.numpy as jnp
from byzsim.preaggregators._clipping import clipped_to
from byzsim.types import Context, PreAggregator, Spec
from jaxtyping import Array, Float


def median_clipping() -> PreAggregator:
    """Every row longer than the median of the norms is scaled down to that length.

    ```text
    C = the lower median of ||g_1||_2, ..., ||g_m||_2;    y_i = min(1, C / ||g_i||_2) g_i
    ```

    Before the mean (`median_clipping+mean`) it is what training code does against a replica that sends too much: no
    constant has to be chosen, and nobody has more influence than a typical replica. `byzsim.robust_pmean(...,
    by_leaf=True)` clips each array of a tree by itself.

    Tolerates:
        f <= (m - 1) // 2, with any rule after it that does. With the mean it bounds what a replica can do, and removes
        none: a row of typical length in a wrong direction stays.

    Cost:
        O(md), three reads; O(m log m) to sort the norms.

    Notes:
        A row no longer than C stays as it is, bit for bit. A row that holds a NaN or an infinity, or whose norm exceeds
        the largest float32 (3.4e38), has the norm +inf and becomes zero; but if C is +inf, since half of the rows are
        of this kind, nothing is cut. The rule's weights are passed back unchanged.
    """

    def limit(norms: Float[Array, " m"], ctx: Context) -> Float[Array, ""]:
        del ctx
        return jnp.sort(norms)[(len(norms) - 1) // 2]

    return clipped_to(limit)


SPEC = Spec(
    median_clipping,
    source="practice of large training runs; in federated learning the median norm is a common limit",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "scale", "consensus", "filter", "clips"}),
    cost="m d",
)
