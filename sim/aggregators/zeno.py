"""Zeno: rank the gradients by what they do to the server's own loss."""

from typing import Any, Literal

import jax.numpy as jnp
from byzsim.ops import masked_mean, per_row, ranks, uniform_weights, usable_rows
from byzsim.ops.rows import squared
from byzsim.options import Count, checked
from byzsim.types import Aggregator, Spec, Traced, Variant, stateless
from jaxtyping import Array, Float


@checked
def zeno(*, server_batch: Count = 4, rho: Traced = 5e-4, penalty: Literal["sum", "mean"] = "sum") -> Aggregator:
    """Mean of the m - f gradients of the highest stochastic descendant score.

    ```text
    s_i = loss(x) - loss(x - lr g_i) - rho ||g_i||^2;    g = (1 / (m - f)) sum over the m - f largest s_i of g_i
    ```

    Args:
        server_batch: n_r, number of examples that the server draws anew in each step, `ctx.server_loss(n_r)`; static.
            Paper: 4.
        rho: weight of the penalty; traced. The default is lr / 200, the ratio of the authors' demo, at the lr = 0.1 of
            their option table (the demo itself has 0.05).
        penalty: ||g||^2 as the "sum" of squares (the paper) or their "mean" over coordinates (the authors' code);
            static. Gradients in that code are sums over a batch of b, and lr is divided by b, so that its rho = lr /
            ratio stands for lr b / ratio on mean gradients: 0.025 in the demo (inferred from the code).

    Tolerates:
        f <= m - 1 in the paper, where the server's data are clean; here (m - 1) // 2, as for every rule.

    Cost:
        m + 1 losses of n_r examples, one after another, and O(md).

    Notes:
        lr and x are the engine's. Rows that are not usable (`ops.usable_rows`) and rows of a score that is NaN come
        last, after -inf, and are left out of the mean, which is then over fewer rows, and zero if none is left. Ties go
        to the lowest index. At least one row is kept.

    References:
        Xie, Koyejo, Gupta, "Zeno: distributed stochastic gradient descent with suspicion-based
        fault-tolerance", ICML 2019.
    """

    def rule(grads: Float[Array, "m d"], ctx: Any) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        loss, m = ctx.server_loss(server_batch), len(grads)
        before, usable = loss(ctx.params), usable_rows(grads)

        def descent(counts, row):
            return before - loss(ctx.params - ctx.lr * jnp.where(counts, row, 0.0))

        squares = squared(grads) / (grads.shape[1] if penalty == "mean" else 1)
        scores = per_row(descent, usable, grads) - rho * jnp.where(usable, squares, 0.0)
        usable &= ~jnp.isnan(scores)
        kept = (ranks(jnp.where(usable, -scores, jnp.nan)) < jnp.maximum(m - ctx.f, 1)) & usable
        return masked_mean(grads, kept), uniform_weights(kept)

    return stateless(rule)


SPEC = Spec(
    zeno,
    source="Xie et al., ICML 2019",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "consensus", "average", "filter", "server"}),
    cost="m d + m losses",
    variants=(
        Variant("xie2019", {}, "rho ||g||^2", "Xie et al. 2019"),
        Variant("code", {"penalty": "mean", "rho": 0.025}, "rho ||g||^2 / d", "xcgoner/icml2019_zeno, its demo"),
    ),
)
