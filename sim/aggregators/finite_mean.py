"""The mean of the rows that are finite."""

from byzsim.ops import masked_mean, uniform_weights, usable_rows
from byzsim.types import Aggregator, Context, Spec, stateless
from jaxtyping import Array, Float


def finite_mean() -> Aggregator:
    """Average of the rows without a NaN or an infinity.

    ```text
    g = (1 / |U|) sum_{i in U} g_i,    U = the usable rows
    ```

    What training code does by hand with a mask against replicas that send NaN.

    Tolerates:
        f = 0 of workers that send finite rows; any number of rows that are not finite.

    Cost:
        O(md), two reads.

    Notes:
        Usable is as in `ops.usable_rows`: a row of norm above 1.8e19 (float32) is left out too. Zero if no row is left.
    """

    def rule(grads: Float[Array, "m d"], ctx: Context) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
        del ctx
        usable = usable_rows(grads)
        return masked_mean(grads, usable), uniform_weights(usable)

    return stateless(rule)


SPEC = Spec(
    finite_mean,
    source="practice of large training runs: a mask against NaN",
    max_f=lambda m: 0,
    traits=frozenset({"permutation", "translation", "scale", "consensus", "average", "filter"}),
    cost="m d",
)
