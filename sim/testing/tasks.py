"""The contract of tasks."""

from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import data
from byzsim.models import as_model
from byzsim.registration import needed
from byzsim.task import Data, Task, n_examples, take
from byzsim.tasks import TASKS
from byzsim.testing._contract import Case, Promise, check, far, made_by, shown, spec_of
from jax.flatten_util import ravel_pytree

B = 6  # examples of a batch


class Tried(NamedTuple):
    """A task under test, at its initial parameters."""

    task: Task
    batch: Data
    params: Any
    constants: Any
    facts: Any


def check_task(task: Any, *, train: Any = None, model: Any = None, only: Collection[str] = ()) -> Case:
    """Check what every task promises, at its initial parameters, on a batch of 6 examples.

    Every task promises
        per_example: the loss and each metric are (b,), and those of an example do not depend on the others.
        gradient: the gradient of the mean loss is finite, and not zero for every example.
        measured: without a key, as when the loss is measured, it draws nothing: twice the same.
        numbers: `measure` gives one finite number for each name.
        generated: the same key makes the same data.

    Args:
        task: a name in `byzsim.TASKS`, a `Spec`, a factory, or a `Task`.
        train: (inputs, labels), for a task that trains on a data set; labels of classes are numbered from 0.
        model: a model, for a task that trains one.
        only: names of promises; default: all.
    Returns:
        {name: promise} of those that are kept.
    Raises:
        BrokenPromise: with each broken promise and an input that breaks it.
        ValueError: `task` cannot be checked, `train` is missing, or there is no such promise.
    """
    name, spec = spec_of(task, TASKS, Task)
    if train is None and "n_classes" in needed(spec):
        raise ValueError(f"task {name} trains on a data set: give train=(inputs, labels)")
    given: Any = None if train is None else data.examples("train", train)
    args: dict[str, Any] = {"n_classes": int(np.max(given.labels)) + 1} if "n_classes" in needed(spec) else {}
    if "model" in needed(spec):
        args["model"] = as_model(model)
    return check(name, _begun(name, made_by(spec, Task, **args), given), spec.traits, TASK_PROMISES, only)


def _begun(name: str, task: Task, train: Any) -> Tried:
    key, facts = jax.random.key(0), ()
    if task.generate:
        train, _, facts = task.generate(key, 3)
    batch = task.sample(key, jnp.int32(0), B) if task.sample else train
    if batch is None:
        raise ValueError(f"task {name} trains on a data set: give train=(inputs, labels)")
    batch = jax.tree.map(jnp.asarray, take(batch, jnp.arange(min(B, n_examples(batch)))))
    params, constants = task.init(key, take(batch, jnp.arange(1)))
    return Tried(task, batch, params, constants, facts)


def _each(tried: Tried, batch: Data) -> dict[str, Any]:
    task, params, constants = tried.task, tried.params, tried.constants
    return {"the loss": task.loss(params, constants, batch, None), **task.metrics(params, constants, batch)}


def _per_example(tried: Tried) -> str | None:
    b = n_examples(tried.batch)
    alone = [_each(tried, take(tried.batch, jnp.arange(i, i + 1))) for i in range(b)]
    for name, values in _each(tried, tried.batch).items():
        if np.shape(values) != (b,):
            return f"{name} of {b} examples has shape {np.shape(values)}; expected ({b},)"
        single = np.concatenate([each[name] for each in alone])
        if far(values, single, rtol=1e-4):
            return f"{name} is {shown(values)} in one batch, and {shown(single)} one by one"
    return None


def _gradient(tried: Tried) -> str | None:
    key = jax.random.key(1) if tried.task.draws else None
    slopes = jax.grad(lambda p: tried.task.loss(p, tried.constants, tried.batch, key).mean())(tried.params)
    flat = np.asarray(ravel_pytree(slopes)[0])
    if not np.isfinite(flat).all():
        return f"the gradient is {shown(flat)}"
    return "the gradient is zero: does the loss depend on the parameters?" if not flat.any() else None


def _measured(tried: Tried) -> str | None:
    one, two = (_each(tried, tried.batch) for _ in range(2))
    differ = [name for name in one if not np.array_equal(one[name], two[name], equal_nan=True)]
    return f"{differ[0]} is not the same twice" if differ else None


def _numbers(tried: Tried) -> str | None:
    for name, value in tried.task.measure(tried.params, tried.facts).items():
        if np.shape(value) != () or not np.isfinite(value):
            return f"{name} is {shown(value)} of shape {np.shape(value)}; expected one finite number"
    return None


def _generated(tried: Tried) -> str | None:
    if tried.task.generate is None:
        return None
    one, two = (jax.tree.leaves(tried.task.generate(jax.random.key(3), 3)) for _ in range(2))
    return None if all(map(np.array_equal, one, two)) else "the same key makes other data"


TASK_PROMISES: dict[str, Promise] = {
    "per_example": Promise("losses and metrics are those of single examples, (b,)", _per_example),
    "gradient": Promise("the gradient is finite and not zero", _gradient),
    "measured": Promise("nothing is drawn when the loss is measured", _measured),
    "numbers": Promise("what is measured of the parameters is one number each", _numbers),
    "generated": Promise("the same key makes the same data", _generated),
}
"""the contract that `check_task` checks"""
