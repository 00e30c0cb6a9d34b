"""Tasks: gradients and optima that are known, and what the engine makes of them."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import RunConfig, grid, simulate
from byzsim.engine import Data
from byzsim.experiments.datasets import load
from byzsim.models import as_model
from byzsim.task import make_task
from byzsim.tasks import TASKS
from flax import linen as nn
from flax import nnx


def octopus_in_numpy(x, L=math.e, gamma=1.0, tau=math.e):
    """Du et al. (2017), by cases, in float64."""

    def g1(a):
        return (
            -gamma * a**2
            + (-14 * L + 10 * gamma) / (3 * tau) * (a - tau) ** 3
            + (5 * L - 3 * gamma) / (2 * tau**2) * (a - tau) ** 4
        )

    def g2(a):
        u = a - 2 * tau
        first = -10 * (L + gamma) / tau**3 * u**3 - 15 * (L + gamma) / tau**4 * u**4
        return -gamma + first - 6 * (L + gamma) / tau**5 * u**5

    a, d = np.abs(x), len(x)
    depth = -g1(2 * tau) + 4 * L * tau**2
    inside = [j for j in range(d) if a[j] <= 2 * tau]
    i = inside[0] if inside else d
    total = L * ((a[:i] - 4 * tau) ** 2).sum() - i * depth
    if i == d:
        return total
    if a[i] <= tau:
        return total - gamma * a[i] ** 2 + L * (x[i + 1 :] ** 2).sum()
    total += g1(a[i])
    return total + (g2(a[i]) * x[i + 1] ** 2 + L * (x[i + 2 :] ** 2).sum() if i + 1 < d else 0.0)


def test_octopus_is_the_published_function_and_its_gradient():
    task = TASKS["octopus"].factory(d=4, noise=0.0)
    draw, tau = np.random.default_rng(0), math.e
    points = [draw.uniform(-5 * tau, 5 * tau, 4) for _ in range(60)]
    points += [np.sign(draw.normal(size=4)) * [3 * tau, 1.5 * tau, 0.3, 2.0], np.array([0.5, 1.0, -2.0, 0.1])]
    loss = jax.jit(lambda x: task.loss(x, (), Data(jnp.zeros((1, 4))), None)[0])
    slope = jax.jit(jax.grad(loss))
    for x in points:
        expected = octopus_in_numpy(x)
        assert float(loss(jnp.asarray(x, jnp.float32))) == pytest.approx(expected, rel=1e-4, abs=1e-2)
        step = 1e-4
        numeric = [(octopus_in_numpy(x + step * e) - octopus_in_numpy(x - step * e)) / (2 * step) for e in np.eye(4)]
        np.testing.assert_allclose(slope(jnp.asarray(x, jnp.float32)), numeric, rtol=2e-3, atol=2e-2)


def test_octopus_measures_saddles_and_curvature():
    task, tau = TASKS["octopus"].factory(d=3), math.e
    start = task.measure(jnp.zeros(3), ())
    assert float(start["saddles"]) == 0 and float(start["min_eigenvalue"]) == pytest.approx(-2.0, rel=1e-5)
    end = task.measure(jnp.full(3, 4 * tau), ())
    assert float(end["saddles"]) == 3 and float(end["min_eigenvalue"]) == pytest.approx(2 * math.e, rel=1e-5)
    key = jax.random.key(0)
    noise = TASKS["octopus"].factory(d=3, noise=2.0).sample(key, jnp.int32(0), 5).inputs
    np.testing.assert_allclose(jnp.linalg.norm(noise, axis=1), 2.0, rtol=1e-5)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_least_squares_goes_to_the_optimum_in_closed_form(ridge):
    options = {"d": 4, "n": 30, "ridge": ridge, "condition": 3.0}
    train, _, (optimum, truth) = TASKS["least_squares"].factory(**options).generate(jax.random.key(3), 5)
    x, y = np.asarray(train.inputs, float), np.asarray(train.labels, float)
    exact = np.linalg.solve(x.T @ x / len(x) + ridge * np.eye(4), x.T @ y / len(x))
    np.testing.assert_allclose(optimum, exact, atol=1e-4)
    assert float(jnp.linalg.norm(truth)) == pytest.approx(1)
    how = {"m": 5, "batch": None, "lr": 0.5, "total_steps": 200, "eval_every": 100}
    history = simulate(task="least_squares", task_args=options, **how)
    assert history.metrics["distance"][-1] < 1e-4 < history.metrics["distance_to_truth"][-1]


def test_least_squares_gradient_against_a_loop():
    task = TASKS["least_squares"].factory(d=3, n=4, ridge=0.2)
    train = task.generate(jax.random.key(0), 2).train
    w = jnp.array([0.5, -1.0, 2.0])
    slope = jax.grad(lambda w: task.loss(w, (), train, None).mean())(w)
    x, y = np.asarray(train.inputs, float), np.asarray(train.labels, float)
    np.testing.assert_allclose(slope, x.T @ (x @ np.asarray(w) - y) / len(x) + 0.2 * np.asarray(w), rtol=1e-4)


def test_logistic_regression_has_a_minimum_where_it_says():
    task = TASKS["logistic"].factory(d=4, n=40)
    train, _, (optimum, _) = task.generate(jax.random.key(1), 5)
    slope = jax.grad(lambda w: task.loss(w, (), train, None).mean())(optimum)
    assert float(jnp.abs(slope).max()) < 1e-5
    x, y = np.asarray(train.inputs, float), 2.0 * np.asarray(train.labels) - 1
    w = np.array([0.3, -0.2, 0.1, 0.5])
    expected = (-(y / (1 + np.exp(y * (x @ w))))[:, None] * x).mean(axis=0) + 0.01 * w
    found = jax.grad(lambda w: task.loss(w, (), train, None).mean())(jnp.asarray(w, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    history = simulate(task="logistic", task_args={"d": 4, "n": 40}, m=5, batch=None, lr=2.0, epochs=300)
    assert history.metrics["distance"][-1] < 0.05 < history.metrics["distance"][0]


def test_noisy_quadratic_has_the_gradient_and_the_noise_that_it_says():
    task = TASKS["noisy_quadratic"].factory(d=3, sigma=2.0, condition=4.0)
    w, key = jnp.array([1.0, 2.0, -1.0]), jax.random.key(0)
    slopes = jax.vmap(lambda noise: jax.grad(lambda w: task.loss(w, (), Data(noise[None]), None)[0])(w))(
        task.sample(key, jnp.int32(0), 20_000).inputs
    )
    np.testing.assert_allclose(slopes.mean(axis=0), np.asarray(w) * [1, 0.5, 0.25], atol=0.06)
    np.testing.assert_allclose(slopes.std(axis=0), 2.0, rtol=0.02)
    history = simulate(task="noisy_quadratic", m=5, batch=2, lr=0.5, steps=30, epochs=2, task_args={"sigma": 0.0})
    assert history.metrics["distance"][-1] < 1e-6


def test_regression_with_a_model():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(80, 3)).astype(np.float32)
    pair = x, x @ [1.0, -2.0, 0.5]
    history = simulate(pair, pair, task="regression", model="softmax", m=4, batch=5, lr=0.3, epochs=10)
    assert history.loss[-1] < 1e-3 < history.loss[0] and list(history.metrics) == ["loss"]
    two = x, np.stack([pair[1], -pair[1]], axis=1)
    assert simulate(two, two, task="regression", model="softmax", m=4, batch=5, lr=0.3, epochs=10).loss[-1] < 1e-3


def test_any_pytree_any_task():
    """Inputs of two arrays, no labels, a loss that draws: from make_task to a finished run."""
    task = make_task(
        init=lambda key, example: {"w": jnp.zeros(example.inputs["a"].shape[1])},
        loss=lambda params, batch, key: (
            jnp.square(batch.inputs["a"] @ params["w"] - batch.inputs["b"][:, 0])
            + (0 if key is None else 1e-3 * jax.random.normal(key, (len(batch.inputs["a"]),)))
        ),
    )
    a = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    data = Data({"a": jnp.asarray(a), "b": jnp.asarray(a[:, :1] - a[:, 1:])})
    run = grid.resolve(RunConfig(task="least_squares", m=4, batch=5, epochs=20, lr=0.1))
    static = dataclasses.replace(run.static, task=lambda: task)
    (history,) = grid.run(static, [run.dynamic], data, data, epochs=20)
    assert history.loss[-1] < 1e-3 < history.loss[0]


class Dropped(nn.Module):
    n_classes: int

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dropout(0.5)(nn.Dense(16)(x.reshape(len(x), -1) / 255.0), deterministic=not train)
        return nn.Dense(self.n_classes)(nn.relu(x))


class Nnx(nnx.Module):
    def __init__(self, n_classes, rngs):
        self.hidden, self.out = nnx.Linear(16, 12, rngs=rngs), nnx.Linear(12, n_classes, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.out(self.dropout(nnx.relu(self.hidden(x.reshape(len(x), -1) / 255.0))))


class Plain:
    def __init__(self, n_classes):
        self.n_classes = n_classes

    def init(self, key, x):
        return {"w": 0.1 * jax.random.normal(key, (x[0].size, self.n_classes))}

    def apply(self, params, x):
        return x.reshape(len(x), -1) / 255.0 @ params["w"]


@pytest.mark.parametrize(
    ("given", "draws"),
    [(Dropped(4), True), (lambda rngs: Nnx(4, rngs), True), (Plain(4), False)],
    ids=["linen", "nnx", "plain"],
)
def test_a_model_of_any_kind(given, draws):
    model, inputs = as_model(given), jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 4, 4)), jnp.uint8)
    params, constants = model.init(jax.random.key(0), inputs)
    measured = model.apply(params, constants, inputs, None)
    assert measured.shape == (3, 4) and model.draws is draws
    np.testing.assert_array_equal(measured, model.apply(params, constants, inputs, None))
    if draws:
        one, same, other = (model.apply(params, constants, inputs, jax.random.key(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert (one != other).any() and (one != measured).any()
    slopes = jax.grad(lambda params: model.apply(params, constants, inputs, jax.random.key(1)).sum())(params)
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(slopes))


def test_what_is_no_model_is_refused():
    with pytest.raises(ValueError, match="a model is int; expected a Flax linen module"):
        as_model(3)


def test_a_language_model_learns_the_text():
    data = load("python_docs", log=lambda line: None)
    assert data.train_inputs.shape[1] == 65 and data.train_inputs.max() < 96 and data.n_classes is None
    train, test = ((part[:400], None) for part in (data.train_inputs, data.test_inputs))
    how = {"m": 4, "batch": 8, "steps": 5, "epochs": 2, "optimizer": "adam", "lr": 0.01, "rule": "median"}
    history = simulate(train, test, task="char_lm", task_args={"width": 16, "heads": 2}, **how)
    assert history.loss[-1] < history.loss[0] < math.log(96) + 0.5
