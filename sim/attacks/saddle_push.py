"""A push back to the saddle point that training is about to leave."""

import math

import jax.numpy as jnp
from byzsim.ops import masked_mean
from byzsim.options import checked
from byzsim.types import Attack, Context, Spec, Traced, colluding
from jaxtyping import Array, Bool, Float


@checked
def saddle_push(*, c: Traced = 0.5, v: Traced = 1.0, width: Traced = 2 * math.e) -> Attack:
    """Every Byzantine row is the honest mean and a push along the coordinate by which the octopus is left.

    ```text
    g_byz = mu + c V sign(x_i) e_i,    i = the first coordinate with |x_i| <= width;    mu = mean over honest i of g_i
    ```

    After the minus of the step x_i moves towards 0, the saddle. Where no coordinate is that near, g_byz = mu.

    Args:
        c: strength of the push, in units of V; traced.
        v: V, the largest distance of an honest gradient from the true one; traced. The task octopus: `noise`.
        width: how far from its saddle a coordinate is pushed; traced. The task octopus: 2 tau, which is 2 e.

    Notes:
        x is `Context.params`. With c <= 1 a forged row is as near to the true gradient as an honest one may be, so no
        rule can tell by one step who attacks. The push changes sign with x_i: over a window it adds up only where x
        stays on one side of the saddle.

    References:
        After the saddle-point attack of Yin, Chen, Ramchandran, Bartlett, ICML 2019 (arXiv 1806.05358), who state no
        formula for it; this one is byzsim's own, for the function of Du et al., NeurIPS 2017 (arXiv 1705.10412).
    """

    def vector(updates: Float[Array, "m d"], byz: Bool[Array, " m"], ctx: Context) -> Float[Array, " d"]:
        x = jnp.asarray(ctx.params)
        near = jnp.abs(x) <= width
        first = near & (jnp.cumsum(near) == 1)
        return masked_mean(updates, ~byz) + c * v * jnp.where(first, jnp.sign(x), 0.0)

    return colluding(vector)


SPEC = Spec(saddle_push, source="after Yin et al., ICML 2019", traits=frozenset({"collusive", "params"}))
