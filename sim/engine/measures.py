"""What is known of a step, and what is measured after an epoch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from byzsim.engine.workers import losses_at
from byzsim.ops import masked_mean, sq_distances_to
from byzsim.ops.rows import HIGHEST, squared
from byzsim.task import Data, Examples, Params, Task, n_examples
from byzsim.types import Info
from jaxtyping import Array, Bool, Float


class StepMetrics(NamedTuple):
    """What is known of one step, or the means over the steps of an epoch. h: the mean of what honest workers sent."""

    train_loss: Float[Array, ""]
    """mean over the batches of honest workers, before the step"""
    byz_weight: Float[Array, ""]
    """share of Byzantine rows in the aggregate"""
    cosine: Float[Array, ""]
    """of the angle between the aggregate and h; 0 if either is zero"""
    error: Float[Array, ""]
    """||aggregate - h|| / ||h||"""
    variance: Float[Array, ""]
    """mean of ||g_i - h||^2 over honest workers"""
    honest_dropped: Float[Array, ""]
    """honest workers without weight in the aggregate (what a filter leaves out)"""
    byz_kept: Float[Array, ""]
    """Byzantine workers with weight in the aggregate"""
    clipped: Float[Array, ""]
    """rows that the rule, or a preaggregator, shortened"""


class Trace(NamedTuple):
    """Every worker of every step."""

    weight: Float[Array, "steps m"]
    """its share in the aggregate"""
    distance: Float[Array, "steps m"]
    """||what it sent - aggregate||"""
    norm: Float[Array, "steps m"]
    """||what it sent||"""
    worker: Float[Array, "steps m"]
    """its index, where only some take part in a round"""
    suspicion: Float[Array, "steps tests m"] | tuple[()] = ()
    """how near it is to being dropped, by each of the rule's tests (`Info.suspicion`)"""


class EpochMetrics(NamedTuple):
    """What is known after an epoch, or whatever lies between two measurements."""

    metrics: dict[str, Float[Array, ""]]
    """what the task measures; NaN once the run has diverged"""
    step_metrics: StepMetrics
    """means over the steps"""
    diverged: Bool[Array, ""]
    """the parameters or a metric are not finite"""
    trace: Trace | tuple[()] = ()


def step_metrics(
    byz: Bool[Array, " m"], losses: Float[Array, " m"], sent: Float[Array, "m d"], aggregate: Array, info: Info
) -> StepMetrics:
    """Of one step; `sent` is what honest work would send."""
    weight = info.weight
    honest = masked_mean(sent, ~byz)
    three = jnp.stack([honest, aggregate, aggregate - honest])
    gram = jnp.einsum("id,jd->ij", three, three, precision=HIGHEST)
    size, length, missed = jnp.sqrt(jnp.diagonal(gram))
    product = size * length
    apart = sq_distances_to(sent, honest)
    return StepMetrics(
        train_loss=honest_mean(byz, losses),
        byz_weight=jnp.where(byz, weight, 0.0).sum(),
        cosine=jnp.where(product == 0, 0.0, gram[0, 1] / product),
        error=missed / size,
        variance=honest_mean(byz, apart),
        honest_dropped=(~byz & (weight == 0)).sum().astype(jnp.float32),
        byz_kept=(byz & (weight > 0)).sum().astype(jnp.float32),
        clipped=jnp.float32(info.clipped),
    )


def trace(sent: Float[Array, "m d"], aggregate: Float[Array, " d"], info: Info, worker: Array) -> Trace:
    """Every worker of one step."""
    return Trace(
        weight=info.weight,
        distance=jnp.sqrt(sq_distances_to(sent, aggregate)).astype(jnp.float32),
        norm=jnp.sqrt(squared(sent)).astype(jnp.float32),
        worker=worker.astype(jnp.float32),
        suspicion=jax.tree.map(lambda x: x.astype(jnp.float32), info.suspicion),
    )


def honest_mean(byz: Bool[Array, " m"], values: Float[Array, " m"]) -> Float[Array, ""]:
    """Over honest workers; 0 if there are none."""
    return jnp.where(byz, 0.0, values).sum() / jnp.maximum((~byz).sum(), 1)


def evaluate(
    task: Task, tree: Params, constants: Any, test: Examples, facts: Any, n_test: int | None = None
) -> dict[str, Float[Array, ""]]:
    """Means over the test set, in equal chunks, and what is measured of the parameters."""
    found = task.measure(tree, facts)
    if test is None:
        return found
    part = test if n_test is None else jax.tree.map(lambda leaf: leaf[:n_test], test)

    def measure(part: Data) -> dict[str, Array]:
        return {name: values.mean() for name, values in task.metrics(tree, constants, part).items()}

    return jax.tree.map(jnp.mean, jax.lax.map(measure, _chunks(part, task.test_chunk))) | found


def full_gradient(
    unravel: Callable[[Float[Array, " d"]], Params],
    task: Task,
    params: Float[Array, " d"],
    constants: Any,
    train: Examples,
) -> Float[Array, " d"]:
    """The gradient of the mean loss on all of `train`, in equal chunks."""

    def loss(params: Array, part: Data) -> Array:
        return losses_at(task, unravel(params), constants, jax.tree.map(lambda leaf: leaf[None], part))[0]

    return jax.lax.map(lambda part: jax.grad(loss)(params, part), _chunks(train, task.test_chunk)).mean(axis=0)


def _chunks(data: Data, most: int) -> Data:
    """Equal parts of at most `most` examples, along a new first axis."""
    n = n_examples(data)
    chunk = next(size for size in range(min(n, most), 0, -1) if n % size == 0)
    return jax.tree.map(lambda x: x.reshape(n // chunk, chunk, *x.shape[1:]), data)
