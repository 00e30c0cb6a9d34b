"""Directed deviation against the median and the trimmed mean."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.ops import masked_mean, masked_std, order_statistics
from byzsim.options import checked
from byzsim.types import Attack, Context, Spec, State, Traced, Variant, make_attack
from jaxtyping import Array, Bool, Float


@checked
def fang_trim(
    *,
    b: Traced = 2.0,
    knowledge: Literal["full", "partial"] = "full",
    draw: Literal["uniform", "factor"] = "uniform",
) -> Attack:
    """Every Byzantine entry is drawn just outside of the honest ones, on the side away from the sign of their mean.

    ```text
    s = sign(mu)      s > 0: near = min over honest i of g_i,   s < 0: near = max over honest i of g_i
    far = b near if s near < 0, else near / b                   (away from mu; coordinate by coordinate)
    g_byz = near + u (far - near),   u ~ U[0, 1);               g_byz = 0 where s = 0
    ```

    Args:
        b: how far beyond the honest values, as a factor above 1; traced. The paper: 2.
        knowledge: "full": mu, min and max over the honest rows, as above. "partial": mu and sigma (population
            deviation) over the Byzantine workers' own honest gradients, near = mu - 3 s sigma and far = mu - 4 s sigma;
            b does not count. Static.
        draw: "uniform" between near and far, as above. "factor", in public code of FLTrust's authors, with full
            knowledge: g_byz = r near if s near < 0, else near / r, with r = 1 + u (b - 1); with partial knowledge the
            same as "uniform". Static.

    Cost:
        O(md log m); d uniform draws for each Byzantine worker.

    Notes:
        Worker i draws u = jax.random.uniform(jax.random.fold_in(ctx.key, i), (d,), float32), where i is its index from
        0; honest workers draw nothing. The paper does not say what is sent where the mean is exactly 0; here it is 0.
        NaN in an honest row counts as +inf for min and max. Each side has a mask of its own, as in the paper; the
        notebooks of Shejwalkar and Houmansadr (NDSS 2021) use the same mask for both sides. The intervals are as in
        public code.

    References:
        Fang, Cao, Jia, Gong, "Local model poisoning attacks to Byzantine-robust federated learning", USENIX
        Security 2020 (arXiv 1911.11815).
    """

    def grads(
        updates: Float[Array, "m d"], byz: Bool[Array, " m"], state: State, ctx: Context
    ) -> tuple[Float[Array, "m d"], State]:
        known = byz if knowledge == "partial" else ~byz
        mean = masked_mean(updates, known)
        sign = jnp.sign(mean)
        if knowledge == "partial":
            sigma = masked_std(updates, known, mean)
            near, far = mean - 3 * sign * sigma, mean - 4 * sign * sigma
        else:
            low, high = _range(updates, known)
            near = jnp.where(sign > 0, low, high)
            far = _beyond(sign, near, b)

        def row(i):
            def drawn():
                u = jax.random.uniform(jax.random.fold_in(ctx.key, i), near.shape, jnp.float32).astype(near.dtype)
                by_factor = draw == "factor" and knowledge == "full"
                value = _beyond(sign, near, 1 + u * (b - 1)) if by_factor else near + u * (far - near)
                return jnp.where(sign == 0, 0.0, value)

            return jax.lax.cond(byz[i], drawn, lambda: updates[i])

        return jax.lax.map(row, jnp.arange(len(updates))), state

    return make_attack(grads=grads, reads_own_gradients=knowledge == "partial")


def _range(rows: Float[Array, "m d"], known: Bool[Array, " m"]) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    """The smallest and the largest entry of each column among the `known` rows."""
    (low,) = order_statistics(jnp.where(known[:, None], rows, jnp.inf), [0])
    (high,) = order_statistics(jnp.where(known[:, None], rows, -jnp.inf), [len(rows) - 1])
    return low, high


def _beyond(
    sign: Float[Array, " d"], near: Float[Array, " d"], factor: Float[Array, "*#d"] | float
) -> Float[Array, " d"]:
    """`near` moved against `sign` by a factor of at least 1."""
    return jnp.where(sign * near < 0, near * factor, near / factor)


SPEC = Spec(
    fang_trim,
    source="Fang et al., USENIX Security 2020",
    traits=frozenset({"stochastic"}),
    variants=(
        Variant(
            "full_knowledge",
            {},
            "uniform from min or max of the honest entries to b times it",
            "Fang et al. 2020; blades (adaptive)",
        ),
        Variant(
            "partial_knowledge",
            {"knowledge": "partial"},
            "uniform from 3 to 4 own standard deviations from the own mean",
            "Fang et al. 2020",
        ),
        Variant(
            "factor",
            {"draw": "factor"},
            "min or max times or over r ~ U[1, b)",
            "MXNet code of FLTrust, which reads the Byzantine rows too",
        ),
    ),
)
