"""What a user's plain `nn.Conv` costs on a CPU: against our own LeNet layers, XLA's convolutions and torch."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from byzsim import engine
from byzsim.engine import StaticConfig
from byzsim.experiments.bench import steps
from byzsim.experiments.bench.environment import Peer
from byzsim.experiments.bench.findings import Finding
from byzsim.experiments.bench.timing import Effort, Side, interleaved
from byzsim.models._layers import unit_images
from byzsim.models.resnet20 import ResNet20
from jax.flatten_util import ravel_pytree

TARGET = 1.5  # times our own layers
TOLERANCE = 0.05  # of the largest entry: beside a kink of ReLU or of a maximum, rounding chooses the side
Array = jax.Array


class PlainLeNet(nn.Module):
    """LeNet-5 as a user writes it."""

    n_classes: int = 10

    @nn.compact
    def __call__(self, images: Array) -> Array:
        x = unit_images(images)
        for features, padding in ((6, 2), (16, 0)):
            x = nn.max_pool(nn.relu(nn.Conv(features, (5, 5), padding=padding)(x)), (2, 2), (2, 2))
        x = x.reshape(len(x), -1)
        for features in (120, 84):
            x = nn.relu(nn.Dense(features)(x))
        return nn.Dense(self.n_classes)(x)


class VGG(nn.Module):
    """3 x 3 convolutions with GroupNorm, max-pooling after every second, mean over pixels."""

    n_classes: int = 10

    @nn.compact
    def __call__(self, images: Array) -> Array:
        x = unit_images(images)
        for features in (32, 64, 128):
            for _ in range(2):
                x = nn.relu(nn.GroupNorm(8)(nn.Conv(features, (3, 3))(x)))
            x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(self.n_classes)(x.mean(axis=(1, 2)))


class PlainResNet20(ResNet20):
    """`resnet20` as a user's own."""

    xla_convolutions: ClassVar[bool] = False


def convolutions(
    batches: tuple[int, ...], peer: Peer | None, folder: Path, effort: Effort, *, deep: bool
) -> Iterator[Finding]:
    """Per-worker gradients of one run on one device, m = 20, by the engine; each network's sides in one comparison.

    Args:
        deep: of VGG and ResNet-20 too, which take a minute to compile.
    """
    for batch in batches:
        own, _, images = steps._prepared(steps.SETTINGS[0], batch, steps=1)
        plain = {"": PlainLeNet(), "XLA": _kept(PlainLeNet())}
        sides = {"our own layers": _side(own, images)}
        sides |= {name: _side(dataclasses.replace(own, model=model), images) for name, model in plain.items()}
        yield from _findings(f"LeNet by nn.Conv, b = {batch}", sides, effort)
    for model, name in ((VGG(), "VGG"), (PlainResNet20(10, 8), "ResNet20")) if deep else ():
        static, *_ = steps._prepared(steps.SETTINGS[0], 8, steps=1)
        static, images = dataclasses.replace(static, model=model), steps.Images(8, 1, shape=(32, 32, 3))
        sides = {"": _side(static, images), "XLA": _side(dataclasses.replace(static, model=_kept(model)), images)}
        if peer is not None:
            job = _job(static, images, folder, name)
            _check(peer, job, static, images, folder)
            sides["torch.func.vmap(grad)"] = peer.side(job)
        yield from _findings(f"{name} by nn.Conv, b = 8", sides, effort)


@dataclasses.dataclass(frozen=True)
class _Kept:
    """A model whose convolutions stay XLA's."""

    model: nn.Module
    xla_convolutions: ClassVar[bool] = True

    def init(self, *args: Any) -> Any:
        return self.model.init(*args)

    def apply(self, *args: Any) -> Any:
        return self.model.apply(*args)


def _kept(model: nn.Module) -> Any:
    return _Kept(model)


def _findings(what: str, sides: dict[str, Side], effort: Effort) -> Iterator[Finding]:
    times, failures = interleaved(sides, effort)
    for name in [name for name in sides if name]:
        yield Finding(
            part="convolutions",
            what=what,
            shape=f"m = {steps.M}",
            sense="<=",
            other=f"{name}'s convolutions under vmap" if name == "XLA" else name,
            ours=times[""],
            theirs=times.get(name),
            target=None if name == "XLA" else TARGET,
            note=failures.get(name, ""),
        )


def _params(static: StaticConfig, images: steps.Images) -> Array:
    variables = jax.jit(static.model.init)(jax.random.key(0), images.train.images[:1])
    return ravel_pytree(variables["params"])[0]


def _side(static: StaticConfig, images: steps.Images) -> Side:
    return steps._gradient_side(static, _params(static, images), images, 1)


def _job(static: StaticConfig, images: steps.Images, folder: Path, model: str) -> dict[str, Any]:
    path = folder / f"gradients_{model}.npz"
    steps._save(path, steps.to_torch(steps._tree(static, _params(static, images), images)) | images.first())
    return {"kind": "gradients", "arrays": str(path), "model": model}


def _check(peer: Peer, job: Any, static: StaticConfig, images: steps.Images, folder: Path) -> None:
    out = folder / "gradients_of_peer.npz"
    peer.run(job, out=out)
    theirs = dict(np.load(out))
    first = ravel_pytree(steps.from_torch({name: value[0] for name, value in theirs.items()}))[0]
    index = images.index[0, :1]
    x, y = images.train.images[index], images.train.labels[index].astype(jnp.int32)
    run = jax.jit(engine.worker_gradients, static_argnums=0)
    ours = run(static, _params(static, images), images.train, x, y, jnp.ones(1, bool))[1][0]
    steps.check_same(f"a worker's gradient of {job['model']}", ours, first, TOLERANCE)
