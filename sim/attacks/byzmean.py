"""ByzMean: some attackers hide, the others move the mean to where these are."""

from typing import Literal

import jax.numpy as jnp
from byzsim.ops import masked_mean, masked_std, varying_as, weighted_sum
from byzsim.options import checked
from byzsim.types import Attack, Context, Spec, State, Traced, Variant, if_any_byzantine, make_attack
from jaxtyping import Array, Bool, Float


@checked
def byzmean(*, z: Traced = 0.5, ddof: Literal[0, 1] = 1, variant: Literal["xu2022", "signguard"] = "xu2022") -> Attack:
    """Half of the Byzantine rows lie within the honest spread; the others move the mean of all m rows to these.

    ```text
    a = mu - z sigma                                   from m1 = floor(n_byz / 2) workers
    x = ((m - m1) a - sum over honest i of g_i) / m2   from m2 = n_byz - m1 workers,  so that the mean of all is a
    ```

    Args:
        z: number of honest standard deviations between mu and a, per coordinate; traced. The authors' code: 0.5.
        ddof: 0 for the population deviation, 1 for the unbiased one (the authors' code); static.
        variant: "xu2022" as above. In "signguard", the authors' code, mu, sigma and the sum run over the honest
            gradients of all m workers, and x = ((m - n_byz - m1) a - sum over all i of g_i) / m2, which does not make
            the mean equal a. Static.

    Notes:
        The m1 Byzantine workers of lowest index send a; a single Byzantine worker sends x. The divisor of a deviation
        (number of rows - ddof) is at least 1.

    References:
        Xu, Huang, Song, Lan, "Byzantine-robust federated learning through collaborative malicious gradient
        filtering" (SignGuard), ICDCS 2022; github JianXu95/SignGuard.
    """

    def grads(
        updates: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, ctx: Context
    ) -> tuple[Float[Array, "m d"], State]:
        del ctx
        zero = varying_as(jnp.zeros(updates.shape[1], updates.dtype), updates)
        hidden, push = if_any_byzantine(lambda: vectors(updates, byz), byz, (zero, zero))
        return jnp.where((jnp.cumsum(byz) <= byz.sum() // 2)[:, None], hidden, push), state

    def vectors(updates, byz):
        known = ~byz if variant == "xu2022" else jnp.ones_like(byz)
        weight = len(byz) if variant == "xu2022" else (~byz).sum()
        mean = masked_mean(updates, known)
        hidden = mean - z * masked_std(updates, known, mean, ddof=ddof)
        hiding = byz.sum() // 2
        pushing = jnp.maximum(byz.sum() - hiding, 1)
        return hidden, ((weight - hiding) * hidden - weighted_sum(known.astype(updates.dtype), updates)) / pushing

    return make_attack(grads=grads, reads_own_gradients=variant != "xu2022")


SPEC = Spec(
    byzmean,
    source="Xu et al., ICDCS 2022",
    variants=(
        Variant(
            "xu2022", {"variant": "xu2022"}, "statistics over honest rows; the mean of all rows is a", "Xu et al. 2022"
        ),
        Variant(
            "signguard",
            {"variant": "signguard"},
            "statistics over all workers' own work; m - n_byz in place of m",
            "github JianXu95/SignGuard",
        ),
    ),
)
