"""ByzantineSGD: ban for good who has drifted away from the majority."""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from byzsim.aggregators._median_machine import majority_radius, median_machine
from byzsim.ops import masked_mean, per_row, uniform_weights, usable_rows
from byzsim.options import Count, Fraction, Positive, checked
from byzsim.types import Aggregator, Info, Spec
from jaxtyping import Array, Bool, Float


class State(NamedTuple):
    """What the server remembers."""

    good: Bool[Array, " m"]
    """who has never been caught"""
    a: Float[Array, " m"]
    """sum of <g_ki, x_k - x_1>"""
    b: Float[Array, "m d"]
    """sum of g_ki"""
    first: Float[Array, " d"]
    """x_1"""


@checked
def byzantine_sgd(
    *,
    v: Positive | Literal["auto"] = "auto",
    diameter: Positive = 10.0,
    horizon: Count = 1000,
    delta: Fraction = 0.1,
    th_a: Positive | None = None,
    th_b: Positive | None = None,
) -> Aggregator:
    """Mean of the workers whose gradient, sum of gradients and sum of progress have always been near the median.

    ```text
    A_i += <g_i, x_k - x_1>,   B_i += g_i,   A_med = median of A_i,   B_med, g_med = median machines
    good_k = {i in good_{k-1} : |A_i - A_med| <= Th_A, ||B_i - B_med|| <= Th_B, ||g_i - g_med|| <= 4V}
    g = mean of g_i over good_k;   Th_A = 4 D V L,  Th_B = 4 V L,  L = sqrt(T log(16 m T / delta))
    ```

    A median machine is a worker that has more than m / 2 workers, itself included, within Th_B (for B) or 2V (for g).

    Args:
        v: V, the bound on ||g_i - grad f|| of an honest worker; traced. The paper takes V as given. "auto" is byzsim's
            own: half of the smallest radius around a usable row that holds m // 2 + 1 usable rows of this step.
        diameter: D, the diameter of the set that x stays in; traced. The default is byzsim's own.
        horizon: T, the number of steps; static. The default is byzsim's own.
        delta: the probability of failure; traced. The default is byzsim's own.
        th_a, th_b: Th_A and Th_B as numbers, as in epfml's code, which has no defaults; traced. None: the formulas.

    Tolerates:
        f <= (m - 1) // 2.

    Cost:
        O(md) expected with a given V: workers are tried in order until one is a median machine. O(m^2 d) with "auto".

    Notes:
        The state holds A, B, the good set and x_1: (m + 1)(d + 2) numbers. x_k is `ctx.params`, and x_1 is `ctx.params`
        of step 0. As in the paper, a step uses the good set that the same step computes. All usable workers are
        candidates for a median machine, lowest index first; if none has enough neighbours, the first of those with the
        most neighbours is taken. The median of A is over all m workers, and of an even m it is the mean of the two
        middle values. A row that is not usable (`ops.usable_rows`) bans its worker at once and adds nothing. If no good
        worker is left, the aggregate is zero.

    References:
        Alistarh, Allen-Zhu, Li, "Byzantine stochastic gradient descent", NeurIPS 2018.
    """

    def init(m: int, d: int) -> State:
        return State(jnp.ones(m, bool), jnp.zeros(m), jnp.zeros((m, d)), jnp.zeros(d))

    def apply(grads: Float[Array, "m d"], state: State, ctx: Any) -> tuple[Float[Array, " d"], State, Info]:
        m, usable = len(grads), usable_rows(grads)
        rows = jnp.where(usable[:, None], grads, 0.0)
        first = jnp.where(ctx.step == 0, ctx.params, state.first)
        a = state.a + per_row(lambda row: jnp.vdot(row, ctx.params - first), rows)
        b = state.b + rows
        bound = majority_radius(rows, usable) / 2 if isinstance(v, str) else v
        radius = 4 * bound * jnp.sqrt(horizon * jnp.log(16 * m * horizon / delta))
        limit_a = diameter * radius if th_a is None else th_a
        limit_b = radius if th_b is None else th_b
        near_a = jnp.abs(a - jnp.median(a)) <= limit_a
        near_b = median_machine(b, usable, limit_b, jnp.arange(m)) <= limit_b
        near_g = median_machine(rows, usable, 2 * bound, jnp.arange(m)) <= 4 * bound
        good = state.good & usable & near_a & near_b & near_g
        return masked_mean(grads, good), State(good, a, b, first), Info(uniform_weights(good).astype(jnp.float32))

    return Aggregator(init, apply)


SPEC = Spec(
    byzantine_sgd,
    source="Alistarh et al., NeurIPS 2018",
    max_f=lambda m: (m - 1) // 2,
    traits=frozenset({"permutation", "filter", "stateful", "whole_rows"}),
    cost="m^2 d",
)
