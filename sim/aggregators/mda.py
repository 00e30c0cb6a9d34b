"""Minimum diameter averaging."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from byzsim.ops import masked_mean, ranks, sq_distances, uniform_weights
from byzsim.ops.sets import subsets as subsets_of
from byzsim.options import checked
from byzsim.types import Aggregator, Context, Spec, Variant, stateless
from jaxtyping import Array, Bool, Float, Int

LARGEST = 20
"""workers of which all subsets are tried: at most C(20, 11) = 167960 for one f, and 431910 for all f in a grid"""


@checked
def mda(*, subsets: Literal["all", "balls"] = "all") -> Aggregator:
    """Mean of the m - f gradients that lie closest together.

    ```text
    S* = argmin over |S| = m - f of max over i, j in S of ||g_i - g_j||;    g = (1 / (m - f)) sum over S* of g_i
    ```

    Args:
        subsets: which subsets are tried; static. "all", for at most 20 workers. "balls", m of them: the m - f nearest
            rows to each row (itself first, ties to the lowest index). A row of S* has all of S* within the smallest
            diameter, hence also its own m - f nearest, any two of which are then at most twice that apart.

    Raises:
        ValueError: there are more than 20 workers, with subsets="all".

    Tolerates:
        f <= (m - 1) // 2.

    Cost:
        O(m^2 d) for the Gram matrix, O(C(m, f) m^2) for all subsets, O(m^3) for balls.

    Notes:
        An f above (m - 1) // 2 counts as (m - 1) // 2. Of subsets of equal diameter the first counts, in lexicographic
        order of the workers kept ("balls": in the order of the rows at the centre). A subset with a row that is not
        usable (`ops.usable_rows`) has an infinite diameter; if all have, the mean is over the usable rows of the first,
        and zero if there are none.

    References:
        El Mhamdi, Guerraoui, Guirguis, Hoang, Rouault, "Genuinely distributed Byzantine machine learning",
        PODC 2020 (as "MDA"; "Brute" in ICML 2018).
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        m = len(grads)
        if subsets == "all" and m > LARGEST:
            raise ValueError(f"mda tries all subsets of at most {LARGEST} workers, not of {m}: take subsets='balls'")
        squared = jax.lax.stop_gradient(sq_distances(grads))
        usable = jnp.isfinite(jnp.diagonal(squared))
        dropped = jnp.clip(ctx.f, 0, (m - 1) // 2)
        kept = (_smallest(squared, dropped) if subsets == "all" else _smallest_ball(squared, dropped)) & usable
        return masked_mean(grads, kept), uniform_weights(kept)

    return stateless(rule)


def _diameter(squared: Float[Array, "m m"], kept: Bool[Array, " m"]) -> Float[Array, ""]:
    """The squared diameter of the rows in a mask."""
    return jnp.where(kept[None] & kept[:, None], squared, 0.0).max()


def _smallest(squared: Float[Array, "m m"], dropped: Int[Array, ""]) -> Bool[Array, " m"]:
    """The mask of m - `dropped` rows of smallest diameter; subsets travel as bits of a number, unpacked in chunks."""
    workers = jnp.arange(len(squared))

    def unpacked(code):
        return (code >> workers) & 1 == 1

    def best_of(codes):
        diameters = jax.lax.map(lambda code: _diameter(squared, unpacked(code)), codes, batch_size=1024)
        return unpacked(codes[jnp.argmin(diameters)])

    def branch(f):
        codes = subsets_of(len(squared), len(squared) - f) @ (1 << np.arange(len(squared)))
        return lambda: best_of(jnp.asarray(codes, jnp.int32))

    return jax.lax.switch(dropped, [branch(f) for f in range((len(squared) - 1) // 2 + 1)])


def _smallest_ball(squared: Float[Array, "m m"], dropped: Int[Array, ""]) -> Bool[Array, " m"]:
    """Of the m - `dropped` rows nearest to each row, those of smallest diameter, as a mask."""
    order = ranks(squared.at[jnp.diag_indices(len(squared))].add(-1.0))  # itself comes first
    balls = order < len(squared) - dropped
    return balls[jnp.argmin(jax.lax.map(lambda ball: _diameter(squared, ball), balls))]


SPEC = Spec(
    mda,
    source="El Mhamdi et al., PODC 2020",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "average", "filter"}),
    cost="m^2 d + C(m, f) m^2",
    variants=(
        Variant(
            "el_mhamdi2020",
            {"subsets": "all"},
            "the best of all subsets of m - f rows",
            "El Mhamdi et al. 2020; byzfl; as Brute in krum 0.9.1, as brute in ByzantineMomentum",
        ),
        Variant(
            "ball",
            {"subsets": "balls"},
            "the best of the m - f rows nearest to each row",
            "byzsim; at most twice the smallest diameter",
        ),
    ),
)
