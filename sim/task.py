"""What is trained: a task as pure functions over pytrees."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from byzsim.servers import Servers
from jaxtyping import Array, Float, Key

Params = Any  # any pytree of floating arrays
Examples = Any  # a `Data`, or None where a task makes its own examples


class Data(NamedTuple):
    """Examples, on the device; always an argument of what is compiled, never a constant in it."""

    inputs: Any
    """any pytree of arrays with a leading axis of examples"""
    labels: Any = None
    """classes (integers) or targets, with the same leading axis; None for a task that has none"""


class Generated(NamedTuple):
    """Data that a task makes itself, from the run's data seed."""

    train: Data
    test: Data
    facts: Any = ()
    """what is known of the problem, such as its optimum, for `Task.measure`"""


class Task(NamedTuple):
    """What is trained and what is measured. The engine takes means over examples; no function here does."""

    init: Callable[[Key[Array, ""], Data], tuple[Params, Any]]
    """(key, one example) -> (parameters that are trained and sent, constants that are neither)"""
    loss: Callable[[Params, Any, Data, Key[Array, ""] | None], Float[Array, " b"]]
    """(parameters, constants, batch, key or None) -> the loss of each example; None when the loss is measured"""
    metrics: Callable[[Params, Any, Data], dict[str, Float[Array, " b"]]]
    """(parameters, constants, batch) -> named values of each example; their means over the test set are measured"""
    measure: Callable[[Params, Any], dict[str, Float[Array, ""]]] = lambda params, facts: {}
    """(parameters, facts of `generate`) -> named values of the parameters, such as their distance to an optimum"""
    generate: Callable[[Key[Array, ""], int], Generated] | None = None
    """(key, m) -> the task's own data; None: a data set is given"""
    sample: Callable[[Key[Array, ""], Array, int], Data] | None = None
    """(key, worker, n) -> n fresh examples of a worker, -1 for the server; None: batches come from a training set"""
    n_classes: int | None = None
    """labels are whole numbers from 0 below this; None: labels are no classes, and no attack or partition reads them"""
    draws: bool = False
    """the loss draws from its key in training, as dropout does"""
    in_turn: bool = False
    """on a CPU the gradients of workers are computed one worker after another, where that is faster than `vmap`"""
    test_chunk: int = 1000
    """examples in one forward pass of a measurement, at most"""
    rewrites: bool = True
    """on a CPU its convolutions and pooling are replaced (`byzsim.convolutions`)"""
    servers: Servers | None = None
    """several servers, each with a model of its own: parameters are (n, d), and the rule aggregates for each server by
    itself; None: one server"""


def make_task(
    *,
    init: Callable[..., Params],
    loss: Callable[..., Float[Array, " b"]],
    metrics: Callable[[Params, Data], dict[str, Float[Array, " b"]]] | None = None,
    measure: Callable[[Params, Any], dict[str, Float[Array, ""]]] = lambda params, facts: {},
    generate: Callable[[Key[Array, ""], int], Generated] | None = None,
    sample: Callable[[Key[Array, ""], Array, int], Data] | None = None,
    n_classes: int | None = None,
    in_turn: bool = False,
) -> Task:
    """A `Task` without constants, from the functions that a user would write.

    >>> import jax.numpy as jnp
    >>> task = make_task(
    ...     init=lambda key, example: jnp.zeros(2),
    ...     loss=lambda w, batch: jnp.square(batch.inputs @ w - batch.labels),
    ... )
    >>> batch = Data(jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.array([3.0, 1.0]))
    >>> print(task.loss(jnp.ones(2), (), batch, None))
    [4. 1.]

    Args:
        init: (key, one example) -> parameters.
        loss: (parameters, batch) or (parameters, batch, key) -> the loss of each example, (b,).
        metrics: (parameters, batch) -> named values of each example; default: the loss alone.
        measure, generate, sample, n_classes, in_turn: as in `Task`.
    """
    draws = len(inspect.signature(loss).parameters) > 2

    def losses(params: Params, constants: Any, batch: Data, key: Key[Array, ""] | None) -> Float[Array, " b"]:
        del constants
        return loss(params, batch, key) if draws else loss(params, batch)

    def values(params: Params, constants: Any, batch: Data) -> dict[str, Float[Array, " b"]]:
        return {"loss": losses(params, constants, batch, None)} if metrics is None else metrics(params, batch)

    return Task(
        init=lambda key, example: (init(key, example), ()),
        loss=losses,
        metrics=values,
        measure=measure,
        generate=generate,
        sample=sample,
        n_classes=n_classes,
        draws=draws,
        in_turn=in_turn,
    )


def n_examples(data: Data) -> int:
    """The length of the leading axis."""
    return len(jax.tree.leaves(data)[0])


def take(data: Data, index: Array) -> Data:
    """The examples at `index`, of any shape; an index below 0 stands for no example and gives the last one."""
    return jax.tree.map(lambda leaf: leaf[index], data)
