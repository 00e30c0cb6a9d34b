"""What a user's plain `nn.Conv` costs on a CPU: against our own LeNet layers, XLA's convolutions and torch."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from byzsim.engine import StaticConfig
from byzsim.engine.workers import one_example
from byzsim.experiments.bench import steps
from byzsim.experiments.bench.environment import Peer
from byzsim.experiments.bench.measure import Budget, Candidate, Comparison, interleaved
from byzsim.models import Model, as_model
from byzsim.models._layers import unit_images
from byzsim.models.resnet20 import ResNet20
from byzsim.tasks.classification import classification
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
    batches: tuple[int, ...], peer: Peer | None, folder: Path, budget: Budget, *, deep: bool
) -> Iterator[Comparison]:
    """Per-worker gradients of one run on one device, m = 20, by the engine, each network in one comparison.

    Args:
        deep: of VGG and ResNet-20 too, which take a minute to compile.
    """
    for batch in batches:
        own, _, images = steps._prepared(steps.SETTINGS[0], batch, steps=1)
        plain = {"": PlainLeNet(), "XLA": _kept(PlainLeNet())}
        candidates = {"our own layers": _candidate(own, images)}
        candidates |= {name: _candidate(_trained(own, model), images) for name, model in plain.items()}
        yield from _comparisons(f"LeNet by nn.Conv, b = {batch}", candidates, budget)
    for model, name in ((VGG(), "VGG"), (PlainResNet20(10, 8), "ResNet20")) if deep else ():
        static, *_ = steps._prepared(steps.SETTINGS[0], 8, steps=1)
        static, images = _trained(static, model), steps.Images(8, 1, shape=(32, 32, 3))
        candidates = {"": _candidate(static, images), "XLA": _candidate(_trained(static, _kept(model)), images)}
        if peer is not None:
            job = _job(static, images, folder, name)
            _check(peer, job, static, images, folder)
            candidates["torch.func.vmap(grad)"] = peer.candidate(job)
        yield from _comparisons(f"{name} by nn.Conv, b = 8", candidates, budget)


def _kept(model: nn.Module) -> Model:
    """The model with XLA's convolutions."""
    return as_model(model)._replace(rewrites=False)


def _trained(static: StaticConfig, model: nn.Module | Model) -> StaticConfig:
    """The same training of another model."""
    task = classification(model=as_model(model), n_classes=steps.CLASSES)
    return dataclasses.replace(static, task=lambda: task)


def _comparisons(what: str, candidates: dict[str, Candidate], budget: Budget) -> Iterator[Comparison]:
    times, failures = interleaved(candidates, budget)
    for name in [name for name in candidates if name]:
        yield Comparison(
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
    task = static.task()
    return ravel_pytree(jax.jit(task.init)(jax.random.key(0), one_example(task, images.train))[0])[0]


def _candidate(static: StaticConfig, images: steps.Images) -> Candidate:
    return steps._gradient_candidate(static, _params(static, images), images, 1)


def _job(static: StaticConfig, images: steps.Images, folder: Path, model: str) -> dict[str, Any]:
    path = folder / f"gradients_{model}.npz"
    arrays: dict[str, Any] = steps.to_torch(steps._tree(static, _params(static, images), images)) | images.first()
    np.savez(path, **arrays)
    return {"kind": "gradients", "arrays": str(path), "model": model}


def _check(peer: Peer, job: Any, static: StaticConfig, images: steps.Images, folder: Path) -> None:
    out = folder / "gradients_of_peer.npz"
    peer.run(job, out=out)
    theirs = dict(np.load(out))
    first = ravel_pytree(steps.from_torch({name: value[0] for name, value in theirs.items()}))[0]
    index = images.index[0, :1]
    x, y = images.train.inputs[index], images.train.labels[index].astype(jnp.int32)
    ours = jax.jit(steps.gradients_of(static, images))(_params(static, images), x, y)[0]
    steps.check_same(f"a worker's gradient of {job['model']}", ours, first, TOLERANCE)
