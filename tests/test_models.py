"""Models: sizes, and the convolution written as a matrix product against XLA's own."""

import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import MODELS, RunConfig, Spec, check_shapes, engine, grid
from byzsim.engine import workers
from byzsim.experiments import cli
from byzsim.models._layers import ConvPool, unit_images
from byzsim.models.resnet20 import Block
from conftest import TINY


def images(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def params(made, shape=(1, 28, 28)):
    return jax.jit(made.init)(jax.random.key(0), jnp.zeros(shape, jnp.uint8))


def conv(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
    )


def pool(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


@pytest.mark.parametrize(
    ("model", "options", "count"),
    [
        ("lenet", {}, 61_706),
        ("lenet", {"padding": 0, "activation": "sigmoid"}, 44_426),
        ("mlp", {}, 79_510),
        ("mlp", {"hidden": 7}, 784 * 7 + 7 + 70 + 10),
        ("softmax", {}, 7_850),
        ("resnet20", {}, 269_434),
    ],
)
def test_parameter_counts(model, options, count):
    made = MODELS[model].factory(n_classes=10, **options)
    shapes = jax.eval_shape(lambda: params(made))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 28, 28, 1), (3, 28, 28, 3)])
def test_every_model_maps_images_to_logits(model, shape):
    made = MODELS[model].factory(n_classes=7)
    logits = jax.eval_shape(lambda: made.apply(params(made, shape), jnp.zeros(shape, jnp.uint8)))
    assert logits.shape == (3, 7) and logits.dtype == jnp.float32


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", "resnet20", "softmax"])
def test_small_images_will_do(model):
    made = MODELS[model].factory(n_classes=10)
    logits = jax.jit(made.apply)(params(made, (1, 8, 8)), images(3, 8, 8))
    assert logits.shape == (3, 10) and np.isfinite(logits).all()


def test_every_model_is_documented_and_keyword_only(model):
    spec = MODELS[model]
    assert spec.summary.endswith(".") and spec.source
    assert {p.kind for p in inspect.signature(spec.factory).parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_pixels_become_zero_to_one():
    pixels = unit_images(jnp.array([[[0, 51], [204, 255]]], jnp.uint8))
    assert pixels.shape == (1, 2, 2, 1) and pixels.dtype == jnp.float32
    np.testing.assert_allclose(pixels[0, ..., 0], [[0, 0.2], [0.8, 1]], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("side", "wide", "k", "c"), [(12, 8, 5, 3), (6, 10, 3, 1)])
def test_conv_pool_is_convolution_then_pooling(side, wide, k, c):
    draw = np.random.default_rng(1)
    x = jnp.asarray(draw.normal(size=(2, side, wide, c)), jnp.float32)
    kernel = jnp.asarray(draw.normal(size=(k, k, c, 4)), jnp.float32)
    bias = jnp.asarray(draw.normal(size=4), jnp.float32)
    target = jnp.asarray(draw.normal(size=(2, (side - k + 1) // 2, (wide - k + 1) // 2, 4)), jnp.float32)
    layer = ConvPool(4, kernel_size=k)

    def ours(x, kernel, bias):
        y = layer.apply({"params": {"kernel": kernel, "bias": bias}}, x.transpose(3, 1, 2, 0)).transpose(3, 1, 2, 0)
        return ((y - target) ** 2).sum(), y

    def direct(x, kernel, bias):
        y = pool(conv(x, kernel)) + bias[None, None, None]
        return ((y - target) ** 2).sum(), y

    (_, y), gradients = jax.value_and_grad(ours, argnums=(0, 1, 2), has_aux=True)(x, kernel, bias)
    (_, expected), wanted = jax.value_and_grad(direct, argnums=(0, 1, 2), has_aux=True)(x, kernel, bias)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    for ours_, theirs in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(ours_, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("padding", [0, 2])
def test_lenet_layer_by_layer(padding, activation):
    made = MODELS["lenet"].factory(n_classes=10, padding=padding, activation=activation)
    tree = params(made)
    weights = tree["params"]
    act = {"relu": lambda x: jnp.maximum(x, 0), "sigmoid": lambda x: 1 / (1 + jnp.exp(-x))}[activation]
    pixels = images(2, 28, 28)
    x = jnp.pad(pixels[..., None] / jnp.float32(255), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    for name in ("ConvPool_0", "ConvPool_1"):
        x = pool(act(conv(x, weights[name]["kernel"]) + weights[name]["bias"][None, None, None]))
    x = x.reshape(2, -1)
    for name in ("Dense_0", "Dense_1"):
        x = act(x @ weights[name]["kernel"] + weights[name]["bias"][None])
    expected = x @ weights["Dense_2"]["kernel"] + weights["Dense_2"]["bias"][None]
    np.testing.assert_allclose(made.apply(tree, pixels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_workers_who_take_turns_do_not_work_when_not_needed():
    """On a CPU LeNet's workers take turns: the gradients of those needed to the last bit, zeros for the others."""
    (group,) = grid.plan([RunConfig(rule="mean", model="lenet", m=3, batch=2)], grid.Source(10, 6))
    data = engine.Data(jnp.asarray(images(6, 28, 28)), jnp.arange(6, dtype=jnp.uint8))
    start = engine.start(group.static, group.dynamic[0], data).params
    batch = engine.Data(data.inputs.reshape(3, 2, 28, 28), jnp.arange(6).reshape(3, 2))
    unravel = workers.unraveller(group.static.task(), workers.one_example(group.static.task(), data))

    @jax.jit
    def gradients(start, batch, needed):
        point, work = workers.Point(start, ()), workers.Work(batch, None, None)
        return workers.updates(group.static, unravel, group.static.task(), point, 0.1, work, needed)[:2]

    everybody = gradients(start, batch, jnp.ones(3, bool))
    some = gradients(start, batch, jnp.array([True, False, True]))
    for all_of_them, needed in zip(everybody, some, strict=True):
        np.testing.assert_array_equal(needed[0], all_of_them[0])
        np.testing.assert_array_equal(needed[2], all_of_them[2])
        assert np.asarray(all_of_them[1]).any() and not np.asarray(needed[1]).any()


def test_resnet20_in_colour_is_as_large_as_the_papers():
    shapes = jax.eval_shape(lambda: params(MODELS["resnet20"].factory(n_classes=10), (1, 32, 32, 3)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 269_722


@pytest.mark.slow
def test_resnet20_block_without_its_convolutions_is_the_shortcut():
    """With the last norm's scale at 0 a block is relu(every second pixel, with zeros for the new features)."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 16)), jnp.float32)
    block = Block(features=32, stride=2, groups=8)
    tree = block.init(jax.random.key(0), x)
    tree["params"]["GroupNorm_1"]["scale"] = jnp.zeros(32)
    y = block.apply(tree, x)
    np.testing.assert_array_equal(y[..., :16], jnp.maximum(x[:, ::2, ::2], 0))
    assert not y[..., 16:].any()


@pytest.mark.parametrize("groups", [0, 3, 32])
def test_resnet20_groups_have_to_divide_its_features(groups):
    with pytest.raises(ValueError, match=f"groups={groups} is not a (divisor of 16|whole number of at least 1)"):
        MODELS["resnet20"].factory(n_classes=10, groups=groups)


def test_unknown_activation_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="activation='tanh' is not one of 'relu', 'sigmoid'"):
        MODELS["lenet"].factory(n_classes=10, activation="tanh")


# Models of a user's own


class Normalised(nn.Module):
    """Pixels less a mean, over a deviation: numbers of a collection, or of the code; then softmax regression."""

    n_classes: int
    collection: bool

    @nn.compact
    def __call__(self, images):
        shift, scale = 0.3, 0.35
        if self.collection:
            shift = self.variable("constants", "shift", jnp.full, (), 0.3).value
            scale = self.variable("constants", "scale", jnp.full, (), 0.35).value
        x = (unit_images(images) - shift) / scale
        return nn.Dense(self.n_classes)(x.reshape(len(x), -1))


class Projected(nn.Module):
    """Random features, which are drawn with the parameters and stay as they are."""

    n_classes: int

    @nn.compact
    def __call__(self, images):
        drawn = self.variable("features", "w", lambda: jax.random.normal(self.make_rng("params"), (16, 12)))
        return nn.Dense(self.n_classes)(jnp.cos(unit_images(images).reshape(len(images), -1) @ drawn.value))


class Odd(nn.Module):
    """What a training step cannot do."""

    n_classes: int
    what: str

    @nn.compact
    def __call__(self, images, **more):
        x = unit_images(images)
        match self.what:
            case "batch_norm":
                x = nn.BatchNorm(use_running_average=False)(x)
            case "frozen_batch_norm":
                x = nn.BatchNorm(use_running_average=True)(x)
            case "dropout":
                x = nn.Dropout(0.5, deterministic=False)(x)
            case "flag":
                x = nn.BatchNorm()(x)
            case "nothing":
                return x.reshape(len(x), -1)[:, : self.n_classes]
            case "one_more":
                return nn.Dense(self.n_classes + 1)(x.reshape(len(x), -1))
        return nn.Dense(self.n_classes)(x.reshape(len(x), -1))


@pytest.fixture
def with_model(monkeypatch, world):
    """(factory, fields of a run) -> the program and dynamic configs of that run, on the tiny world."""

    def plan(make, **run_config):
        monkeypatch.setitem(MODELS, "own", Spec(make, source="me"))
        return world.plan(model="own", **run_config)

    return plan


@pytest.mark.slow
def test_only_params_are_trained(with_model, world):
    """Against the same numbers in the code: as many parameters, and the same curve."""
    histories, sizes = [], []
    for collection in (True, False):
        static, dynamic = with_model(
            lambda *, n_classes, c=collection: Normalised(n_classes, c), rule="median", attack="alie", n_byz=1, lr=0.5
        )
        (history,) = grid.run(static, [dynamic], world.train, world.test, epochs=3)
        histories.append(np.array([history.accuracy, history.loss, history.train_loss, history.variance]))
        sizes.append(len(grid.snapshot_spec(static, dynamic, world.train, world.test, 1).state.params))
    assert sizes == [17 * 4, 17 * 4]
    np.testing.assert_allclose(*histories, rtol=1e-5)


@pytest.mark.slow
def test_what_is_not_trained_comes_from_the_seed_and_is_in_the_snapshots(with_model, world):
    static, dynamic = with_model(lambda *, n_classes: Projected(n_classes), lr=0.5)
    kept = []

    def run(seed=0, **how):
        seeded = dynamic._replace(seeds=jnp.full_like(dynamic.seeds, seed))
        return grid.run(static, [seeded], world.train, world.test, epochs=2, **how)[0]

    whole = run(on_state=lambda _, snapshots: kept.append(snapshots()))
    drawn = [snapshots[0].state.constants["features"]["w"] for snapshots in kept]
    assert drawn[0].shape == (16, 12) and (drawn[0] == drawn[1]).all() and np.ptp(drawn[0]) > 1
    assert run(resume=kept[0]).digest == whole.digest != run(seed=1).digest


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            "batch_norm",
            r"own .*BatchNorm.* rules aggregate parameters only. Use GroupNorm or LayerNorm, .* \"batch_stats\" is",
        ),
        ("dropout", "needs random numbers: give __call__ an argument train, which is True in training"),
        ("flag", r"own on inputs uint8 \(4, 4\): "),
        ("nothing", r"there is nothing to train; expected parameters \(in Flax: the collection 'params'\)"),
        ("one_more", r"returns float32 \(1, 5\) for one example; expected \(1, 4\)"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_by_shapes(what, message, monkeypatch, world):
    monkeypatch.setitem(MODELS, "own", Spec(lambda *, n_classes: Odd(n_classes, what), source="me"))
    monkeypatch.delattr(grid, "plan")  # it does not come to that
    with pytest.raises(ValueError, match=message):
        world.simulate(model="own")


def test_so_it_is_on_the_command_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(MODELS, "own", Spec(lambda *, n_classes: Odd(n_classes, "batch_norm"), source="me"))
    assert cli.main(["run", "smoke", "--model", "own", "--results", str(tmp_path)]) == 2
    assert "rules aggregate parameters only" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_over_two_devices_has_all_of_a_model(with_model, world):
    static, dynamic = with_model(lambda *, n_classes: Projected(n_classes), lr=0.5)
    how = {"epochs": 1, "devices": jax.devices()[:2]}
    alone, shared = (grid.run(static, [dynamic], world.train, world.test, **how, devices_per_run=k)[0] for k in (1, 2))
    np.testing.assert_allclose(shared.loss, alone.loss, rtol=1e-4)


def test_frozen_statistics_will_do(monkeypatch, world):
    monkeypatch.setitem(MODELS, "own", Spec(lambda *, n_classes: Odd(n_classes, "frozen_batch_norm"), source="me"))
    check_shapes.runs([grid.resolve(RunConfig(**TINY | {"model": "own"}), world.source)], world.train)


@pytest.mark.parametrize(("model", "image"), [("lenet", (1, 28, 28)), ("resnet20", (3, 32, 32)), ("mlp", (3, 28, 20))])
def test_channels_come_last(model, image):
    train = engine.Data(np.zeros((64, *image), np.uint8), np.zeros(64, np.uint8))
    with pytest.raises(ValueError, match=r"expected \(n, h, w\) or \(n, h, w, c\): is the channel first\?"):
        check_shapes.runs([grid.resolve(RunConfig(m=4, model=model), grid.source_of(train, 10))], train)
