"""Logistic regression on generated data, with the optimum by Newton's method."""

import jax
import jax.numpy as jnp
from byzsim.options import Count, Positive, checked
from byzsim.task import Data, Generated, Task, make_task
from byzsim.types import Spec

NEWTON_STEPS = 25  # quadratic convergence ends far sooner for a ridge that is not tiny


@checked
def logistic(
    *, d: Count = 20, n: Count = 50, n_test: Count = 1000, ridge: Positive = 0.01, size: Positive = 3.0
) -> Task:
    """Binary logistic regression with a ridge on n Gaussian examples a worker.

    $$\\ell(w; x, y) = \\log(1 + e^{-y x^\\top w}) + \\tfrac{\\lambda}{2} \\|w\\|^2, \\qquad
      y \\in \\{-1, 1\\}, \\quad P(y = 1 \\mid x) = \\sigma(x^\\top w^*)$$

    x ~ N(0, I), w* is drawn on the sphere of radius `size`, and w starts at 0. Labels are the classes 0 and 1 (y = -1
    and 1), so attacks on labels apply. Measured: `accuracy` and `loss` on the test set, `distance`
    $\\|w - \\hat w\\|$ to the minimum of the training loss of all workers, and `distance_to_truth` $\\|w - w^*\\|$.

    Args:
        d: coordinates (static).
        n, n_test: training examples of a worker, and test examples (static).
        ridge: lambda.
        size: the norm of w*: the larger, the fewer labels are noise.
    References: textbook; the strongly convex problem of many analyses, such as Karimireddy et al., ICML 2021.
    """

    def draw(key, truth, count):
        x_key, y_key = jax.random.split(key)
        x = jax.random.normal(x_key, (count, d))
        return Data(x, jax.random.bernoulli(y_key, jax.nn.sigmoid(x @ truth)).astype(jnp.int32))

    def margin(w, batch):
        return (2 * batch.labels - 1) * (batch.inputs @ w)

    def loss(w, batch):
        return jax.nn.softplus(-margin(w, batch)) + ridge / 2 * jnp.square(w).sum()

    def generate(key, m):
        truth_key, train_key, test_key = jax.random.split(key, 3)
        truth = jax.random.normal(truth_key, (d,))
        truth = size * truth / jnp.linalg.norm(truth)
        train = draw(train_key, truth, m * n)
        optimum = _minimum(lambda w: loss(w, train).mean(), jnp.zeros(d))
        return Generated(train, draw(test_key, truth, n_test), (optimum, truth))

    def metrics(w, batch):
        return {"accuracy": margin(w, batch) > 0, "loss": loss(w, batch)}

    def measure(w, facts):
        optimum, truth = facts
        return {"distance": jnp.linalg.norm(w - optimum), "distance_to_truth": jnp.linalg.norm(w - truth)}

    return make_task(
        init=lambda key, example: jnp.zeros(d),
        loss=loss,
        metrics=metrics,
        measure=measure,
        generate=generate,
        n_classes=2,
    )


def _minimum(loss, start):
    """By Newton's method, from where the loss is strongly convex."""

    def step(w, _):
        return w - jnp.linalg.solve(jax.hessian(loss)(w), jax.grad(loss)(w)), None

    return jax.lax.scan(step, start, length=NEWTON_STEPS)[0]


SPEC = Spec(logistic, source="textbook")
