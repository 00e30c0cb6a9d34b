"""A smooth function that is not convex, with bounded noise on the gradients: batches are fresh noise."""

import jax
import jax.numpy as jnp
from byzsim.options import Count, NotNegative, checked
from byzsim.task import Data, Task, make_task
from byzsim.types import Spec


@checked
def noisy_wells(*, d: Count = 10, noise: NotNegative = 1.0, start: NotNegative = 2.0) -> Task:
    r"""A sum of wells, flat far from 0, whose stochastic gradients are exact but for noise on a sphere.

    $$\ell(w; \xi) = \sum_j \frac{w_j^2}{1 + w_j^2} + \xi^\top w, \qquad \|\xi\| = V$$

    f is smooth (its second derivatives lie between -1/2 and 2) and concave in a coordinate beyond $|w_j| = 1/\sqrt 3$.
    Measured: `loss` f(w) and `gradient_norm` $\|\nabla f(w)\|$, both without noise.

    Args:
        d: coordinates (static).
        noise: the radius V.
        start: the first value of every coordinate.
    References: the loss of Geman and McClure 1985; bounded noise as in Allen-Zhu et al., ICLR 2021, assumption 2.1.
    """

    def value(w):
        return (jnp.square(w) / (1 + jnp.square(w))).sum()

    def sample(key, worker, n):
        del worker
        z = jax.random.normal(key, (n, d))
        return Data(noise * z / jnp.linalg.norm(z, axis=1, keepdims=True))

    return make_task(
        init=lambda key, example: jnp.full(d, start, jnp.float32),
        loss=lambda w, batch: value(w) + batch.inputs @ w,
        metrics=lambda w, batch: {},
        measure=lambda w, facts: {"loss": value(w), "gradient_norm": jnp.linalg.norm(jax.grad(value)(w))},
        sample=sample,
    )


SPEC = Spec(noisy_wells, source="Geman and McClure 1985")
