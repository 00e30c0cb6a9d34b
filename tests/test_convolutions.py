"""Convolutions and pooling replaced on a CPU, against XLA's own: values, gradients, and what is left alone."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from byzsim import MODELS, convolutions
from byzsim.convolutions import TEST_CHUNK, by_platform, on_cpu, rewritten
from byzsim.engine import measures, workers
from byzsim.models import as_model
from byzsim.task import Data, take
from byzsim.tasks.classification import classification
from flax import nnx
from jax import lax

REPLACED = ("conv_general_dilated", "reduce_window_max", "reduce_window_sum", "select_and_scatter_add")


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def operations(function, *args):
    """Names of all operations in a function's program."""
    return set(_operations(jax.make_jaxpr(function)(*args).jaxpr))


def _operations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for body in convolutions._bodies(eqn):
            yield from _operations(body)


def check_same(function, *args, replaced=True):
    """Values and gradients of all arguments, in float64, against XLA's."""

    def scalar(function, *args):
        y = function(*args)
        return (y * jnp.cos(jnp.arange(y.size).reshape(y.shape))).sum()

    both = [
        jax.jit(jax.value_and_grad(functools.partial(scalar, f), argnums=tuple(range(len(args)))))
        for f in (function, rewritten(function))
    ]
    theirs, ours = (f(*args) for f in both)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-9), theirs, ours)
    if replaced:
        assert not operations(jax.grad(lambda *args: rewritten(function)(*args).sum()), *args) & {*REPLACED}


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def conv(x, kernel, strides=(1, 1), padding="SAME", numbers=("NHWC", "HWIO", "NHWC"), **options):
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=numbers, **options)


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 1), (0, 3)), ((-1, 0), (1, -1))])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize(("size", "dilation"), [((3, 3), (1, 1)), ((5, 2), (1, 1)), ((3, 2), (2, 3)), ((1, 1), (1, 1))])
def test_a_convolution(padding, strides, size, dilation):
    check_same(
        functools.partial(conv, strides=strides, padding=padding, rhs_dilation=dilation),
        drawn(2, 11, 9, 3),
        drawn(*size, 3, 4),
    )


@pytest.mark.parametrize("numbers", [("NCHW", "OIHW", "NCHW"), ("HWNC", "IOHW", "NHWC"), ("CHWN", "HWIO", "CHWN")])
def test_a_convolution_in_other_layouts(numbers):
    shapes = {"N": 2, "C": 3, "H": 8, "W": 7, "O": 4, "I": 3}
    kernel = {**shapes, "H": 3, "W": 2}
    x, k = (
        drawn(*(sizes[letter] for letter in names)) for names, sizes in zip(numbers, (shapes, kernel), strict=False)
    )
    check_same(functools.partial(conv, strides=(2, 1), numbers=numbers), x, k)


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 1), (0, 1))])
@pytest.mark.parametrize(
    ("window", "strides"), [((2, 2), (2, 2)), ((3, 3), (2, 2)), ((3, 2), (1, 1)), ((2, 2), (3, 3)), ((1, 3), (1, 2))]
)
@pytest.mark.parametrize("pool", [nn.max_pool, nn.avg_pool])
def test_pooling(pool, window, strides, padding):
    check_same(functools.partial(pool, window_shape=window, strides=strides, padding=padding), drawn(2, 9, 8, 3))


@pytest.mark.parametrize("pool", ["max", "avg"])
def test_of_equal_numbers_the_first_gets_the_gradient(pool):
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (3, 8, 8, 2)), float)
    check_same(lambda x: getattr(nn, f"{pool}_pool")(jax.nn.relu(x), (2, 2), (2, 2)), x)


@pytest.mark.parametrize("activation", [jax.nn.relu, jnp.tanh, jax.nn.gelu])
@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("side", [11, 16])
def test_a_pooled_convolution_with_a_large_kernel(activation, window, side):
    def net(x, kernel, bias, second):
        x = nn.max_pool(
            activation(conv(x, kernel, padding="VALID") + bias[None, None, None]), (window, window), (window, window)
        )
        return conv(x, second)

    check_same(net, drawn(2, side, side, 2), drawn(5, 5, 2, 3), drawn(3), drawn(3, 3, 3, 2))


def test_relu_keeps_its_own_derivative_at_zero():
    check_same(lambda x, k: jax.nn.relu(conv(x, k)), jnp.zeros((2, 6, 6, 1)), drawn(3, 3, 1, 2))


def test_a_derivative_of_the_users_own_stays():
    @jax.custom_jvp
    def relu(x):
        return jnp.maximum(x, 0)

    relu.defjvp(lambda primals, tangents: (relu(*primals), tangents[0] * jnp.where(primals[0] > 0, 1.0, 0.25)))
    check_same(lambda x, k: relu(conv(x, k)), drawn(2, 6, 6, 1), drawn(3, 3, 1, 2))


FORMS = {
    "jit": lambda f, x: jax.jit(f)(x),
    "remat": lambda f, x: jax.checkpoint(f)(x),
    "scan": lambda f, x: lax.scan(lambda x, _: (f(x), None), x, length=3)[0],
    "loop": lambda f, x: lax.fori_loop(0, 3, lambda _, x: f(x), x),
    "cond": lambda f, x: lax.cond(x.sum() > 0, f, lambda x: f(f(x)), x),
    "switch in jit": lambda f, x: jax.jit(lambda x: lax.switch(1, [f, lambda x: f(2 * x)], x))(x),
}


@pytest.mark.parametrize("form", FORMS)
def test_inside_other_operations(form):
    def net(x, kernel):
        layer = lambda x: nn.max_pool(jnp.tanh(conv(x, kernel)), (2, 2), padding="SAME")  # noqa: E731
        return FORMS[form](layer, x)

    check_same(net, drawn(2, 6, 6, 2), drawn(3, 3, 2, 2))


def test_a_model_of_one_example_under_vmap():
    def one(x, kernel):
        y = jax.nn.relu(lax.conv(x[None], kernel, (1, 1), "SAME")[0])
        return lax.reduce_window(y, -jnp.inf, lax.max, (1, 2, 2), (1, 2, 2), "VALID")

    check_same(jax.vmap(one, in_axes=(0, None)), drawn(3, 2, 8, 8), drawn(4, 2, 5, 5))


def test_elementwise_operations_between_images_of_different_layouts():
    def net(x, kernel, scale):
        y, pooled = conv(x, kernel), nn.max_pool(conv(x, jnp.sin(kernel)), (2, 2), (2, 2))
        y = nn.max_pool(y * scale + x.mean(), (2, 2), (2, 2))
        y = y + pooled * jnp.where(pooled > 0, x[:, ::2, ::2], 0.5)
        return y.transpose(0, 3, 1, 2).cumsum(axis=-1) - lax.conv(y.transpose(0, 3, 1, 2), kernel.T, (1, 1), "SAME")

    check_same(net, drawn(2, 8, 8, 3), drawn(5, 5, 3, 3), drawn(1, 8, 1, 3))


LEFT = {
    "groups": lambda x: conv(x, jnp.ones((3, 3, 1, 4)), feature_group_count=2 * x.shape[-1] // 2),
    "transposed": lambda x: conv(x, jnp.ones((3, 3, 4, 2)), padding=((2, 1), (2, 1)), lhs_dilation=(2, 2)),
    "one dimension": lambda x: conv(x[:, 0], jnp.ones((3, 4, 2)), (1,), numbers=("NWC", "WIO", "NWC")),
    "three dimensions": lambda x: nn.avg_pool(x[..., None], (2, 2, 2)),
    "channels": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 2), (1, 2, 2, 1), "VALID"),
    "dilated": lambda x: lax.reduce_window(
        x, 0.0, lax.add, (1, 2, 2, 1), (1,) * 4, "VALID", window_dilation=(1, 2, 2, 1)
    ),
    "minimum": lambda x: lax.reduce_window(x, jnp.inf, lax.min, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
    "half precision": lambda x: conv(x.astype(jnp.bfloat16), jnp.ones((3, 3, 4, 2), jnp.bfloat16)).astype(float),
    "a large kernel": lambda x: conv(x, jnp.ones((9, 8, 4, 2))),
    "the whole image": lambda x: nn.avg_pool(jnp.repeat(x, 2, axis=1), (16, 8)),
    "empty": lambda x: conv(x, jnp.ones((9, 9, 4, 2)), padding="VALID"),
}


@pytest.mark.parametrize("form", LEFT)
def test_what_is_left_to_xla_is_right(form):
    x = drawn(2, 8, 8, 4)
    f = LEFT[form]
    assert not convolutions._found(jax.make_jaxpr(f)(x).jaxpr)
    both = lambda x: f(x).sum() + nn.max_pool(conv(x, jnp.ones((3, 3, 4, 2))), (2, 2)).sum()  # noqa: E731
    check_same(lambda x: both(x)[None], x, replaced=False)


class Plain(nn.Module):
    """What a user writes."""

    pool: str = "max"
    norm: bool = False

    @nn.compact
    def __call__(self, images):
        x = images[..., None] / 255
        for features, size in ((4, 5), (6, 3)):
            x = nn.Conv(features, (size, size), padding="SAME")(x)
            x = nn.relu(nn.GroupNorm(2)(x) if self.norm else x)
            x = getattr(nn, f"{self.pool}_pool")(x, (2, 2), (2, 2))
        return nn.Dense(4)(x.reshape(len(x), -1))


@pytest.mark.parametrize(("pool", "norm"), [("max", False), ("avg", False), ("max", True)])
def test_a_flax_model(pool, norm):
    model, images = Plain(pool, norm), jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8))
    variables = jax.tree.map(lambda x: jnp.asarray(x, float), model.init(jax.random.key(0), images))
    flat, unravel = jax.flatten_util.ravel_pytree(variables)
    check_same(lambda flat: model.apply(unravel(flat), images), flat)


def test_an_nnx_model():
    graph, state = nnx.split(nnx.Conv(2, 3, (3, 3), strides=2, rngs=nnx.Rngs(0), param_dtype=float))
    flat, unravel = jax.flatten_util.ravel_pytree(state)
    check_same(lambda flat, x: nnx.merge(graph, unravel(flat))(x), flat, drawn(2, 7, 7, 2))


def task_of(model):
    return classification(model=as_model(model), n_classes=4)


EXAMPLE = Data(jnp.zeros((1, 28, 28), jnp.uint8), jnp.zeros(1, jnp.uint8))


def test_which_tasks_are_others_on_a_cpu():
    tasks = {name: task_of(spec.factory(n_classes=4)) for name, spec in MODELS.items()}
    others = {name: fast for name, task in tasks.items() if (fast := on_cpu(task, EXAMPLE))}
    assert {*others} == {"lenet", "resnet20"}
    assert others["lenet"] == tasks["lenet"]._replace(test_chunk=TEST_CHUNK)  # it has no convolution to replace
    assert others["resnet20"].loss is not tasks["resnet20"].loss and others["resnet20"].in_turn
    assert on_cpu(task_of(Plain()), EXAMPLE) is not None
    assert on_cpu(task_of(Plain())._replace(rewrites=False), EXAMPLE) is None


def of_workers(world, needed=(True, True, False, True)):
    """(static config of a user's network, its parameters, the gradients of all workers as a function, the batches)"""
    static, dynamic = world.plan()
    task = task_of(Plain())
    static = dataclasses.replace(static, task=lambda: task)
    params = world.start(static, dynamic, world.train).params
    example = workers.one_example(task, world.train)
    unravel = workers.unraveller(task, example)
    batch = take(world.train, jnp.arange(20).reshape(4, 5))
    batch = batch._replace(labels=batch.labels.astype(jnp.int32))

    def gradients(params, batch):
        given = workers.Point(params, ()), 1.0, workers.Work(batch, None, None), jnp.asarray(needed)
        return by_platform(task, example, functools.partial(workers.updates, static, unravel), *given)[:2]

    return task, params, unravel, gradients, batch


def test_the_engine_uses_them(world):
    with jax.enable_x64(False):
        task, params, unravel, gradients, batch = of_workers(world)
        losses, grads = jax.jit(gradients)(params, batch)

        def loss(params, images, labels):
            logits = Plain().apply({"params": unravel(params)}, images)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        for i in (0, 1, 3):
            value, gradient = jax.value_and_grad(loss)(params, batch.inputs[i], batch.labels[i])
            np.testing.assert_allclose(losses[i], value, rtol=1e-5)
            np.testing.assert_allclose(grads[i], gradient, atol=1e-5)
        assert not grads[2].any()
        whole = jax.grad(loss)(params, world.train.inputs, world.train.labels.astype(jnp.int32))
        full = by_platform(task, EXAMPLE, functools.partial(measures.full_gradient, unravel), params, (), world.train)
        np.testing.assert_allclose(full, whole, atol=1e-5)
        found = by_platform(task, EXAMPLE, measures.evaluate, unravel(params), (), world.test, ())
        logits = Plain().apply({"params": unravel(params)}, world.test.inputs)
        assert float(found["accuracy"]) == pytest.approx(float((logits.argmax(-1) == world.test.labels).mean()))
        expected = float(loss(params, world.test.inputs, world.test.labels))
        assert float(found["loss"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("platform", "kept"), [("cpu", False), ("cuda", True), ("tpu", True)])
def test_other_platforms_keep_xlas_convolutions(world, platform, kept):
    with jax.enable_x64(False):
        _, params, _, gradients, batch = of_workers(world)
        text = jax.jit(gradients).trace(params, batch).lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.convolution" in text) == kept
