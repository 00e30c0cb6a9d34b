"""The average of all gradients."""

import jax.numpy as jnp
from byzsim.ops.rows import HIGHEST
from byzsim.types import Aggregator, Context, Spec, stateless
from jaxtyping import Array, Float


def mean() -> Aggregator:
    """Average of all rows: the undefended baseline.

    ```text
    g = (1/m) sum_i g_i
    ```

    Tolerates:
        f = 0. One Byzantine row can put the output anywhere (Blanchard et al. 2017, Lemma 1).

    Cost:
        O(md), one read.

    Notes:
        Non-finite rows pass straight into the output; that is what this baseline is for.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        del ctx
        ones = jnp.ones(len(grads), grads.dtype)
        return jnp.einsum("m,md->d", ones, grads, precision=HIGHEST) / len(grads), ones / len(grads)

    return stateless(rule)


SPEC = Spec(
    mean,
    source="Polyak and Juditsky, SIAM J. Control Optim. 1992",
    max_f=lambda m: 0,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "average"}),
    cost="m d",
)
