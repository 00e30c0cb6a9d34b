"""A quadratic with Gaussian noise on the gradients: batches are fresh noise."""

import jax
import jax.numpy as jnp
from byzsim.options import Count, NotNegative, Positive, checked
from byzsim.task import Data, Task, make_task
from byzsim.types import Spec


@checked
def noisy_quadratic(
    *,
    d: Count = 20,
    sigma: NotNegative = 1.0,
    condition: Positive = 1.0,
    start: NotNegative = 1.0,
    skew: NotNegative = 0.0,
) -> Task:
    """A quadratic whose stochastic gradients are exact but for Gaussian noise.

    $$\\ell(w; \\xi) = \\tfrac12 \\sum_j h_j w_j^2 + \\xi^\\top w, \\qquad \\xi \\sim N(u_i, \\sigma^2 I)$$

    The curvatures h go from 1 down to 1 / condition in equal ratios. The minimum of the honest mean loss is at 0 when
    skew is 0. Measured: `loss` without noise, and `distance` $\\|w\\|$. Nothing is a test set: both are exact.

    Args:
        d: coordinates (static).
        sigma: standard deviation of each coordinate of one example's noise.
        condition: largest curvature over the smallest.
        start: the norm of the first parameters, all of which are equal.
        skew: norm of u_i, the constant by which the gradients of worker i differ, in a direction of its own;
            heterogeneity between workers.
    References: the noise model of Karimireddy, He, Jaggi, ICML 2021 (arXiv 2012.10333), theorem 3.
    """

    def curvatures():
        return jnp.asarray(condition, jnp.float32) ** (-jnp.arange(d) / max(d - 1, 1))

    def sample(key, worker, n):
        direction = jax.random.normal(jax.random.fold_in(jax.random.key(0), worker), (d,))
        own = jnp.where(worker < 0, 0.0, skew) * direction / jnp.linalg.norm(direction)
        return Data(own[None] + sigma * jax.random.normal(key, (n, d)))

    def exact(w):
        return (curvatures() * jnp.square(w)).sum() / 2

    return make_task(
        init=lambda key, example: jnp.full(d, start / jnp.sqrt(d)),
        loss=lambda w, batch: exact(w) + batch.inputs @ w,
        metrics=lambda w, batch: {},
        measure=lambda w, facts: {"loss": exact(w), "distance": jnp.linalg.norm(w)},
        sample=sample,
    )


SPEC = Spec(noisy_quadratic, source="Karimireddy et al., ICML 2021")
