"""The training of one run as pure functions: `start` makes the first state, `epoch` trains one epoch and measures.

One step:

    batches -> labels (attack) -> per-worker gradients (m, d) -> worker momentum -> forged rows (attack)
            -> aggregate (d,) -> server optimizer

A run's hyperparameters are in two parts: `DynamicConfig` has those that can be arrays, `StaticConfig` those that shape
the program. So one compiled program serves all runs that differ only in their `DynamicConfig`.
"""

import dataclasses
import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from byzsim import convolutions, partition, worker_sharding
from byzsim.ops import masked_mean, per_row
from byzsim.ops.rows import HIGHEST
from byzsim.ops.sets import groups
from byzsim.types import Aggregator, Attack, Context, Info, State, Traced, begin
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, UInt8

NUMERICS = 2  # raised when the same run may give other numbers than before
TEST_CHUNK = 1000  # largest number of images in one forward pass of `evaluate`


class Stream(enum.IntEnum):
    """The purposes for which a run draws random numbers. Each has its own stream, so a new one changes no other."""

    INIT = 0
    SHARDS = 1
    BATCHES = 2
    LABELS = 3
    ATTACK = 4
    RULE = 5
    SERVER = 6


class Data(NamedTuple):
    """Images and labels as uint8 on the device: an argument of the compiled programs, never a constant in them."""

    images: UInt8[Array, "n h w *c"]
    labels: UInt8[Array, " n"]


class DynamicConfig(NamedTuple):
    """The hyperparameters of a run that are traced: they may differ between the runs of one program."""

    seed: Int[Array, ""]
    f: Int[Array, ""]
    byz: Bool[Array, " m"]
    """True for Byzantine workers"""
    lr: Float[Array, ""]
    beta: Float[Array, ""]
    """coefficient of the workers' momentum"""
    dirichlet_alpha: Float[Array, ""]
    rule_args: dict[str, Float[Array, ""]]
    attack_args: dict[str, Float[Array, ""]]


@dataclass(frozen=True)
class StaticConfig:
    """The hyperparameters of a run that shape the program. Runs with equal ones share one compiled program."""

    rule: Callable[..., Aggregator]
    """factory of the rule, called inside the program with `DynamicConfig.rule_args`"""
    attack: Callable[..., Attack]
    """factory of the attack, called inside the program with `DynamicConfig.attack_args`"""
    model: nn.Module | convolutions.OnCpu
    optimizer: Callable[[Traced], optax.GradientTransformation]
    m: int
    batch: int
    n_classes: int
    momentum: str = "none"
    partition: str = "iid"
    steps: int | None = None


class TrainState(NamedTuple):
    """What a run carries from one step to the next."""

    params: Float[Array, " d"]
    optimizer: State
    rule: State
    attack: State
    momentum: Float[Array, "m d"] | tuple[()]
    """each worker's momentum; () without worker momentum"""
    shards: Int[Array, "m n"]
    """indices of each worker's training examples"""
    step: Int[Array, ""]
    """number of steps done"""
    previous: Float[Array, " d"]
    """the last aggregate; zero before the first step"""
    fixed: State = ()
    """the model's variables that are not trained, by collection; () if all are trained"""


class StepMetrics(NamedTuple):
    """Measurements of one step, or their means over an epoch's steps. h is the mean of the honest workers' rows."""

    train_loss: Float[Array, ""]
    """mean loss on the honest workers' batches before the step, nats"""
    byz_weight: Float[Array, ""]
    """total weight of the Byzantine rows in the aggregate"""
    cosine: Float[Array, ""]
    """cosine of the angle between the aggregate and h; 0 if either is zero"""
    error: Float[Array, ""]
    """||aggregate - h|| / ||h||"""
    variance: Float[Array, ""]
    """mean of ||g_i - h||^2 over honest workers"""
    honest_dropped: Float[Array, ""]
    """number of honest workers with weight 0 in the aggregate"""
    byz_kept: Float[Array, ""]
    """number of Byzantine workers with a positive weight in the aggregate"""
    clipped: Float[Array, ""]
    """number of rows that the rule or a preaggregator shortened"""


class EpochMetrics(NamedTuple):
    """Measurements after an epoch."""

    accuracy: Float[Array, ""]
    """accuracy on the test set, 0 to 1; NaN once the run has diverged"""
    loss: Float[Array, ""]
    """mean cross-entropy on the test set, nats"""
    step_metrics: StepMetrics
    """means over the steps of the epoch"""
    diverged: Bool[Array, ""]
    """whether the parameters or the test loss are not finite"""


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
    """Train one epoch, then measure on the test set.

    Between epochs each device holds the rows of its own workers; within an epoch it holds all rows of its own
    coordinates (`byzsim.worker_sharding`).
    """
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
    """One step of all workers and of the server; `index` has each worker's examples in the training set."""
    rule, attack = _members(static, dynamic)
    byz = dynamic.byz[:, None]
    # workers: labels, gradients, momentum
    index = worker_sharding.rows(shared_batches(index, rule.redundancy))
    images, clean = train.images[index], train.labels[index].astype(jnp.int32)
    labels = jnp.where(
        byz, attack.labels(clean, static.n_classes, _context(static, dynamic, Stream.LABELS, state)), clean
    )
    needed = jnp.ones_like(dynamic.byz) if attack.reads_own_gradients else ~dynamic.byz

    def local_gradients(model: tuple[Array, State], images: Array, labels: Array, needed: Array) -> Any:
        params, fixed = model
        return worker_gradients(static, params, train, images, labels, needed, fixed)

    losses, grads = worker_sharding.map_workers(local_gradients, (state.params, state.fixed), images, labels, needed)
    momentum, honest_updates = _momentum(static, dynamic, state.momentum, grads)
    honest_updates = worker_sharding.by_coordinate(honest_updates)

    # what the rule and the attack may call (`Context`)
    def advance(aggregate: Float[Array, " d"]) -> tuple[Float[Array, " d"], State]:
        updates, optimizer = static.optimizer(dynamic.lr).update(aggregate, state.optimizer, state.params)
        return jnp.asarray(optax.apply_updates(state.params, updates)), optimizer

    def losses_at(params: Float[Array, " d"], images: Array, labels: Array) -> Float[Array, " n"]:
        return _losses(static, params, train, images, labels, state.fixed)

    def server_loss(n: int) -> Callable[[Float[Array, " d"]], Float[Array, ""]]:
        drawn = jax.random.randint(_step_key(dynamic, Stream.SERVER, state), (1, n), 0, len(train.labels))
        return lambda params: losses_at(params, train.images[drawn], train.labels[drawn])[0]

    def loss_after(aggregate: Float[Array, " d"]) -> Float[Array, ""]:
        return _honest_mean(dynamic, losses_at(advance(aggregate)[0], images, clean))

    rule_context = _context(static, dynamic, Stream.RULE, state)._replace(server_loss=server_loss)
    attack_context = _context(static, dynamic, Stream.ATTACK, state)._replace(
        aggregate=lambda rows: rule.apply(rows, state.rule, rule_context)[0],
        loss_after=loss_after,
        full_gradient=lambda: full_gradient(static, state.params, train, state.fixed),
    )
    # the attack proposes rows for all workers; only those of Byzantine workers are used, then the server aggregates
    forged, attack_state = attack.grads(honest_updates, dynamic.byz, state.attack, attack_context)
    gradients = jnp.where(byz, forged, honest_updates)
    aggregate, rule_state, info = rule.apply(gradients, state.rule, rule_context)
    params, optimizer = advance(aggregate)
    step_metrics = _step_metrics(dynamic, _honest_mean(dynamic, losses), honest_updates, aggregate, info)
    shards, done = state.shards, state.step + 1
    after = TrainState(params, optimizer, rule_state, attack_state, momentum, shards, done, aggregate, state.fixed)
    return after, step_metrics


def _map_worker_matrices(turn: Callable[[Array], Array], static: StaticConfig, state: TrainState) -> TrainState:
    """Apply `turn` to every (m, d) matrix in the states of the rule and of the attack."""
    shape = (static.m, len(state.params))
    each = functools.partial(jax.tree.map, lambda leaf: turn(leaf) if jnp.shape(leaf)[-2:] == shape else leaf)
    return state._replace(rule=each(state.rule), attack=each(state.attack))


def shared_batches(index: Int[Array, "m b"], redundancy: int) -> Int[Array, "m b2"]:
    """Each worker's examples when groups of `redundancy` workers compute the same batches: those of all members.

    Groups are consecutive workers. Workers left over after the last full group join that group and compute its
    batches; their own batches are not used. A redundancy above m counts as m.
    """
    m, r = len(index), min(redundancy, len(index))
    if r == 1:
        return index
    return index[groups(m, r)[:, None] * r + jnp.arange(r)].reshape(m, -1)


def _step_metrics(
    dynamic: DynamicConfig, train_loss: Array, honest_updates: Float[Array, "m d"], aggregate: Array, info: Info
) -> StepMetrics:
    weight = info.weight
    # h, the aggregate and their difference: one Gram matrix has all lengths and the cosine
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


def _fast_on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(static, params, data, ...)`, on a CPU with the convolutions of `sim/convolutions.py`."""

    @functools.wraps(function)
    def by_platform(static: StaticConfig, params: Array, data: Data, *rest: Any) -> Any:
        model = convolutions.on_cpu(static.model, _one_image(data))
        default = functools.partial(function, static)
        if model is None:
            return default(params, data, *rest)
        fast = functools.partial(function, dataclasses.replace(static, model=model))
        return jax.lax.platform_dependent(params, data, *rest, cpu=fast, default=default)

    return by_platform


@_fast_on_cpu
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

    Rows of workers with needed=False are undefined. Where the workers are computed one after another (models with
    `workers_in_turn`, on a CPU) these workers are skipped and their rows are zero.
    """
    unravel = unraveller(static, train)

    def loss(tree: Any, images: Array, labels: Array) -> Float[Array, ""]:
        return _cross_entropy(static, tree, images, labels, fixed)[1].mean()

    def one(images: Array, labels: Array) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        value, tree = jax.value_and_grad(loss)(unravel(params), images, labels)
        return value, ravel_pytree(tree)[0]

    if getattr(static.model, "workers_in_turn", False):
        return jax.lax.platform_dependent(images, labels, cpu=_in_turn(one, needed), default=jax.vmap(one))
    return jax.vmap(one)(images, labels)


def _in_turn(one: Callable[..., Any], needed: Bool[Array, " m"]) -> Callable[..., Any]:
    """`vmap` of `one` as a loop over the workers that skips those with needed=False and returns zeros for them."""

    def each(worker: tuple[Array, tuple[Array, ...]]) -> Any:
        wanted, batch = worker
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(one, *batch))
        return jax.lax.cond(wanted, lambda: one(*batch), lambda: nothing)

    return lambda *batches: jax.lax.map(each, (needed, batches))


def _losses(
    static: StaticConfig, params: Float[Array, " d"], data: Data, images: Array, labels: Array, fixed: State
) -> Float[Array, " m"]:
    """Mean cross-entropy of each batch."""
    tree = unraveller(static, data)(params)

    def loss(images: Array, labels: Array) -> Float[Array, ""]:
        return _cross_entropy(static, tree, images, labels, fixed)[1].mean()

    return jax.vmap(loss)(images, labels)


@_fast_on_cpu
def evaluate(
    static: StaticConfig, params: Float[Array, " d"], test: Data, fixed: State = ()
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Accuracy (0 to 1) and mean cross-entropy (nats) on the whole of `test`, computed in equal chunks."""
    tree = unraveller(static, test)(params)

    def measure(part: Data) -> tuple[Float[Array, ""], Float[Array, ""]]:
        logits, loss = _cross_entropy(static, tree, part.images, part.labels.astype(jnp.int32), fixed)
        return (logits.argmax(axis=-1) == part.labels).mean(), loss.mean()

    accuracy, loss = jax.lax.map(measure, _chunks(static, test))
    return accuracy.mean(), loss.mean()


@_fast_on_cpu
def full_gradient(static: StaticConfig, params: Float[Array, " d"], train: Data, fixed: State) -> Float[Array, " d"]:
    """The gradient of the mean cross-entropy on the whole of `train`, computed in equal chunks."""

    def loss(params: Float[Array, " d"], part: Data) -> Float[Array, ""]:
        return _losses(static, params, train, part.images[None], part.labels[None].astype(jnp.int32), fixed)[0]

    return jax.lax.map(lambda part: jax.grad(loss)(params, part), _chunks(static, train)).mean(axis=0)


def _chunks(static: StaticConfig, data: Data) -> Data:
    """The data in equal parts of at most `TEST_CHUNK` examples (`test_chunk` of the model), on a new axis."""
    n, most = len(data.labels), getattr(static.model, "test_chunk", TEST_CHUNK)
    chunk = next(size for size in range(min(n, most), 0, -1) if n % size == 0)
    return jax.tree.map(lambda x: x.reshape(n // chunk, chunk, *x.shape[1:]), data)


def _cross_entropy(static: StaticConfig, tree: Any, images: Array, labels: Array, fixed: State) -> tuple[Array, Array]:
    """(logits, cross-entropy of each image in nats)"""
    logits = jnp.asarray(static.model.apply({**dict(fixed), "params": tree}, images))
    return logits, optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def _initial(static: StaticConfig, data: Data, key: Array) -> tuple[Float[Array, " d"], State]:
    """(flat parameters, the model's other variables, which are not trained)"""
    variables = dict(static.model.init(key, _one_image(data)))
    params = variables.pop("params")
    return ravel_pytree(params)[0], variables or ()


def unraveller(static: StaticConfig, data: Data) -> Callable[[Float[Array, " d"]], Any]:
    """The function that turns flat parameters (d,) into the model's pytree."""
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
    """Number of steps in an epoch; examples that do not fill a batch are not used."""
    return state.shards.shape[1] // static.batch if static.steps is None else static.steps


def _shards(static: StaticConfig, dynamic: DynamicConfig, train: Data) -> Int[Array, "m n"]:
    key, labels = _key(dynamic, Stream.SHARDS), train.labels.astype(jnp.int32)
    if static.partition == "iid":
        return partition.iid(key, labels, static.m)
    return partition.dirichlet(key, labels, static.m, n_classes=static.n_classes, alpha=dynamic.dirichlet_alpha)


def _batches(static: StaticConfig, dynamic: DynamicConfig, state: TrainState) -> Int[Array, "steps m b"]:
    """Every worker's shard in a new random order, cut into the batches of one epoch."""
    m, steps = len(state.shards), _steps(static, state)
    keys = jax.random.split(jax.random.fold_in(_key(dynamic, Stream.BATCHES), state.step), m)
    order = jax.vmap(jax.random.permutation)(keys, state.shards)
    return order[:, : steps * static.batch].reshape(m, steps, static.batch).transpose(1, 0, 2)


def _momentum(
    static: StaticConfig, dynamic: DynamicConfig, momentum: Any, grads: Float[Array, "m d"]
) -> tuple[Any, Float[Array, "m d"]]:
    """(next momentum of the workers, honest updates: what each worker sends if it is honest)"""
    match static.momentum:
        case "ema":
            momentum = dynamic.beta * momentum + (1 - dynamic.beta) * grads
        case "classic":
            momentum = dynamic.beta * momentum + grads
        case _:
            return momentum, grads
    return momentum, momentum
