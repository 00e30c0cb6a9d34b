"""Least squares and ridge regression on generated data, with the optimum in closed form."""

from typing import Literal

import jax
import jax.numpy as jnp
from byzsim.options import Count, NotNegative, Positive, checked
from byzsim.task import Data, Generated, Task, make_task
from byzsim.types import Spec


@checked
def least_squares(
    *,
    d: Count = 20,
    n: Count = 50,
    n_test: Count = 1000,
    noise: NotNegative = 1.0,
    ridge: NotNegative = 0.0,
    condition: Positive = 1.0,
    draws: Literal["normal", "exponential"] = "normal",
) -> Task:
    """Linear regression on n examples a worker.

    $$\\ell(w; x, y) = \\tfrac12 (x^\\top w - y)^2 + \\tfrac{\\lambda}{2} \\|w\\|^2, \\qquad
      y = x^\\top w^* + \\sigma \\varepsilon, \\quad x \\sim N(0, \\mathrm{diag}(s)), \\; \\varepsilon \\sim N(0, 1)$$

    The variances s go from 1 down to 1 / condition in equal ratios; $w^*$ is drawn on the unit sphere; w starts at 0.
    Measured: `loss` on the test set, `distance` $\\|w - \\hat w\\|$ to the minimum of the training loss of all workers,
    and `distance_to_truth` $\\|w - w^*\\|$.

    Args:
        d: coordinates (static).
        n, n_test: training examples of a worker, and test examples (static).
        noise: the standard deviation sigma of the targets.
        ridge: lambda.
        condition: largest variance of a coordinate over the smallest.
        draws: of x and of epsilon: "normal" as above, or "exponential": exponential variables less their mean, with the
            same variances, so that gradients are skewed (static).
    References: the statistical model of Yin, Chen, Ramchandran, Bartlett, ICML 2018 (arXiv 1803.01498), section 7.
    """

    def standard(key, shape):
        return jax.random.normal(key, shape) if draws == "normal" else jax.random.exponential(key, shape) - 1

    def draw(key, truth, count):
        x_key, y_key = jax.random.split(key)
        scales = jnp.asarray(condition, jnp.float32) ** (-jnp.arange(d) / (2 * max(d - 1, 1)))
        x = scales[None] * standard(x_key, (count, d))
        return Data(x, x @ truth + noise * standard(y_key, (count,)))

    def generate(key, m):
        truth_key, train_key, test_key = jax.random.split(key, 3)
        truth = jax.random.normal(truth_key, (d,))
        truth = truth / jnp.linalg.norm(truth)
        train = draw(train_key, truth, m * n)
        gram = train.inputs.T @ train.inputs / (m * n) + ridge * jnp.eye(d)
        optimum = jnp.linalg.solve(gram, train.inputs.T @ train.labels / (m * n))
        return Generated(train, draw(test_key, truth, n_test), (optimum, truth))

    def loss(w, batch):
        return jnp.square(batch.inputs @ w - batch.labels) / 2 + ridge / 2 * jnp.square(w).sum()

    def measure(w, facts):
        optimum, truth = facts
        return {"distance": jnp.linalg.norm(w - optimum), "distance_to_truth": jnp.linalg.norm(w - truth)}

    return make_task(init=lambda key, example: jnp.zeros(d), loss=loss, measure=measure, generate=generate)


SPEC = Spec(least_squares, source="Yin et al., ICML 2018")
