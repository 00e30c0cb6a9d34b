"""Static clipping."""

from byzsim.options import NotNegative, checked
from byzsim.preaggregators._clipping import clipped_to
from byzsim.types import PreAggregator, Spec, Variant


@checked
def clipping(*, clip_at: NotNegative = 2.0) -> PreAggregator:
    """Every row longer than a fixed length is scaled down to that length.

    ```text
    y_i = min(1, c / ||g_i||_2) g_i
    ```

    Args:
        clip_at: the paper's c, in gradient units, at least 0; traced. byzfl: 2.

    Tolerates:
        f <= (m - 1) // 2, with any rule after it that does.

    Cost:
        O(md), three reads.

    Notes:
        A row no longer than c stays as it is, bit for bit. A row that holds a NaN or an infinity, or whose norm exceeds
        the largest float32 (3.4e38), becomes zero. The rule's weights are passed back unchanged: a scaled row counts
        with the weight that the rule gives it. Nothing is drawn; the rule sees the step's own key.

    References:
        Allouah, Guerraoui, Gupta, Jellouli, Rizk, Stephan, "Adaptive gradient clipping for robust federated
        learning", ICLR 2025 (arXiv 2405.14432, first called "The vital role of gradient clipping in
        Byzantine-resilient distributed learning"), where it is the baseline; byzfl's `Clipping`.
    """
    return clipped_to(lambda norms, ctx: clip_at)


SPEC = Spec(
    clipping,
    source="Allouah et al., ICLR 2025 (baseline); byzfl",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "filter", "clips"}),
    cost="m d",
    variants=(Variant("byzfl", {"clip_at": 2.0}, "c = 2", "byzfl 0.0.11"),),
)
