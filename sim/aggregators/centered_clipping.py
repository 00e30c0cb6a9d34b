"""Centred clipping: small steps from where the server was."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops import (
    distances_to,
    masked_mean,
    median,
    middle_ranks,
    order_statistics,
    row_sum,
    usable_rows,
    varying_as,
)
from byzsim.ops.rows import times
from byzsim.options import Count, Positive, checked
from byzsim.types import Aggregator, Context, Info, Spec, State, Variant
from jaxtyping import Array, Bool, Float

Start = Literal["previous", "mean", "median", "lower_median", "zero"]


@checked
def centered_clipping(
    *, tau: Positive | Literal["majority"] = "majority", steps: Count = 1, start: Start = "previous"
) -> Aggregator:
    """The last output plus the average of the clipped differences from it.

    ```text
    v <- v + (1/m) sum_i min(1, tau / ||g_i - v||) (g_i - v),    `steps` times;    g = v
    ```

    Args:
        tau: clipping radius in gradient units; traced. "majority" is byzsim's own: the (m // 2 + 1)-th smallest ||g_i -
            v|| of each inner step. The paper has no number; it asks for a tau of the order of the distances between
            honest rows. A tau that is too large, such as the 100 of the authors' code on a small model, clips nothing,
            and the rule is the mean. With n_byz <= (m - 1) // 2, the majority's radius is at most an honest distance.
        steps: L, number of inner iterations, at least 1; static. The paper: 1.
        start: the first v. "previous" is the last output, zero in the first step; the others start anew in each step,
            from the "mean" of the usable rows, the coordinate-wise "median" (mean of the two middle values) or
            "lower_median" (the lower one of them), or "zero". Static.

    Raises:
        ValueError: `steps` is below 1.

    Tolerates:
        f <= (m - 1) // 2. The paper proves convergence for alpha < 0.1 with worker momentum.

    Cost:
        O(steps m d), three reads a step.

    Notes:
        The state is the last output (d,); it is empty if every step starts anew. A row that is not usable
        (`ops.usable_rows`) adds nothing, but m counts it; where fewer than m // 2 + 1 rows are usable, "majority" clips
        nothing. A median that is not finite in a coordinate becomes 0 there. `Info.weight` is the share of each row in
        the output, the rest being the start's share: each inner step makes w <- (1 - sum_i c_i / m) w + c / m, from w =
        0, where c_i is the factor min(1, tau / ||g_i - v||) of a usable row and 0 for the others. `Info.clipped` is the
        number of usable rows with a factor below 1, averaged over the inner steps.

    References:
        Karimireddy, He, Jaggi, "Learning from history for Byzantine robust optimization", ICML 2021.
    """

    def apply(grads: Float[Array, "m d"], state: State, ctx: Context) -> tuple[Float[Array, " d"], State, Info]:
        del ctx
        m, usable = len(grads), usable_rows(grads)

        def step(carry, _):
            v, weight, clipped = carry
            length = distances_to(grads, v)
            radius = jnp.sort(jnp.where(usable, length, jnp.inf))[m // 2] if isinstance(tau, str) else tau
            long = usable & (length > radius)
            factor = jnp.where(usable, jnp.where(long, radius / jnp.where(long, length, 1.0), 1.0), 0.0) / m
            pull = row_sum(lambda part, row: times(part, row - v), factor, grads)
            return (v + pull, (1 - factor.sum()) * weight + factor, clipped + long.sum(dtype=grads.dtype) / steps), None

        first = state if start == "previous" else _start(start, grads, usable)
        begun = (first, jnp.zeros(m, grads.dtype), jnp.zeros((), grads.dtype))
        (v, weight, clipped), _ = jax.lax.scan(step, varying_as(begun, grads), length=steps)
        return v, v if start == "previous" else (), Info(weight.astype(jnp.float32), clipped)

    return Aggregator(lambda m, d: jnp.zeros(d) if start == "previous" else (), apply)


def _start(start: str, grads: Float[Array, "m d"], usable: Bool[Array, " m"]) -> Float[Array, " d"]:
    if start == "zero":
        return jnp.zeros(grads.shape[1], grads.dtype)
    if start == "mean":
        return masked_mean(grads, usable)
    middle = median(grads) if start == "median" else order_statistics(grads, middle_ranks(len(grads))[:1])[0]
    return jnp.where(jnp.isfinite(middle), middle, 0.0)


SPEC = Spec(
    centered_clipping,
    source="Karimireddy et al., ICML 2021",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "scale", "clips", "stateful"}),
    cost="m d",
    variants=(
        Variant("majority", {}, "tau = the majority's distance, around the last output, one step", "ours"),
        Variant(
            "karimireddy2021",
            {"tau": 100.0},
            "tau = 100 around the last output, one step",
            "epfml/byzantine-robust-optimizer; byzfl 0.0.11; FLPoison",
        ),
        Variant(
            "epfml_noniid",
            {"tau": 10.0, "steps": 3},
            "tau = 10, 3 steps",
            "epfml/byzantine-robust-noniid-optimizer (its scripts may divide tau by 1 - beta)",
        ),
        Variant("fedlib5", {"tau": 5.0, "steps": 5}, "tau = 5, 5 steps", "fedlib"),
        Variant("fedlib10", {"tau": 10.0, "steps": 5}, "tau = 10, 5 steps", "blades"),
        Variant(
            "byzpy", {"tau": 100.0, "start": "mean", "steps": 10}, "10 steps, anew from the mean in each round", "byzpy"
        ),
        Variant(
            "byzpy_median",
            {"tau": 100.0, "start": "lower_median", "steps": 10},
            "10 steps, anew from the lower median",
            "byzpy (an option)",
        ),
    ),
)
