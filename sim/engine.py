"""One run's training as pure functions: `start`, and `epoch`, which does all steps up to the next measurement.

    batches -> labels (attack) -> per-worker gradients (m, d) -> worker momentum -> forged rows (attack)
            -> aggregate (d,) -> server optimizer

Everything of a run that can be an array is in `DynamicConfig`, so one compiled program serves every run that differs
only there; what shapes the program is in `StaticConfig`.
"""

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from byzsim import partition, worker_sharding
from byzsim.ops import masked_mean, per_row
from byzsim.ops.rows import HIGHEST
from byzsim.ops.sets import groups
from byzsim.types import Aggregator, Attack, Context, Info, State, Traced, begin
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, UInt8

NUMERICS = 2  # raised when the same run may give other numbers than before
TEST_CHUNK = 1000  # images in one forward pass of a measurement, at most


class Stream(enum.IntEnum):
    """Who draws from a run's seed, each a stream of its own: a new reader never shifts another's numbers."""

    INIT = 0
    SHARDS = 1
    BATCHES = 2
    LABELS = 3
    ATTACK = 4
    RULE = 5
    SERVER = 6


class Data(NamedTuple):
    """Images and labels, as uint8 on the device; always an argument of what is compiled, never a constant in it."""

    images: UInt8[Array, "n h w *c"]
    labels: UInt8[Array, " n"]


class DynamicConfig(NamedTuple):
    """All of a run that may vary inside one program."""

    seed: Int[Array, ""]
    f: Int[Array, ""]
    byz: Bool[Array, " m"]
    lr: Float[Array, ""]
    beta: Float[Array, ""]
    """of the worker momentum"""
    dirichlet_alpha: Float[Array, ""]
    rule_args: dict[str, Float[Array, ""]]
    attack_args: dict[str, Float[Array, ""]]


@dataclass(frozen=True)
class StaticConfig:
    """All of a run that shapes the program; equal programs are compiled once."""

    rule: Callable[..., Aggregator]
    """called inside the program, with the traced arguments in `DynamicConfig.rule_args`; so is `attack`"""
    attack: Callable[..., Attack]
    model: nn.Module
    optimizer: Callable[[Traced], optax.GradientTransformation]
    m: int
    batch: int
    n_classes: int
    momentum: str = "none"
    partition: str = "iid"
    steps: int | None = None


class TrainState(NamedTuple):
    """All that a run carries from step to step."""

    params: Float[Array, " d"]
    optimizer: State
    rule: State
    attack: State
    momentum: Float[Array, "m d"] | tuple[()]
    shards: Int[Array, "m n"]
    step: Int[Array, ""]
    previous: Float[Array, " d"]
    """the last aggregate, which everybody knows"""
    fixed: State = ()
    """the model's variables that are not trained, by collection; () if all are"""


class StepMetrics(NamedTuple):
    """What is known of one step, or the means over an epoch's steps. h: the mean of what honest workers sent."""

    train_loss: Float[Array, ""]
    """mean over the honest workers' batches, before the step; nats"""
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


class EpochMetrics(NamedTuple):
    """What is known after an epoch."""

    accuracy: Float[Array, ""]
    """on the test set, 0 to 1; NaN once the run has diverged"""
    loss: Float[Array, ""]
    """mean cross-entropy on the test set, nats"""
    step_metrics: StepMetrics
    diverged: Bool[Array, ""]
    """the parameters or the test loss are not finite"""


def start(static: StaticConfig, dynamic: DynamicConfig, train: Data) -> TrainState:
    """The state before the first step."""
    params, fixed = _initial(static, train, _key(dynamic, Stream.INIT))
    m, d, dtype = static.m, len(params), params.dtype
    rule, attack = _members(static, dynamic)
    state = TrainState(
        params=params,
        optimizer=static.optimizer(dynamic.lr).init(params),
        rule=begin(rule, m, d, dtype),
        attack=begin(attack, m, d, dtype),
        momentum=() if static.momentum == "none" else worker_sharding.rows(jnp.zeros((m, d), dtype)),
        shards=worker_sharding.rows(_shards(static, dynamic, train)),
        step=jnp.int32(0),
        previous=jnp.zeros(d, dtype),
        fixed=fixed,
    )
    return _map_worker_matrices(worker_sharding.rows, static, state)


def epoch(
    static: StaticConfig, dynamic: DynamicConfig, state: TrainState, train: Data, test: Data
) -> tuple[TrainState, EpochMetrics]:
    """All steps of one epoch, then a measurement on the test set."""
    batches = _batches(static, dynamic, state)
    state = _map_worker_matrices(worker_sharding.by_coordinate, static, state)
    state, step_metrics = jax.lax.scan(lambda state, index: step(static, dynamic, state, train, index), state, batches)
    state = _map_worker_matrices(worker_sharding.by_worker, static, state)
    accuracy, loss = evaluate(static, state.params, test, state.fixed)
    diverged = ~(jnp.isfinite(state.params).all() & jnp.isfinite(loss))
    accuracy = jnp.where(diverged, jnp.nan, accuracy)
    numbers = EpochMetrics(accuracy, loss, jax.tree.map(jnp.mean, step_metrics), diverged)
    return state, jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, numbers)


def step(
    static: StaticConfig, dynamic: DynamicConfig, state: TrainState, train: Data, index: Int[Array, "m b"]
) -> tuple[TrainState, StepMetrics]:
    """One step of all workers and the server on the examples `index`."""
    rule, attack = _members(static, dynamic)
    byz = dynamic.byz[:, None]
    index = worker_sharding.rows(shared_batches(index, rule.redundancy))
    images, clean = train.images[index], train.labels[index].astype(jnp.int32)
    labels = jnp.where(
        byz, attack.labels(clean, static.n_classes, _context(static, dynamic, Stream.LABELS, state)), clean
    )
    needed = jnp.ones_like(dynamic.byz) if attack.reads_own_gradients else ~dynamic.byz

    def local_gradients(model, images, labels, needed):
        params, fixed = model
        return worker_gradients(static, params, train, images, labels, needed, fixed)

    losses, grads = worker_sharding.map_workers(local_gradients, (state.params, state.fixed), images, labels, needed)
    momentum, honest_updates = _momentum(static, dynamic, state.momentum, grads)
    honest_updates = worker_sharding.by_coordinate(honest_updates)

    def advance(aggregate):
        updates, optimizer = static.optimizer(dynamic.lr).update(aggregate, state.optimizer, state.params)
        return jnp.asarray(optax.apply_updates(state.params, updates)), optimizer

    def losses_at(params, images, labels):
        return _losses(static, params, train, images, labels, state.fixed)

    def server_loss(n):
        drawn = jax.random.randint(_step_key(dynamic, Stream.SERVER, state), (1, n), 0, len(train.labels))
        return lambda params: losses_at(params, train.images[drawn], train.labels[drawn])[0]

    def loss_after(aggregate):
        return _honest_mean(dynamic, losses_at(advance(aggregate)[0], images, clean))

    rule_context = _context(static, dynamic, Stream.RULE, state)._replace(server_loss=server_loss)
    attack_context = _context(static, dynamic, Stream.ATTACK, state)._replace(
        aggregate=lambda rows: rule.apply(rows, state.rule, rule_context)[0],
        loss_after=loss_after,
        full_gradient=lambda: full_gradient(static, state.params, train, state.fixed),
    )
    forged, attack_state = attack.grads(honest_updates, dynamic.byz, state.attack, attack_context)
    gradients = jnp.where(byz, forged, honest_updates)
    aggregate, rule_state, info = rule.apply(gradients, state.rule, rule_context)
    params, optimizer = advance(aggregate)
    step_metrics = _step_metrics(dynamic, _honest_mean(dynamic, losses), honest_updates, aggregate, info)
    shards, done = state.shards, state.step + 1
    after = TrainState(params, optimizer, rule_state, attack_state, momentum, shards, done, aggregate, state.fixed)
    return after, step_metrics


def _map_worker_matrices(turn: Callable[[Array], Array], static: StaticConfig, state: TrainState) -> TrainState:
    """The state with every (m, d) matrix of the rule and of the attack through `turn`."""
    shape = (static.m, len(state.params))
    each = functools.partial(jax.tree.map, lambda leaf: turn(leaf) if jnp.shape(leaf)[-2:] == shape else leaf)
    return state._replace(rule=each(state.rule), attack=each(state.attack))


def shared_batches(index: Int[Array, "m b"], redundancy: int) -> Int[Array, "m b2"]:
    """The examples of each worker when every group of `redundancy` workers computes the batches of all of its members.

    Groups are workers in order; those that fill no group of their own join the last one and compute its batches, so
    theirs are not used. A redundancy above m counts as m.
    """
    m, r = len(index), min(redundancy, len(index))
    if r == 1:
        return index
    return index[groups(m, r)[:, None] * r + jnp.arange(r)[None]].reshape(m, -1)


def _step_metrics(
    dynamic: DynamicConfig, train_loss: Array, honest_updates: Float[Array, "m d"], aggregate: Array, info: Info
) -> StepMetrics:
    weight = info.weight
    honest = masked_mean(honest_updates, ~dynamic.byz)
    three = jnp.stack([honest, aggregate, aggregate - honest])
    gram = jnp.einsum("id,jd->ij", three, three, precision=HIGHEST)
    size, length, missed = jnp.sqrt(jnp.diagonal(gram))
    product = size * length
    apart = per_row(lambda row: jnp.square(row - honest).sum(), honest_updates)
    return StepMetrics(
        train_loss=train_loss,
        byz_weight=jnp.where(dynamic.byz, weight, 0.0).sum(),
        cosine=jnp.where(product == 0, 0.0, gram[0, 1] / product),
        error=missed / size,
        variance=_honest_mean(dynamic, apart),
        honest_dropped=(~dynamic.byz & (weight == 0)).sum().astype(jnp.float32),
        byz_kept=(dynamic.byz & (weight > 0)).sum().astype(jnp.float32),
        clipped=jnp.float32(info.clipped),
    )


def _honest_mean(dynamic: DynamicConfig, values: Float[Array, " m"]) -> Float[Array, ""]:
    return jnp.where(dynamic.byz, 0.0, values).sum() / jnp.maximum((~dynamic.byz).sum(), 1)


def worker_gradients(
    static: StaticConfig,
    params: Float[Array, " d"],
    train: Data,
    images: UInt8[Array, "m b h w *c"],
    labels: Int[Array, "m b"],
    needed: Bool[Array, " m"],
    fixed: State = (),
) -> tuple[Float[Array, " m"], Float[Array, "m d"]]:
    """Every worker's mean cross-entropy over its batch, and its gradient, all at the same parameters.

    Of workers that are not `needed` any values, and no work where workers take turns.
    """
    unravel = unraveller(static, train)

    def loss(tree, images, labels):
        return _cross_entropy(static, tree, images, labels, fixed)[1].mean()

    def one(images, labels):
        value, tree = jax.value_and_grad(loss)(unravel(params), images, labels)
        return value, ravel_pytree(tree)[0]

    if getattr(static.model, "workers_in_turn", False):
        return jax.lax.platform_dependent(images, labels, cpu=_in_turn(one, needed), default=jax.vmap(one))
    return jax.vmap(one)(images, labels)


def _in_turn(one: Callable[..., Any], needed: Bool[Array, " m"]) -> Callable[..., Any]:
    """`vmap` as a loop that passes over those who are not needed: zeros for them."""

    def each(worker):
        wanted, batch = worker
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(one, *batch))
        return jax.lax.cond(wanted, lambda: one(*batch), lambda: nothing)

    return lambda *batches: jax.lax.map(each, (needed, batches))


def _losses(
    static: StaticConfig, params: Float[Array, " d"], data: Data, images: Array, labels: Array, fixed: State
) -> Float[Array, " m"]:
    """Mean cross-entropy of each batch."""
    tree = unraveller(static, data)(params)

    def loss(images, labels):
        return _cross_entropy(static, tree, images, labels, fixed)[1].mean()

    return jax.vmap(loss)(images, labels)


def evaluate(
    static: StaticConfig, params: Float[Array, " d"], test: Data, fixed: State = ()
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Accuracy (0 to 1) and mean cross-entropy (nats) on all of `test`, in equal chunks."""
    tree = unraveller(static, test)(params)

    def measure(part):
        logits, loss = _cross_entropy(static, tree, part.images, part.labels.astype(jnp.int32), fixed)
        return (logits.argmax(axis=-1) == part.labels).mean(), loss.mean()

    accuracy, loss = jax.lax.map(measure, _chunks(test))
    return accuracy.mean(), loss.mean()


def full_gradient(static: StaticConfig, params: Float[Array, " d"], train: Data, fixed: State) -> Float[Array, " d"]:
    """The gradient of the mean cross-entropy on all of `train`, in equal chunks."""

    def loss(params, part):
        return _losses(static, params, train, part.images[None], part.labels[None].astype(jnp.int32), fixed)[0]

    return jax.lax.map(lambda part: jax.grad(loss)(params, part), _chunks(train)).mean(axis=0)


def _chunks(data: Data) -> Data:
    """Equal parts of at most `TEST_CHUNK` examples, along a new first axis."""
    n = len(data.labels)
    chunk = next(size for size in range(min(n, TEST_CHUNK), 0, -1) if n % size == 0)
    return jax.tree.map(lambda x: x.reshape(n // chunk, chunk, *x.shape[1:]), data)


def _cross_entropy(static: StaticConfig, tree: Any, images: Array, labels: Array, fixed: State) -> tuple[Array, Array]:
    """(logits, cross-entropy of each image in nats)"""
    logits = jnp.asarray(static.model.apply({**dict(fixed), "params": tree}, images))
    return logits, optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def _initial(static: StaticConfig, data: Data, key: Array) -> tuple[Float[Array, " d"], State]:
    """(flat parameters, the model's other variables, which nobody trains or sends)"""
    variables = dict(static.model.init(key, _one_image(data)))
    params = variables.pop("params")
    return ravel_pytree(params)[0], variables or ()


def unraveller(static: StaticConfig, data: Data) -> Callable[[Float[Array, " d"]], Any]:
    """Flat parameters -> the model's tree of them."""
    shapes = jax.eval_shape(static.model.init, jax.random.key(0), _one_image(data))["params"]
    return ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))[1]


def _one_image(data: Data) -> Array:
    return jnp.zeros((1, *data.images.shape[1:]), jnp.uint8)


def _members(static: StaticConfig, dynamic: DynamicConfig) -> tuple[Aggregator, Attack]:
    return static.rule(**dynamic.rule_args), static.attack(**dynamic.attack_args)


def _key(dynamic: DynamicConfig, stream: Stream) -> Array:
    return jax.random.fold_in(jax.random.key(dynamic.seed, impl="threefry2x32"), stream)


def _step_key(dynamic: DynamicConfig, stream: Stream, state: TrainState) -> Array:
    return jax.random.fold_in(_key(dynamic, stream), state.step)


def _context(static: StaticConfig, dynamic: DynamicConfig, stream: Stream, state: TrainState) -> Context:
    key = _step_key(dynamic, stream, state)
    epoch = _steps(static, state)
    return Context(key, state.step, dynamic.f, dynamic.lr, state.params, state.previous, epoch=epoch)


def _steps(static: StaticConfig, state: TrainState) -> int:
    """In an epoch; a last short batch is not used."""
    return state.shards.shape[1] // static.batch if static.steps is None else static.steps


def _shards(static: StaticConfig, dynamic: DynamicConfig, train: Data) -> Int[Array, "m n"]:
    key, labels = _key(dynamic, Stream.SHARDS), train.labels.astype(jnp.int32)
    if static.partition == "iid":
        return partition.iid(key, labels, static.m)
    return partition.dirichlet(key, labels, static.m, n_classes=static.n_classes, alpha=dynamic.dirichlet_alpha)


def _batches(static: StaticConfig, dynamic: DynamicConfig, state: TrainState) -> Int[Array, "steps m b"]:
    """Every worker's shard in a new order, cut into batches."""
    m, steps = len(state.shards), _steps(static, state)
    keys = jax.random.split(jax.random.fold_in(_key(dynamic, Stream.BATCHES), state.step), m)
    order = jax.vmap(jax.random.permutation)(keys, state.shards)
    return order[:, : steps * static.batch].reshape(m, steps, static.batch).transpose(1, 0, 2)


def _momentum(static: StaticConfig, dynamic: DynamicConfig, momentum, grads):
    """(the workers' momentum, what they send of honest work)"""
    match static.momentum:
        case "ema":
            momentum = dynamic.beta * momentum + (1 - dynamic.beta) * grads
        case "classic":
            momentum = dynamic.beta * momentum + grads
        case _:
            return momentum, grads
    return momentum, momentum
