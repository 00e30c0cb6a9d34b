"""FLTrust: trust who points where the server's own gradient points."""

import jax
import jax.numpy as jnp
from byzsim.ops import norms, per_row_sum, row_sum, usable_rows
from byzsim.ops.rows import times
from byzsim.options import Count, checked
from byzsim.types import Aggregator, Context, Spec, stateless
from jaxtyping import Array, Float


@checked
def fltrust(*, server_batch: Count = 100) -> Aggregator:
    """Mean of the gradients, scaled to the norm of the server's gradient and weighted by their positive cosine with it.

    ```text
    t_i = max(cos(g_i, g_0), 0);    g = (1 / sum_i t_i) sum_i t_i (||g_0|| / ||g_i||) g_i
    ```

    Args:
        server_batch: number of examples for g_0, the gradient of `ctx.server_loss(server_batch)` at `ctx.params`;
            static. The paper's root data set has 100 examples and stays the same; here the server draws new ones in
            each step.

    Tolerates:
        Any f in the paper, where the server's data are clean; here (m - 1) // 2, as for every rule.

    Cost:
        One gradient of the server, O(md).

    Notes:
        A row that is not usable (`ops.usable_rows`), or zero, has trust 0. If no row has trust, or g_0 is zero, the
        aggregate is zero (as in CRYPTO-KU's code). `Info.weight` is t_i / sum t.

    References:
        Cao, Fang, Liu, Gong, "FLTrust: Byzantine-robust federated learning via trust bootstrapping", NDSS 2021.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        own = jax.grad(ctx.server_loss(server_batch))(ctx.params)
        length = jnp.linalg.norm(own)
        usable = usable_rows(grads)
        sizes = jnp.where(usable, norms(grads), 1.0)
        direction = own / jnp.where(length > 0, length, 1.0)
        along = per_row_sum(lambda entry, unit: jnp.where(usable[:, None], entry, 0.0) * unit, grads, direction)
        units = jnp.where(sizes > 0, sizes, 1.0)
        trust = jnp.maximum(along / units, 0.0)
        weight = trust / jnp.where(trust.sum() > 0, trust.sum(), 1.0)
        there = row_sum(lambda w, unit, row: times(w, row / unit), weight, units, grads)
        return length * there, weight

    return stateless(rule)


SPEC = Spec(
    fltrust,
    source="Cao et al., NDSS 2021",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "filter", "server"}),
    cost="m d",
)
