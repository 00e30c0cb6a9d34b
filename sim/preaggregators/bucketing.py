"""Bucketing: averages over small random groups."""

import jax
import jax.numpy as jnp
from byzsim.options import Count, checked
from byzsim.preaggregators._mixing import mixing
from byzsim.types import Context, PreAggregator, Spec, Variant
from jaxtyping import Array, Float


@checked
def bucketing(*, s: Count = 2) -> PreAggregator:
    """The rows in random order, averaged s at a time: the rule gets ceil(m / s) rows.

    ```text
    y_b = (1 / |B_b|) sum over p in B_b of g_pi(p),   B_b = {b s, ..., min(b s + s, m) - 1},   b = 0, 1, ...
    ```

    Args:
        s: number of rows in a bucket, at least 1; static. The default 2 is that of the paper's experiments.

    Raises:
        ValueError: `s` is below 1.

    Tolerates:
        f <= (m - 1) // 2 by itself; but each of f Byzantine rows may spoil a bucket of its own, so the rule after it
        must withstand the same f among ceil(m / s) rows.

    Cost:
        O(m^2 d / s) as a matrix product, two reads; memory for the buckets.

    Notes:
        Each step draws a new pi = jax.random.permutation(jax.random.split(ctx.key)[0], m) (position -> worker, from 0);
        the rule's key is jax.random.split(ctx.key)[1]. The last bucket is smaller if s does not divide m, and counts
        like any other. With s > m there is one bucket of all rows. A bucket with a row that is not usable
        (`ops.usable_rows`) is NaN, which the rule after it sees. A worker's weight is its bucket's weight over the
        bucket's size.

    References:
        Karimireddy, He, Jaggi, "Byzantine-robust learning on heterogeneous datasets via bucketing", ICLR 2022
        (arXiv 2006.09365).
    """

    def weights(grads: Float[Array, "m d"], ctx: Context) -> Float[Array, "k m"]:
        m = len(grads)
        order = jax.random.permutation(ctx.key, m)
        bucket = jnp.arange(m) // s
        size = jnp.minimum(s, m - bucket * s)
        return jnp.zeros((_buckets(m, s), m)).at[bucket, order].set(1 / size)

    return mixing(weights, rows=lambda m: _buckets(m, s))


def _buckets(m: int, s: int = 2) -> int:
    return -(-m // s)


SPEC = Spec(
    bucketing,
    source="Karimireddy et al., ICLR 2022",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"translation", "scale", "consensus", "filter", "stochastic"}),
    cost="m^2 d",
    rows=_buckets,
    variants=(
        Variant("karimireddy2022", {"s": 2}, "s = 2", "Karimireddy et al. 2022, experiments"),
        Variant("byzfl", {"s": 1}, "s = 1: a permutation only, unless s is given", "byzfl 0.0.11, default"),
    ),
)
