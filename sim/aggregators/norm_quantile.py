"""The mean of the rows that are not among the longest."""

import jax.numpy as jnp
from byzsim.ops import masked_mean, norms, rank_by_score, uniform_weights
from byzsim.options import Fraction, checked
from byzsim.types import Aggregator, Context, Spec, stateless
from jaxtyping import Array, Float


@checked
def norm_quantile(*, q: Fraction = 0.75) -> Aggregator:
    """Mean of the share q of the rows that has the smallest norms, whatever f is.

    ```text
    g = (1 / k) sum over the k smallest ||g_i|| of g_i,    k = max(ceil(q m), 1)
    ```

    Args:
        q: share of the rows that is kept, above 0 and at most 1; traced.

    Tolerates:
        f <= m - ceil(q m) rows that are too long; none that is not.

    Cost:
        O(md), two reads; O(m log m) to rank the norms.

    Notes:
        `cge` with the number of rows given by a share. Ties go to the lowest worker index. Rows that are not finite are
        left out, even where fewer than k remain: then the mean is over these, and zero if there are none.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        del ctx
        length, m = norms(grads), len(grads)
        usable = jnp.isfinite(length)
        count = jnp.maximum(jnp.ceil(q * m - 1e-4), 1)  # a q such as 0.3 may stand for 3.0000001 of 10 workers
        kept = (rank_by_score(length, usable) < count) & usable
        return masked_mean(grads, kept), uniform_weights(kept)

    return stateless(rule)


SPEC = Spec(
    norm_quantile,
    source="practice of large training runs: replicas of unusual gradient norm are left out",
    max_f=lambda m: 0,
    traits=frozenset({"permutation", "scale", "consensus", "filter"}),
    cost="m d",
)
