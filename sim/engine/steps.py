"""`start`, `step` and `epoch`: a run as three pure functions."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from byzsim import worker_sharding
from byzsim.convolutions import by_platform
from byzsim.engine import batches
from byzsim.engine.configs import DynamicConfig, StaticConfig, Stream, members, step_key, stream_key
from byzsim.engine.measures import StepMetrics, Trace, evaluate, full_gradient, honest_mean, step_metrics
from byzsim.engine.measures import trace as traced
from byzsim.engine.workers import Point, Work, losses_at, one_example, unraveller, updates
from byzsim.ops.random import normals
from byzsim.task import Data, Examples, Generated, Task, n_examples, take
from byzsim.types import Context, State, begin
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int


class TrainState(NamedTuple):
    """All that a run carries from step to step."""

    params: Float[Array, " d"]
    optimizer: State
    rule: State
    attack: State
    momentum: Float[Array, "m d"] | tuple[()]
    shards: Int[Array, "m n"] | tuple[()]
    step: Int[Array, ""]
    previous: Float[Array, " d"]
    """the last aggregate, which all workers know"""
    constants: State = ()
    """what the model has and nobody trains; () if nothing"""
    local: State = ()
    """of the workers' own optimizers, where it lasts"""
    data: Generated | tuple[()] = ()
    """what the task has generated"""


def start(static: StaticConfig, dynamic: DynamicConfig, train: Examples) -> TrainState:
    """The state before the first step."""
    begun = start_without_members(static, dynamic, train)
    rule, attack = start_of_members(static, dynamic, begun.params)
    return _map_worker_matrices(worker_sharding.rows, static, begun._replace(rule=rule, attack=attack))


def start_of_members(static: StaticConfig, dynamic: DynamicConfig, params: Float[Array, " d"]) -> tuple[State, State]:
    """The states of the rule and of the attack before the first step."""
    p = static.participants or static.m
    rule, attack = (begin(member, p, len(params), params.dtype) for member in members(static, dynamic))
    return rule, attack


def start_without_members(static: StaticConfig, dynamic: DynamicConfig, train: Examples) -> TrainState:
    """The state before the first step, but for the states of the rule and of the attack."""
    task = static.task()
    data = task.generate(stream_key(dynamic, Stream.DATA), static.m) if task.generate else ()
    train = data.train if isinstance(data, Generated) else train
    tree, constants = task.init(stream_key(dynamic, Stream.INIT), one_example(task, train))
    params = ravel_pytree(tree)[0]
    m, d, dtype = static.m, len(params), params.dtype
    held = batches.shards(static, dynamic, task, train)
    local = static.local.optimizer(dynamic.local_lr).init(params) if static.local and static.local.keeps_state else ()
    return TrainState(
        params=params,
        optimizer=static.optimizer(dynamic.lr).init(params),
        rule=(),
        attack=(),
        momentum=() if static.momentum == "none" else worker_sharding.rows(jnp.zeros((m, d), dtype)),
        shards=held if isinstance(held, tuple) else worker_sharding.rows(held),
        step=jnp.int32(0),
        previous=jnp.zeros(d, dtype),
        constants=constants,
        local=jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (m, *jnp.shape(leaf))), local),
        data=data,
    )


def order(static: StaticConfig, dynamic: DynamicConfig, state: TrainState, train: Examples) -> Any:
    """`batches.order` of the steps up to the next measurement."""
    return batches.order(static, dynamic, state.shards, state.step, _train(state.data, train))


def train_steps(
    static: StaticConfig, dynamic: DynamicConfig, state: TrainState, order: Any, train: Examples
) -> tuple[TrainState, StepMetrics, Trace | tuple[()]]:
    """The steps of this order. Return the state, the means of what is known of the steps, and every step's trace."""
    train = _train(state.data, train)
    each, common = order
    state = _map_worker_matrices(worker_sharding.by_coordinate, static, state)
    state, (of_steps, trace) = jax.lax.scan(
        lambda state, now: step(static, dynamic, state, train, batches.in_step(static, dynamic, now, common)),
        state,
        each,
    )
    state = _map_worker_matrices(worker_sharding.by_worker, static, state)
    return state, _short(jax.tree.map(jnp.mean, of_steps)), _short(trace)


def measure(
    static: StaticConfig, params: Float[Array, " d"], constants: State, data: Any, train: Examples, test: Examples
) -> tuple[dict[str, Float[Array, ""]], Bool[Array, ""]]:
    """(what the task measures after the steps, whether the run has diverged). Nothing of rule and attack is read.

    Args:
        data: of `TrainState`, as are `params` and `constants`.
    """
    task, facts = static.task(), ()
    if isinstance(data, Generated):
        train, test, facts = data
    example = one_example(task, train)
    whole = functools.partial(evaluate, n_test=static.n_test)
    found = by_platform(task, example, whole, unraveller(task, example)(params), constants, test, facts)
    finite = jnp.stack([jnp.isfinite(value) for value in found.values()]).all()
    diverged = ~(jnp.isfinite(params).all() & finite)
    return _short({name: jnp.where(diverged, jnp.nan, value) for name, value in found.items()}), diverged


def _train(data: Any, train: Examples) -> Examples:
    """The training set, of the task's own making or as given."""
    return data.train if isinstance(data, Generated) else train


def _short(numbers: Any) -> Any:
    """float64 as float32."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, numbers)


def step(
    static: StaticConfig, dynamic: DynamicConfig, state: TrainState, train: Examples, index: Array | None
) -> tuple[TrainState, tuple[StepMetrics, Trace | tuple[()]]]:
    """One step of the workers and the server.

    Args:
        index: the examples of all workers, as `batches.order` gives them.
    """
    task, (rule, attack) = static.task(), members(static, dynamic)
    chosen = batches.participants(static, dynamic, state.step)
    workers = jnp.arange(static.m) if chosen is None else chosen
    byz = dynamic.byz if chosen is None else dynamic.byz[chosen]
    lr = dynamic.lr * static.schedule()(state.step) if static.schedule else dynamic.lr
    example = one_example(task, train)
    unravel = unraveller(task, example)

    batch, weights = _batch(static, dynamic, task, train, state, rule.redundancy, index, chosen)
    context = functools.partial(_context, static, dynamic, state, lr, train)
    work_batch = _poisoned(task, attack, batch, byz, context(Stream.LABELS))
    needed = jnp.ones_like(byz) if attack.reads_own_gradients else ~byz
    point = Point(
        state.params,
        state.constants,
        dynamic.weight_decay if static.decays else None,
        dynamic.clip if static.clips else None,
    )
    keys = jax.random.split(step_key(dynamic, Stream.MODEL, state.step), static.m)[workers] if task.draws else None
    if keys is not None and static.local:
        keys = jax.vmap(jax.random.split, (0, None))(keys, static.local.steps)
    own = state.local if chosen is None else _rows(state.local, chosen)

    def compute(shared: tuple[Point, Array], work: Work, needed: Array, own: State) -> Any:
        return by_platform(task, example, functools.partial(updates, static, unravel), *shared, work, needed, own)

    shared = (point, dynamic.local_lr)
    losses, grads, own = worker_sharding.map_workers(compute, shared, Work(work_batch, weights, keys), needed, own)
    before = state.momentum if chosen is None else _rows(state.momentum, chosen)
    momentum, honest_updates = _momentum(static, dynamic, before, grads, byz)
    honest_updates = worker_sharding.by_coordinate(honest_updates)

    def advance(aggregate: Array) -> tuple[Array, State]:
        change, optimizer = static.optimizer(lr).update(aggregate, state.optimizer, state.params)
        return jnp.asarray(optax.apply_updates(state.params, change)), optimizer

    def loss_after(aggregate: Array) -> Array:
        tree = unravel(advance(aggregate)[0])
        return honest_mean(byz, losses_at(task, tree, state.constants, *_whole(static, batch, weights)))

    def server_loss(n: int) -> Callable[[Array], Array]:
        drawn = _of_server(task, train, step_key(dynamic, Stream.SERVER, state.step), n)
        return lambda params: losses_at(task, unravel(params), state.constants, drawn)[0]

    rule_context = context(Stream.RULE)._replace(server_loss=server_loss)
    attack_context = context(Stream.ATTACK)._replace(
        aggregate=lambda rows: rule.apply(rows, state.rule, rule_context)[0], loss_after=loss_after
    )
    if train is not None and not task.sample:
        attack_context = attack_context._replace(
            full_gradient=lambda: by_platform(
                task, example, functools.partial(full_gradient, unravel), state.params, state.constants, train
            )
        )
    forged, attack_state = attack.grads(honest_updates, byz, state.attack, attack_context)
    sent = jnp.where(byz[:, None], forged, honest_updates)
    aggregate, rule_state, info = rule.apply(sent, state.rule, rule_context)
    params, optimizer = advance(_perturbed(static, dynamic, aggregate, state.step))
    if task.servers:
        models, key = params.reshape(task.servers.n, -1), step_key(dynamic, Stream.EXCHANGE, state.step)
        params = task.servers.exchange(key, models, state.step).ravel()
    after = state._replace(
        params=params,
        optimizer=optimizer,
        rule=rule_state,
        attack=attack_state,
        momentum=momentum if chosen is None else _put(state.momentum, chosen, momentum),
        step=state.step + 1,
        previous=aggregate,
        local=own if chosen is None else _put(state.local, chosen, own),
    )
    measured = step_metrics(byz, losses, honest_updates, aggregate, info)
    return after, (measured, traced(sent, aggregate, info, workers) if static.trace else ())


def _perturbed(
    static: StaticConfig, dynamic: DynamicConfig, aggregate: Float[Array, " d"], step: Int[Array, ""]
) -> Float[Array, " d"]:
    """The aggregate with the server's own noise, which nobody knows before: same seed, same noise for every rule."""
    if not static.perturbs:
        return aggregate
    xi = normals(step_key(dynamic, Stream.NOISE, step), len(aggregate))
    return aggregate + (dynamic.server_noise * xi).astype(aggregate.dtype)


def _batch(
    static: StaticConfig,
    dynamic: DynamicConfig,
    task: Task,
    train: Examples,
    state: TrainState,
    redundancy: int,
    index: Array | None,
    chosen: Array | None,
) -> tuple[Data, Array | None]:
    """(the batches of the workers of this round, weights where some entries are no examples)"""
    workers = jnp.arange(static.m) if chosen is None else chosen
    if index is None:
        drawn = batches.examples(static, dynamic, task, train, None, workers, state.step)
        if redundancy == 1:
            return drawn, None
        b = static.batch or 1
        shared = batches.shared_batches(jnp.arange(len(workers) * b).reshape(-1, b), redundancy)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[shared], drawn), None
    index = index if chosen is None else index[chosen]
    index = worker_sharding.rows(batches.shared_batches(index, redundancy))
    equal = static.partition(**dynamic.partition_args).equal
    weights = (index >= 0).astype(jnp.float32) if batches.masked(static, equal=equal) else None
    batch = take(train, index)
    return (batch._replace(labels=batch.labels.astype(jnp.int32)) if task.n_classes else batch), weights


def _poisoned(task: Task, attack: Any, batch: Data, byz: Array, context: Context) -> Data:
    """The batches that workers train on: with the labels that the attack puts, where there are classes."""
    if task.n_classes is None:
        return batch
    clean = batch.labels.reshape(len(byz), -1)
    labels = jnp.where(byz[:, None], attack.labels(clean, task.n_classes, context), clean)
    return batch._replace(labels=labels.reshape(batch.labels.shape))


def _whole(static: StaticConfig, batch: Data, weights: Array | None) -> tuple[Data, Array | None]:
    """The batches of all local steps as one."""
    if static.local is None:
        return batch, weights
    return jax.tree.map(lambda leaf: leaf.reshape(len(leaf), -1, *leaf.shape[3:]), (batch, weights))


def _of_server(task: Task, train: Examples, key: Array, n: int) -> Data:
    """One batch of n examples that the server draws."""
    if task.sample:
        return jax.tree.map(lambda leaf: leaf[None], task.sample(key, jnp.int32(-1), n))
    drawn = take(train, jax.random.randint(key, (1, n), 0, n_examples(train)))
    return drawn._replace(labels=drawn.labels.astype(jnp.int32)) if task.n_classes else drawn


def _context(
    static: StaticConfig, dynamic: DynamicConfig, state: TrainState, lr: Any, train: Any, stream: Stream
) -> Context:
    key = step_key(dynamic, stream, state.step)
    in_epoch = batches.epoch_steps(static, dynamic, state.shards, train)
    return Context(key, state.step, dynamic.f, lr, state.params, state.previous, epoch=in_epoch)


def _momentum(
    static: StaticConfig, dynamic: DynamicConfig, momentum: Any, grads: Float[Array, "m d"], byz: Array
) -> tuple[Any, Float[Array, "m d"]]:
    """(the momentum of every worker, what honest work would send)"""
    match static.momentum:
        case "ema":
            momentum = dynamic.beta * momentum + (1 - dynamic.beta) * grads
        case "classic":
            momentum = dynamic.beta * momentum + grads
        case _:
            return momentum, grads
    if static.byzantine_momentum:
        return momentum, momentum
    return momentum, jnp.where(byz[:, None], grads, momentum)


def _rows(tree: Any, chosen: Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[chosen], tree)


def _put(tree: Any, chosen: Array, rows: Any) -> Any:
    return jax.tree.map(lambda leaf, new: leaf.at[chosen].set(new), tree, rows)


def _map_worker_matrices(turn: Callable[[Array], Array], static: StaticConfig, state: TrainState) -> TrainState:
    """The state with every (m, d) matrix of the rule and of the attack through `turn`."""
    shape = (static.participants or static.m, len(state.params))
    each = functools.partial(jax.tree.map, lambda leaf: turn(leaf) if jnp.shape(leaf)[-2:] == shape else leaf)
    return state._replace(rule=each(state.rule), attack=each(state.attack))
