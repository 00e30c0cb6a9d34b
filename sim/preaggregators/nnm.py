"""Nearest-neighbour mixing."""

import jax.numpy as jnp
from byzsim.ops import ranks, sq_distances
from byzsim.preaggregators._mixing import mixing
from byzsim.types import Context, PreAggregator, Spec
from jaxtyping import Array, Float


def nnm() -> PreAggregator:
    """Every row becomes the mean of its m - f nearest rows, itself among them.

    ```text
    y_i = (1 / (m - f)) sum over the m - f smallest ||g_i - g_j|| of g_j
    ```

    Tolerates:
        f <= (m - 1) // 2, with any rule after it that does.

    Cost:
        O(m^2 d) for the Gram matrix and for the m x m mixing matrix times G; O(m^2 log m) to rank.

    Notes:
        Ties go to the lowest worker index. A row that is not usable (`ops.usable_rows`) is nobody's neighbour (if fewer
        than m - f are usable, the mean is over these), and becomes NaN, which the rule after it sees. Nothing is drawn;
        the rule's key is jax.random.split(ctx.key)[1].

    References:
        Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan, "Fixing by mixing: a recipe for optimal
        Byzantine ML under heterogeneity", AISTATS 2023.
    """

    def weights(grads: Float[Array, "m d"], ctx: Context) -> Float[Array, "k m"]:
        m = len(grads)
        squared = sq_distances(grads)
        usable = jnp.isfinite(jnp.diagonal(squared))
        order = ranks(squared.at[jnp.diag_indices(m)].add(-1.0))  # itself comes first, even before a copy
        near = (order < jnp.maximum(m - ctx.f, 1)) & usable[None]
        return jnp.where(usable[:, None], near / jnp.maximum(near.sum(axis=1, keepdims=True), 1), jnp.eye(m))

    return mixing(weights)


SPEC = Spec(
    nnm,
    source="Allouah et al., AISTATS 2023",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "average"}),
    cost="m^2 d",
)
