"""A true gradient of long ago."""

import jax.numpy as jnp
from byzsim.options import Count, checked
from byzsim.types import Attack, Context, Spec, State, make_attack
from jaxtyping import Array, Bool, Float


@checked
def delayed_gradient(*, delay: Count = 1000, copies: Count = 1) -> Attack:
    """Every Byzantine row is the worker's own honest gradient of at least `delay` steps ago.

    ```text
    g_byz(t) = g_own(s),    s = q max(floor((t - D) / q), 0),  q = ceil(D / copies)
    ```

    Args:
        delay: D, in steps, at least 1; static. The paper: 1000.
        copies: number of snapshots in a delay, from 1 to D; static. Snapshots of all rows are taken in steps 0, q, 2q,
            ..., and `copies` + 1 of them are kept. With `copies` = D every step is kept, and the delay is exactly D.

    Raises:
        ValueError: `delay` is below 1, or `copies` is not from 1 to `delay`.

    Notes:
        The state is the last `copies` + 1 snapshots, (copies + 1) m d numbers. t is `ctx.step`, which counts from 0;
        the snapshot of a step is taken before its rows are sent. Step t sends the newest snapshot that is at least D
        steps old, so the true delay is D to D + q - 1 steps (q = D with one copy), and a row is sent q times in a row.
        Before step D the snapshot of step 0 is sent, so step 0 itself is honest. The paper does not say what is sent in
        the first D steps.

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
