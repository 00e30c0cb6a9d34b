"""Adaptive robust clipping."""

import jax.numpy as jnp
from byzsim.preaggregators._clipping import clipped_to
from byzsim.types import Context, PreAggregator, Spec
from jaxtyping import Array, Float


def arc() -> PreAggregator:
    """The longest rows are scaled down to the length of the next longest one.

    ```text
    n_(1) <= ... <= n_(m) the norms ||g_i||_2 in order;    k = floor(2 (f / m) (m - f)),    C = n_(m - k)
    y_i = min(1, C / ||g_i||_2) g_i
    ```

    Tolerates:
        f <= (m - 1) // 2, with any rule after it that does.

    Cost:
        O(md), three reads; O(m log m) to sort the norms.

    Notes:
        k is computed in whole numbers, (2 f (m - f)) // m, so rounding never changes it (byzfl uses floats). With f = 0
        no row is scaled. Rows as long as C stay as they are, bit for bit, so ties need no order. A row that holds a NaN
        or an infinity, or whose norm exceeds the largest float32 (3.4e38), has the norm +inf and becomes zero; but if C
        is +inf too (more than k such rows), no row is scaled and the rule sees all rows as they are. The rule's weights
        are passed back unchanged. Nothing is drawn; the rule sees the step's own key.

    References:
        Allouah, Guerraoui, Gupta, Jellouli, Rizk, Stephan, "Adaptive gradient clipping for robust federated
        learning", ICLR 2025 (arXiv 2405.14432, first called "The vital role of gradient clipping in
        Byzantine-resilient distributed learning").
    """

    def limit(norms: Float[Array, " m"], ctx: Context) -> Float[Array, ""]:
        m = len(norms)
        return jnp.sort(norms)[m - 1 - 2 * ctx.f * (m - ctx.f) // m]

    return clipped_to(limit)


SPEC = Spec(
    arc,
    source="Allouah et al., ICLR 2025, arXiv 2405.14432",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "scale", "consensus", "average", "filter", "clips"}),
    cost="m d",
)
