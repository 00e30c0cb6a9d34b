"""The majority of signs in each coordinate."""

import jax.numpy as jnp
from byzsim import blocks
from byzsim.ops import per_row_sum, row_sum
from byzsim.types import Aggregator, Context, Spec, stateless
from jaxtyping import Array, Float


def sign_majority() -> Aggregator:
    """The sign that most workers send, coordinate by coordinate: -1, 0 or 1.

    ```text
    g_c = sign(sum_i sign(g_ic))
    ```

    Tolerates:
        f <= (m - 1) // 2 in coordinates whose sign the honest workers agree on; it promises nothing of the distance to
        their mean. The output is no gradient but its direction, of length up to sqrt(d): the learning rate has to be of
        the size of a step in each coordinate.

    Cost:
        O(md), two reads.

    Notes:
        A NaN does not vote, an infinity does. `Info.weight` is each worker's share in the votes that won.

    References:
        Bernstein, Zhao, Azizzadenesheli, Anandkumar, "signSGD with majority vote is communication efficient and fault
        tolerant", ICLR 2019 (arXiv 1810.05291).
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        del ctx
        winner = jnp.sign(row_sum(_vote, grads))
        hits = per_row_sum(lambda entry, winner: (_vote(entry) == winner).astype(jnp.int32), grads, winner)
        share = hits / jnp.float32(blocks.width(grads.shape[1]))
        return winner, share / jnp.maximum(share.sum(), jnp.finfo(jnp.float32).tiny)

    return stateless(rule)


def _vote(entry: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.where(jnp.isnan(entry), 0.0, jnp.sign(entry))


SPEC = Spec(
    sign_majority,
    source="Bernstein et al., ICLR 2019, arXiv 1810.05291",
    traits=frozenset({"permutation", "coordinatewise"}),
    cost="m d",
)
