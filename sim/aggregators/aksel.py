"""AKSEL: the mean of the rows nearest to the coordinate-wise median."""

from typing import Literal

import jax.numpy as jnp
from byzsim.ops import (
    masked_mean,
    middle_ranks,
    midpoint,
    order_statistics,
    rank_by_score,
    sq_distances_to,
    uniform_weights,
    usable_rows,
)
from byzsim.options import checked
from byzsim.types import Aggregator, Context, Spec, Variant, stateless
from jaxtyping import Array, Float


@checked
def aksel(
    *,
    count: Literal["half", "m-f"] = "half",
    middle: Literal["lower", "mean"] = "lower",
    ties: Literal["index", "radius"] = "index",
) -> Aggregator:
    """The mean of the c rows that are nearest to the coordinate-wise median.

    ```text
    M_c = median{g_1c, ..., g_mc};    s_i = ||g_i - M||_2^2;    g = mean of the g_i of the c smallest s_i
    ```

    Args:
        count: c, "half" for floor((m + 1) / 2), "m-f" for m - f, at least 1; static.
        middle: the median of an even m, the "lower" of the two middle values (torch) or their "mean" (NumPy); static.
        ties: which rows of the c-th smallest s_i are kept; static. "index": those of lowest worker index, so that c
            rows are kept. "radius": all of them, as in the NumPy variants, whose s_i <= median(s) is the same set for
            count "half".

    Tolerates:
        f <= (m - 1) // 2.

    Cost:
        O(md log^2 m) by a sorting network over the workers, three reads of the matrix.

    Notes:
        The median is over all rows, with NaN as +inf. Rows that are not usable (`ops.usable_rows`) are infinitely far
        and never kept: the mean is over fewer than c rows where fewer are usable, and zero without any. The defaults
        are those of a co-author's code (ByzantineMomentum). That code asks for f >= 1 and m >= 2f + 1, and uses f only
        in its mode "n-f".

    References:
        Boussetta, El-Mhamdi, Guerraoui, Maurer, Rouault, "AKSEL: fast Byzantine SGD", OPODIS 2020.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        m = len(grads)
        low, high = order_statistics(grads, middle_ranks(m))
        median = low if middle == "lower" else midpoint(low, high)
        usable = usable_rows(grads)
        distance = sq_distances_to(grads, median)
        distance = jnp.where(usable & ~jnp.isnan(distance), distance, jnp.inf)
        size = (m + 1) // 2 if count == "half" else jnp.maximum(m - ctx.f, 1)
        kept = rank_by_score(distance, usable) < size
        if ties == "radius":
            kept = distance <= jnp.where(kept, distance, -jnp.inf).max()
        return masked_mean(grads, kept & usable), uniform_weights(kept & usable)

    return stateless(rule)


SPEC = Spec(
    aksel,
    source="Boussetta et al., OPODIS 2020",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "filter"}),
    cost="m d",
    variants=(
        Variant("byzantine_momentum", {}, "c = floor((m + 1) / 2), lower median", "Rouault, co-author: aksel.py; RCL"),
        Variant("n-f", {"count": "m-f"}, "c = m - f, lower median", "the same code in its mode n-f"),
        Variant("krum", {"count": "m-f", "middle": "mean"}, "c = m - f, median of two middles", "krum (PyPI)"),
        Variant(
            "smartfed",
            {"middle": "mean", "ties": "radius"},
            "all s_i <= median(s), median of two middles",
            "SmartFed and other NumPy copies",
        ),
    ),
)
