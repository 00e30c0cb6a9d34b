"""MoNNA: the mean of the gradients nearest to a trusted one."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops import masked_mean, rank_by_score, sq_distances_to, uniform_weights, usable_rows
from byzsim.options import checked
from byzsim.types import Aggregator, Context, Spec, Variant, stateless
from jaxtyping import Array, Float


@checked
def monna(*, trusted: int | Literal["server"] = -1) -> Aggregator:
    """Mean of the m - f gradients nearest to the gradient of a trusted worker, which is one of them.

    ```text
    g = (1 / (m - f)) sum over the m - f smallest ||g_i - g_trusted|| of g_i
    ```

    Args:
        trusted: index of the trusted worker; a negative one counts from the end. The default -1 is the last, since the
            engine's Byzantine workers are the first unless it is told otherwise (byzfl: 0). "server" trusts no worker
            but the server's own gradient, that of `ctx.server_loss(100)` at `ctx.params`; in `byzsim.aggregate` that is
            `server_gradient`, which may be any vector, as krum's pivot. Static.

    Raises:
        ValueError: the index is beyond the workers.

    Tolerates:
        f <= (m - 1) // 2, if the trusted worker is honest (in the paper every honest worker trusts itself).

    Cost:
        O(md), three reads.

    Notes:
        A trusted worker's row comes first, then ties go to the lowest worker index; at least one row is kept. Rows that
        are not usable (`ops.usable_rows`) are left out, even where fewer than m - f remain: then the mean is over
        these, and zero if there are none. If the trusted row, or the server's gradient, is not usable, all rows are
        equally far.

    References:
        Farhadkhani, Guerraoui, Gupta, Hoang, Pinot, Stephan, "Robust collaborative learning with linear
        gradient overhead", ICML 2023.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        m = len(grads)
        usable = usable_rows(grads)
        if trusted == "server":
            pivot = jax.grad(ctx.server_loss(100))(ctx.params)
            known, first = usable_rows(pivot[None])[0], jnp.zeros(m)
        else:
            if not -m <= trusted < m:
                raise ValueError(f"monna: trusted={trusted} is no index of {m} workers")
            own = range(m)[trusted]
            pivot, known, first = grads[own], usable[own], jnp.zeros(m).at[own].add(-1.0)  # itself before a copy
        squared = sq_distances_to(grads, pivot)
        distance = jnp.where(usable & known, squared, jnp.inf) + first
        nearest = rank_by_score(distance, usable) < jnp.maximum(m - ctx.f, 1)
        kept = nearest & usable
        return masked_mean(grads, kept), uniform_weights(kept)

    return stateless(rule)


SPEC = Spec(
    monna,
    source="Farhadkhani et al., ICML 2023",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"translation", "scale", "consensus", "average", "filter"}),
    cost="m d",
    variants=(
        Variant("last", {"trusted": -1}, "the last worker is trusted", "byzsim"),
        Variant("byzfl", {"trusted": 0}, "the first worker is trusted", "byzfl 0.0.11, byzpy"),
        Variant(
            "krum",
            {"trusted": "server"},
            "the rows nearest to a vector that the server has",
            "krum 0.9.1 (NearestNeighborAverage, num_closest = m - f)",
        ),
    ),
)
