"""Krum: the gradient that is closest to its nearest neighbours."""

import jax
import jax.numpy as jnp
from byzsim.ops import rank_by_score, sq_distances
from byzsim.ops.krum import KrumVariant, krum_scores
from byzsim.options import checked
from byzsim.types import Aggregator, Context, Spec, Variant, stateless
from jaxtyping import Array, Float


@checked
def krum(*, variant: KrumVariant = "blanchard2017") -> Aggregator:
    """The gradient with the smallest sum of squared distances to its m - f - 2 nearest others.

    ```text
    s_i = sum of the m - f - k smallest ||g_i - g_j||^p, j != i;    g = g_argmin(s)
    ```

    Args:
        variant: whose power p and count k; static. "blanchard2017" p = 2, k = 2 (the paper); "byzfl" p = 2, k = 1;
            "byzantine_momentum" p = 1, k = 1; "torchjd" p = 1, k = 2; "epfml" p = 4, k = 2; "ndss21" p = 2, k = 3;
            "alie" p = 1, k = 0.

    Tolerates:
        f with m >= 2f + 3 (the paper's p and k).

    Cost:
        O(m^2 d) for the Gram matrix, O(m^2 log m) to sort it.

    Notes:
        A score counts at least one other row and at most all m - 1. Ties go to the lowest worker index: of several
        copies of the selected row (`mimic`) the first alone has the weight, honest or not. Rows that are not usable
        (`ops.usable_rows`) are infinitely far from all others; among rows of infinite score a usable one comes first.
        With p = 4 a distance above 4e9 overflows and is infinite too. The proof needs k = 2; with k = 0 and f Byzantine
        rows every honest row has to count a Byzantine one. The bound on kappa is that of Allouah et al. 2023.

    References:
        Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine learning with adversaries: Byzantine tolerant
        gradient descent", NeurIPS 2017.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        m = len(grads)
        squared = sq_distances(grads)
        usable = jnp.isfinite(jnp.diagonal(squared))
        score = krum_scores(squared, ctx.f, variant, alive=jnp.ones(m, bool))
        best = jnp.argmin(rank_by_score(score, usable))
        return grads[best], jax.nn.one_hot(best, m)

    return stateless(rule)


SPEC = Spec(
    krum,
    source="Blanchard et al., NeurIPS 2017",
    max_f=lambda m: max((m - 3) // 2, 0),
    traits=frozenset({"permutation", "translation", "scale", "consensus", "selects_one", "filter"}),
    cost="m^2 d",
    kappa=lambda m, f: 6 * (1 + f / (m - 2 * f)),
    variants=(
        Variant(
            "blanchard2017",
            {"variant": "blanchard2017"},
            "squared distances to the m - f - 2 nearest others",
            "Blanchard et al. 2017; krum 0.9.1, Flower, CRYPTO-KU, viceroy",
        ),
        Variant(
            "byzfl",
            {"variant": "byzfl"},
            "squared distances to the m - f - 1 nearest others",
            "byzfl, byzpy",
        ),
        Variant(
            "byzantine_momentum",
            {"variant": "byzantine_momentum"},
            "distances, not squared, to the m - f - 1 nearest others",
            "LPD-EPFL/ByzantineMomentum, Python path",
        ),
        Variant(
            "torchjd",
            {"variant": "torchjd"},
            "distances, not squared, to the m - f - 2 nearest others",
            "torchjd",
        ),
        Variant(
            "epfml",
            {"variant": "epfml"},
            "fourth powers of the distances to the m - f - 2 nearest others",
            "epfml/byzantine-robust-optimizer and byzantine-robust-noniid-optimizer, fedlib (blades)",
        ),
        Variant(
            "ndss21",
            {"variant": "ndss21"},
            "squared distances to the m - f - 3 nearest others (itself counted among m - f - 2)",
            "vrt1shjwlkr/NDSS21-Model-Poisoning",
        ),
        Variant(
            "alie",
            {"variant": "alie"},
            "distances, not squared, to the m - f nearest others",
            "moranant/attacking_distributed_learning, the authors of ALIE",
        ),
    ),
)
