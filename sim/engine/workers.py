"""What workers compute: losses and gradients of their batches, and local steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from byzsim import platforms
from byzsim.engine.configs import Local, StaticConfig
from byzsim.task import Data, Examples, Params, Task
from byzsim.types import State
from jax.extend.core import jaxpr_as_fun
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Key

Weights = Float[Array, "*batch b"] | None


class Work(NamedTuple):
    """What one worker is given, or several along a leading axis."""

    batch: Data
    weights: Weights
    """1 for an example, 0 for none; None: all are examples"""
    key: Key[Array, ""] | None
    """for a loss that draws"""


class Point(NamedTuple):
    """Where the gradients of a step are taken, the same for all workers."""

    params: Float[Array, " d"]
    constants: Any
    """what the model has and nobody trains"""
    decay: Float[Array, ""] | None = None
    """the weight decay that a worker adds to its gradient"""
    clip: Float[Array, ""] | None = None
    """the norm to which a worker shortens its gradient"""


def mean_loss(task: Task, tree: Params, constants: Any, work: Work) -> Float[Array, ""]:
    """The mean loss over a batch, of those entries that are examples."""
    losses = task.loss(tree, constants, work.batch, work.key)
    if work.weights is None:
        return losses.mean()
    return (losses * work.weights).sum() / jnp.maximum(work.weights.sum(), 1)


def updates(
    static: StaticConfig,
    unravel: Callable[[Float[Array, " d"]], Params],
    task: Task,
    point: Point,
    lr: Any,
    work: Work,
    needed: Bool[Array, " m"],
    local_state: State = (),
) -> tuple[Float[Array, " m"], Float[Array, "m d"], State]:
    """(mean loss of each worker on its batches, what it would send, the state of its own optimizer).

    Rows of workers with needed=False are undefined; where workers compute in turn, they cost nothing.
    """

    def gradient(tree: Params, given: Work) -> tuple[Array, Array]:
        value, slope = jax.value_and_grad(lambda tree: mean_loss(task, tree, point.constants, given))(tree)
        flat = ravel_pytree(slope)[0]
        if point.clip is not None:
            flat = flat * jnp.minimum(1.0, point.clip / jnp.maximum(jnp.linalg.norm(flat), 1e-30))
        if point.decay is not None:
            flat = flat + point.decay * ravel_pytree(tree)[0]
        return value, flat

    def one(given: Work, own: State) -> tuple[Array, Array, State]:
        if static.local is None:
            return *gradient(unravel(point.params), given), own
        return _several(static.local, gradient, unravel, point.params, lr, given, own)

    if not task.in_turn:
        return jax.vmap(one)(work, local_state)
    in_turn = _in_turn(one, needed)
    return platforms.on_cpu(work, local_state, cpu=in_turn, default=jax.vmap(one))


def _several(
    local: Local,
    gradient: Callable[[Params, Work], tuple[Array, Array]],
    unravel: Callable[[Float[Array, " d"]], Params],
    start: Float[Array, " d"],
    lr: Any,
    work: Work,
    own: State,
) -> tuple[Array, Array, State]:
    """The local steps of one worker, one for each entry along the leading axis of `work`."""
    optimizer = local.optimizer(lr)

    def step(carry: tuple[Array, State], now: Work) -> tuple[tuple[Array, State], tuple[Array, Array]]:
        params, state = carry
        value, slope = gradient(unravel(params), now)
        change, state = optimizer.update(slope, state, params)
        return (jnp.asarray(optax.apply_updates(params, change)), state), (value, slope)

    begun = own if local.keeps_state else optimizer.init(start)
    (arrived, state), (values, slopes) = jax.lax.scan(step, (start, begun), work)
    sent = start - arrived if local.sends == "difference" else slopes.mean(axis=0)
    return values.mean(), sent, state if local.keeps_state else own


def _in_turn(one: Callable[..., Any], needed: Bool[Array, " m"]) -> Callable[..., Any]:
    """`vmap` as a loop that leaves out the workers that are not needed: zeros for them."""

    def each(worker: tuple[Array, Any]) -> Any:
        wanted, given = worker
        traced, shapes = jax.make_jaxpr(one, return_shape=True)(*given)  # once, for its result's shapes and for itself
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        def computed() -> Any:
            found = jaxpr_as_fun(traced)(*jax.tree.leaves(given))
            return jax.tree.unflatten(jax.tree.structure(shapes), found)

        return jax.lax.cond(wanted, computed, lambda: nothing)

    return lambda *given: jax.lax.map(each, (needed, given))


def losses_at(task: Task, tree: Params, constants: Any, batch: Data, weights: Weights = None) -> Float[Array, " m"]:
    """The mean loss of each batch, without the draws of training."""
    return jax.vmap(lambda batch, weights: mean_loss(task, tree, constants, Work(batch, weights, None)))(batch, weights)


def unraveller(task: Task, example: Data) -> Callable[[Float[Array, " d"]], Params]:
    """Flat parameters -> the tree of them."""
    shapes = jax.eval_shape(task.init, jax.eval_shape(jax.random.key, 0), example)[0]
    return ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))[1]


def one_example(task: Task, train: Examples) -> Data:
    """Zeros, in the shape of one example."""
    sample = task.sample
    like = jax.eval_shape(lambda: sample(jax.random.key(0), jnp.int32(0), 1)) if sample else train
    return jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape[1:]), leaf.dtype), like)
