"""An attack that comes and goes."""

import jax
import jax.numpy as jnp
from byzsim.options import Count, Natural, checked
from byzsim.types import Attack, Context, Modifier, Spec, State
from jaxtyping import Array, Bool, Float, Int


@checked
def burst(*, on: Count = 10, off: Natural = 10, first: Natural = 0) -> Modifier:
    """The attack acts for `on` steps, then its workers are honest for `off` steps, and so on.

    ```text
    active at step t  <=>  t >= first and (t - first) mod (on + off) < on
    ```

    Args:
        on: number of steps with the attack, at least 1; static.
        off: number of honest steps between, at least 0; static.
        first: the step in which the first burst begins; static.

    Raises:
        ValueError: a number of steps is below these.

    Notes:
        The state is the attack's own, which advances in every step, active or not. t counts from 0. While the attack is
        not active, labels and rows are honest; what poisoned labels have left in a worker's momentum stays there. The
        attack draws from the step's own key.

    References:
        Transient attacks are the reason for SafeguardSGD's re-admission (Allen-Zhu et al., ICLR 2021); the lengths are
        byzsim's own.
    """

    def active(ctx: Context) -> Bool[Array, ""]:
        return (ctx.step >= first) & ((ctx.step - first) % (on + off) < on)

    def wrap(inner: Attack) -> Attack:
        def labels(labels: Int[Array, "*b"], n_classes: int, ctx: Context) -> Int[Array, "*b"]:
            return jnp.where(active(ctx), inner.labels(labels, n_classes, ctx), labels)

        def grads(
            updates: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, ctx: Context
        ) -> tuple[Float[Array, "m d"], State]:
            forged, state = inner.grads(updates, byz, state, ctx)
            return jax.lax.select(jnp.broadcast_to(active(ctx), updates.shape), forged, updates), state

        return Attack(inner.init, labels, grads)

    return wrap


SPEC = Spec(burst, source="after Allen-Zhu et al., ICLR 2021")
