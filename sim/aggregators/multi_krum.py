"""Multi-Krum: the mean of the gradients that are closest to their nearest neighbours."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from byzsim.ops import masked_mean, rank_by_score, sq_distances, uniform_weights
from byzsim.ops.krum import KrumVariant, krum_scores, krum_winners
from byzsim.options import Count, checked
from byzsim.types import Aggregator, Context, Spec, Variant, stateless
from jaxtyping import Array, Float

MultiKrumVariant = Literal["blanchard2017", "byzfl", "byzantine_momentum", "krum", "torchjd", "fedlib", "ndss21"]
VARIANTS: dict[str, tuple[KrumVariant, Callable]] = {
    "blanchard2017": ("blanchard2017", lambda m, f: m - f - 2),
    "byzfl": ("byzfl", lambda m, f: m - f),
    "byzantine_momentum": ("byzantine_momentum", lambda m, f: m - f - 2),
    "krum": ("blanchard2017", lambda m, f: m - 2 * f - 3),
    "torchjd": ("torchjd", lambda m, f: 1),
    "fedlib": ("epfml", lambda m, f: 1),
    "ndss21": ("ndss21", lambda m, f: m - 2 * f - 2),
}
"""Who -> (variant of the score in `krum`, how many rows are averaged by default)."""


@checked
def multi_krum(*, variant: MultiKrumVariant = "blanchard2017", q: Count | None = None) -> Aggregator:
    """Mean of the q gradients with the smallest Krum scores.

    ```text
    s_i = sum of the m - f - k smallest ||g_i - g_j||^p, j != i;    g = mean of the q rows of smallest s_i
    ```

    Args:
        variant: whose p, k and q; static. "blanchard2017" p = 2, k = 2, q = m - f - 2; "byzfl" p = 2, k = 1, q = m - f;
            "byzantine_momentum" p = 1, k = 1, q = m - f - 2; "krum" p = 2, k = 2, q = m - 2f - 3; "torchjd" p = 1, k =
            2, q = 1; "fedlib" p = 4, k = 2, q = 1; "ndss21" p = 2, k = 3, q = m - 2f - 2, which selects the rows one at
            a time: of the r rows left, the one of smallest score over its r - f - k nearest others that are left.
        q: number of rows; static. None: the number of the variant.

    Tolerates:
        f with m >= 2f + 3.

    Cost:
        O(m^2 d) for the Gram matrix, O(m^2 log m) to sort it ("ndss21": O(m^3 log m)).

    Notes:
        At least one row is selected, and a score counts at least one other row. Ties go to the lowest worker index.
        Rows that are not usable (`ops.usable_rows`) are infinitely far from all others and never selected, though m and
        r count them; if fewer than q are usable, the mean is over these, and zero if there are none. The paper leaves q
        open; m - f - 2 is the largest that its authors' code (ByzantineMomentum) allows.

    References:
        Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine learning with adversaries: Byzantine tolerant
        gradient descent", NeurIPS 2017; Shejwalkar, Houmansadr, "Manipulating the Byzantine", NDSS 2021.
    """
    score, default_q = VARIANTS[variant]

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        m = len(grads)
        squared = sq_distances(grads)
        usable = jnp.isfinite(jnp.diagonal(squared))
        count = jnp.maximum(default_q(m, ctx.f) if q is None else q, 1)
        if variant == "ndss21":
            kept = krum_winners(squared, ctx.f, score, count)
        else:
            kept = (rank_by_score(krum_scores(squared, ctx.f, score, jnp.ones(m, bool)), usable) < count) & usable
        return masked_mean(grads, kept), uniform_weights(kept)

    return stateless(rule)


SPEC = Spec(
    multi_krum,
    source="Blanchard et al., NeurIPS 2017",
    max_f=lambda m: max((m - 3) // 2, 0),
    traits=frozenset({"permutation", "translation", "scale", "consensus", "filter"}),
    cost="m^2 d",
    variants=(
        Variant(
            "blanchard2017",
            {"variant": "blanchard2017"},
            "squared distances to m - f - 2 others; the best m - f - 2 rows",
            "Blanchard et al. 2017; the number of rows from ByzantineMomentum; Flower with q (no default there)",
        ),
        Variant(
            "byzfl",
            {"variant": "byzfl"},
            "squared distances to m - f - 1 others; the best m - f rows",
            "byzfl; byzpy with q = m - f (there q has no default)",
        ),
        Variant(
            "byzantine_momentum",
            {"variant": "byzantine_momentum"},
            "distances, not squared, to m - f - 1 others; the best m - f - 2 rows",
            "LPD-EPFL/ByzantineMomentum, Python path",
        ),
        Variant(
            "krum",
            {"variant": "krum"},
            "squared distances to m - f - 2 others; the best m - 2f - 3 rows",
            "krum 0.9.1",
        ),
        Variant(
            "torchjd",
            {"variant": "torchjd"},
            "distances, not squared, to m - f - 2 others; the best row",
            "torchjd, its default number of rows",
        ),
        Variant(
            "fedlib",
            {"variant": "fedlib"},
            "fourth powers of the distances to m - f - 2 others; the best row",
            "fedlib (blades)",
        ),
        Variant(
            "ndss21",
            {"variant": "ndss21"},
            "one at a time while more than 2f + 2 are left, by squared distances to r - f - 3 others of the r left",
            "vrt1shjwlkr/NDSS21-Model-Poisoning",
        ),
    ),
)
