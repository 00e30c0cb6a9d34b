"""Which examples each worker computes on in each step."""

from typing import Any

import jax
import jax.numpy as jnp
from byzsim.engine.configs import DynamicConfig, StaticConfig, Stream, step_key, stream_key
from byzsim.ops.sets import groups
from byzsim.partitions import Pool
from byzsim.task import Data, Examples, Task, n_examples, take
from jaxtyping import Array, Int


def shards(static: StaticConfig, dynamic: DynamicConfig, task: Task, train: Examples) -> Int[Array, "m n"] | tuple[()]:
    """The examples of every worker, -1 at the end of shorter rows; () where batches are sampled."""
    if task.sample:
        return ()
    labels = None if task.n_classes is None else train.labels.astype(jnp.int32)
    pool = Pool(n_examples(train), labels, task.n_classes)
    deal = static.partition(**dynamic.partition_args).deal
    key = stream_key(dynamic, Stream.SHARDS)
    if static.honest_data is None:
        return deal(key, pool, static.m)
    # A Byzantine worker, which has no data of its own, holds the shard of an honest worker.
    honest = deal(key, pool, static.honest_data)
    turn = jnp.where(dynamic.byz, jnp.cumsum(dynamic.byz) - 1, jnp.cumsum(~dynamic.byz) - 1)
    return honest[turn % static.honest_data]


def whole_steps(size: int, batch: int | None, sampling: str, local_steps: int) -> int:
    """Steps in one pass over a shard of this size; 0 if it is too small for one.

    Args:
        batch: None: the shard.
        local_steps: batches in one step.
    """
    if batch is None:
        return 1
    return (-(-size // batch) if sampling == "keep_last" else size // batch) // local_steps


def local_steps(static: StaticConfig) -> int:
    """Batches of a worker in one step of the server."""
    return static.local.steps if static.local else 1


def epoch_steps(static: StaticConfig, dynamic: DynamicConfig, state_shards: Any, train: Examples) -> int:
    """Steps in an epoch of a run that has begun: in one pass over the mean shard, where shards differ."""
    if static.steps is not None:
        return static.steps
    equal = static.partition(**dynamic.partition_args).equal
    size = state_shards.shape[1] if equal else n_examples(train) // (static.honest_data or static.m)
    return max(whole_steps(size, static.batch, static.sampling, local_steps(static)), 1)


def order(static: StaticConfig, dynamic: DynamicConfig, held: Any, step: Int[Array, ""], train: Examples) -> Any:
    """What decides the batches of the steps from `step` up to the next measurement, as arrays for `in_step`.

    Returns:
        (what `jax.lax.scan` goes through, what all these steps have in common).
    """
    per_epoch = epoch_steps(static, dynamic, held, train)
    count, size = static.eval_every or per_epoch, local_steps(static) * (static.batch or 1)
    if _sampled_or_whole(static) or static.sampling == "replacement":
        return step + jnp.arange(count), held
    if _whole_epochs(static, dynamic):
        cut = _shuffled(dynamic, held, step, equal=True)[:, : count * size]
        return cut.reshape(len(held), count, size).transpose(1, 0, 2), ()
    # Measurements that do not fall on epochs: the order of every epoch that these steps touch, as whole epochs have it.
    first, touched = step // per_epoch, (count - 1) // per_epoch + 2
    equal = static.partition(**dynamic.partition_args).equal
    orders = jax.vmap(lambda e: _shuffled(dynamic, held, e * per_epoch, equal=equal))(first + jnp.arange(touched))
    now = step + jnp.arange(count)
    return (now // per_epoch - first, now % per_epoch), (orders, (held >= 0).sum(axis=1))


def in_step(static: StaticConfig, dynamic: DynamicConfig, now: Any, common: Any) -> Array | None:
    """The examples of all workers in one step: indices (m, b), or (m, k, b) for k local steps; -1 for no example.

    None where batches are sampled.

    Args:
        now: an entry of what `order` returns.
        common: the rest of it.
    """
    k = local_steps(static)
    size = k * (static.batch or 1)
    if _sampled_or_whole(static):
        held = None if isinstance(common, tuple) else common
        return held if held is None or static.local is None else jnp.repeat(held[:, None], k, axis=1)
    if static.sampling == "replacement":
        return _shaped(static, _replaced(dynamic, common, now, size))
    if _whole_epochs(static, dynamic):
        return _shaped(static, now)
    (orders, sizes), (epoch, step_in_epoch) = common, now
    place, index = (step_in_epoch * size + jnp.arange(size))[None], orders[epoch]
    if static.sampling == "keep_last":
        cut = jnp.take_along_axis(index, jnp.minimum(place, index.shape[1] - 1), axis=1)
        return _shaped(static, jnp.where(place < sizes[:, None], cut, -1))
    return _shaped(static, jnp.take_along_axis(index, place % sizes[:, None], axis=1))


def _sampled_or_whole(static: StaticConfig) -> bool:
    """Batches are drawn by the task, or are whole shards."""
    return static.task().sample is not None or static.batch is None


def _whole_epochs(static: StaticConfig, dynamic: DynamicConfig) -> bool:
    """Every measurement ends an epoch in which all workers have equally many examples."""
    equal = static.partition(**dynamic.partition_args).equal
    return static.eval_every is None and static.sampling == "shuffle" and equal


def _shuffled(
    dynamic: DynamicConfig, held: Int[Array, "m n"], step: Int[Array, ""], *, equal: bool
) -> Int[Array, "m n"]:
    """Every shard in a new order; what fills it up comes last."""
    keys = jax.random.split(step_key(dynamic, Stream.BATCHES, step), len(held))
    mixed = jax.vmap(jax.random.permutation)(keys, held)
    if equal:
        return mixed
    return jnp.take_along_axis(mixed, jnp.argsort(mixed < 0, axis=1, stable=True), axis=1)


def _replaced(dynamic: DynamicConfig, held: Int[Array, "m n"], step: Int[Array, ""], count: int) -> Int[Array, "m kb"]:
    """Examples drawn with replacement."""
    keys = jax.random.split(step_key(dynamic, Stream.BATCHES, step), len(held))
    sizes = (held >= 0).sum(axis=1)
    drawn = jax.vmap(lambda key, size: jax.random.randint(key, (count,), 0, size))(keys, sizes)
    return jnp.take_along_axis(held, drawn, axis=1)


def _shaped(static: StaticConfig, index: Int[Array, "m kb"]) -> Int[Array, "m *k b"]:
    return index if static.local is None else index.reshape(len(index), static.local.steps, -1)


def masked(static: StaticConfig, *, equal: bool) -> bool:
    """Some indices stand for no example."""
    return static.sampling == "keep_last" or (static.batch is None and not equal)


def participants(static: StaticConfig, dynamic: DynamicConfig, step: Int[Array, ""]) -> Int[Array, " p"] | None:
    """The workers of a round, by index in order; None: all of them."""
    if static.participants is None:
        return None
    key = step_key(dynamic, Stream.PARTICIPANTS, step)
    return jnp.sort(jax.random.permutation(key, static.m)[: static.participants])


def examples(
    static: StaticConfig,
    dynamic: DynamicConfig,
    task: Task,
    train: Examples,
    index: Array | None,
    workers: Int[Array, " p"],
    step: Int[Array, ""],
) -> Data:
    """The batches of these workers, with leading axes (p, b), or (p, k, b) for k local steps."""
    if task.sample is None:
        return take(train, jnp.asarray(index))
    sample, k, b = task.sample, local_steps(static), static.batch or 1
    keys = jax.vmap(lambda worker: jax.random.fold_in(step_key(dynamic, Stream.EXAMPLES, step), worker))(workers)
    drawn = jax.vmap(lambda key, worker: sample(key, worker, k * b))(keys, workers)
    if static.local is None:
        return drawn
    return jax.tree.map(lambda leaf: leaf.reshape(len(workers), k, b, *leaf.shape[2:]), drawn)


def shared_batches(index: Int[Array, "m b"], redundancy: int) -> Int[Array, "m b2"]:
    """The examples of each worker when every group of workers computes the batches of all of its members.

    Groups are `redundancy` workers in order; those that fill no group of their own join the last one and compute its
    batches, so theirs are not used. A redundancy above m counts as m.
    """
    m, r = len(index), min(redundancy, len(index))
    if r == 1:
        return index
    return index[groups(m, r)[:, None] * r + jnp.arange(r)[None]].reshape(m, -1)
