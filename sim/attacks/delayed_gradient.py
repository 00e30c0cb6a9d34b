"""A true gradient of long ago."""

import jax.numpy as jnp
from byzsim.options import Count, checked
from byzsim.types import Attack, Context, Spec, State, make_attack
from jaxtyping import Array, Bool, Float


@checked
def delayed_gradient(*, delay: Count = 1000, copies: Count = 1) -> Attack:
    """Every Byzantine row is what the worker's own honest work was at least `delay` steps ago.

    ```text
    g_byz(t) = g_own(s),    s = q max(floor((t - D) / q), 0),  q = ceil(D / copies)
    ```

    Args:
        delay: D, in steps, at least 1. The paper: 1000.
        copies: how finely time is cut, 1 to D: snapshots of all rows are taken in steps 0, q, 2q, ..., and
            `copies` + 1 of them are kept. With `copies` = D every step is kept and the delay is exactly D.

    Raises:
        ValueError: for a delay below 1, or copies not from 1 to the delay.

    Notes:
        State: the last `copies` + 1 snapshots, (copies + 1) m d numbers.
        t counts from 0 (`ctx.step`); a step's snapshot is taken before its rows are sent. In step t the newest
        snapshot that is at least D steps old is sent, so the true delay is D to D + q - 1 steps (q = D with one copy)
        and a row is sent q times in a row. Before step D the oldest one is sent, that of step 0: in step 0 the work
        is honest. The paper does not say what is sent in the first D steps.

    References:
        Allen-Zhu, Ebrahimian, Li, Alistarh, "Byzantine-resilient non-convex stochastic gradient descent",
        ICLR 2021 (arXiv 2012.14368).
    """
    if copies > delay:
        raise ValueError(f"delayed_gradient: copies={copies!r} is not a whole number from 1 to the delay of {delay}")
    gap = -(-delay // copies)

    def grads(
        updates: Float[Array, "m d"], byz: Bool[Array, " m"], kept: State, ctx: Context
    ) -> tuple[Float[Array, "m d"], State]:
        del byz
        place = ctx.step // gap % (copies + 1)
        kept = kept.at[place].set(jnp.where(ctx.step % gap == 0, updates, kept[place]))
        due = jnp.maximum(ctx.step - delay, 0) // gap % (copies + 1)
        return kept[due], kept

    return make_attack(grads=grads, init=lambda m, d: jnp.zeros((copies + 1, m, d)))


SPEC = Spec(delayed_gradient, source="Allen-Zhu et al., ICLR 2021", traits=frozenset({"stateful"}))
