"""Checks before a run: models, rules and attacks are traced with shapes only; nothing is compiled or allocated."""

import functools
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from byzsim.engine import batches
from byzsim.engine.workers import one_example
from byzsim.grid.planning import Run, TaskCall
from byzsim.models import Model, as_model
from byzsim.names import BUILT_IN, own
from byzsim.oneshot import make_context, summed
from byzsim.partitions import Partition, Pool
from byzsim.task import Data, Examples, n_examples
from byzsim.types import Aggregator, Attack, Info, begin
from flax.errors import FlaxError, InvalidRngError, ModifyScopeVariableError
from jaxtyping import Array

KEY = jax.eval_shape(jax.random.key, 0)


def runs(wanted: Sequence[Run], train: Examples) -> int:
    """Check that the task fits the data, that rules and attacks work for m workers, and that the memory suffices.

    Args:
        wanted: runs with the same task, model, batch and m.
        train: the training set, or its shapes; None for a task that makes its own examples.

    Returns:
        The number of parameters, d.

    Raises:
        ValueError: one of these does not hold.
    """
    first = wanted[0].config
    _check_labels(wanted[0], train)
    d, dtype = parameters(first.model or first.task, wanted[0].task, train)
    _check_needs(wanted)
    _check_measured(wanted[0], train)
    grads = dtype.itemsize * first.m * d * (1 if first.momentum == "none" else 2)
    fits(f"the gradients of m={first.m} workers, {d:,} parameters each,", grads)
    rules = {repr((run.config.rule, run.config.rule_args)): run for run in wanted}
    attacks = {repr((run.config.attack, run.config.attack_args)): run for run in wanted}
    m = first.participants
    for run in rules.values():
        name = run.config.rule
        try:
            state = rule(run.rule.factory(**run.config.rule_args), m, d, dtype)
        except Exception as error:
            if not own(name):
                raise
            raise ValueError(f"{name} fails for m={m}, d={d:,}: {error}") from error
        fits(f"the state of {name} and the gradients", grads + _bytes(state))
        if m < first.m:
            _check_memory(name, run.rule.factory(**run.config.rule_args), m, d, dtype)
    for run in attacks.values():
        made = run.attack.factory(**run.config.attack_args)
        if m < first.m:
            _check_memory(run.config.attack, made, m, d, dtype)
        state = jax.eval_shape(functools.partial(begin, made, m, d, dtype))
        fits(f"the state of {run.config.attack} and the gradients", grads + _bytes(state))
    return d


def _check_memory(name: str, made: Aggregator | Attack, m: int, d: int, dtype: Any) -> None:
    """What a member remembers is of no worker in particular, where other workers take part in each round."""
    states = [jax.eval_shape(functools.partial(begin, made, each, d, dtype)) for each in (m, m + 1)]
    if _kind(states[0]) != _kind(states[1]):
        raise ValueError(
            f"{name} remembers each worker, and with participation below 1 other workers take part in each round; take "
            "participation=1, or a member that does not"
        )


def parameters(name: str, call: TaskCall, train: Examples) -> tuple[int, Any]:
    """(number, dtype) of the parameters that a task trains.

    Args:
        name: of the model or the task, for error messages.
        train: the training set, or its shapes; None for a task that makes its own examples.
    Raises:
        ValueError: the engine cannot train it: the model changes a variable in a training pass, needs random numbers
            that it cannot get, has no parameters or none with a point, or does not return what the task reads; or the
            loss is not one number for each example.
    """
    task = call()
    if task.generate:
        generate = task.generate
        train = jax.eval_shape(lambda: generate(jax.random.key(0), 2)).train
    example = one_example(task, train)
    where = name if call.model is None or train is None else f"{name} on {_in_words(train.inputs)}"
    if call.model is not None:
        _check_channels(name, train)
    try:
        tree, constants = jax.eval_shape(task.init, KEY, example)
        if call.model is not None:
            model = as_model(call.model())
            begun = jax.eval_shape(model.init, KEY, example.inputs)
            _check_outputs(where, model, *begun, example, dict(call.model.static)["n_classes"])
        trained = _trained(tree)
        losses = jax.eval_shape(task.loss, tree, constants, example, KEY if task.draws else None)
        measured = jax.eval_shape(task.metrics, tree, constants, example)
    except ModifyScopeVariableError as error:
        raise ValueError(
            f"{where} changes a variable that is not trained, such as BatchNorm's running mean; rules aggregate "
            f"parameters only. Use GroupNorm or LayerNorm, or use_running_average=True. {words(error)}"
        ) from None
    except InvalidRngError as error:
        raise ValueError(
            f"{where} needs random numbers: give __call__ an argument train, which is True in training, when there is "
            f"a key for dropout. {words(error)}"
        ) from None
    except Exception as error:
        raise ValueError(f"{where}: {words(error)}") from None
    _check_each_example(where, {"the loss": losses, **{f"metric {key}": value for key, value in measured.items()}})
    return sum(leaf.size for leaf in trained), jnp.result_type(*trained)


def _trained(tree: Any) -> list[Any]:
    """The leaves of parameters that have a gradient."""
    leaves = jax.tree.leaves(tree)
    if not leaves:
        raise ValueError("there is nothing to train; expected parameters (in Flax: the collection 'params')")
    if whole := [leaf.dtype for leaf in leaves if not jnp.issubdtype(leaf.dtype, jnp.floating)]:
        raise ValueError(f"parameters of type {whole[0]} have no gradient; expected floating-point numbers")
    return leaves


def _check_each_example(where: str, values: dict[str, Any]) -> None:
    for what, found in values.items():
        if getattr(found, "shape", None) != (1,):
            raise ValueError(
                f"{where}: {what} of one example is {_kind(found)}; expected shape (1,), one number for each example"
            )


def shards(run: Run, train: Examples) -> None:
    """Check that shards hold a step, and that every worker has an example; this may deal the data out.

    Raises:
        ValueError: they do not, or the indices do not fit the training set.
    """
    partition, name = run.static.partition(**run.dynamic.partition_args), run.config.partition
    if train is None:
        return
    n = n_examples(train)
    if name not in BUILT_IN:
        _check_deal(partition, name, run.static.task().n_classes, n, run.static.honest_data or run.static.m)
    if partition.equal and name in BUILT_IN:
        return _check_width(run, train)
    held = np.asarray(batches.shards(run.static, run.dynamic, run.static.task(), train))
    if held.min() < -1 or held.max() >= n:
        wrong = held.max() if held.max() >= n else held.min()
        raise ValueError(
            f"partition {name} deals out example {wrong}; expected 0 to {n - 1}, or -1 where a worker has no more"
        )
    sizes = (held >= 0).sum(axis=1)
    if empty := np.flatnonzero(sizes == 0).tolist():
        raise ValueError(
            f"partition {name} leaves worker {empty[0]} without an example (sizes: {sizes.tolist()}); take other "
            "options or another data_seed, or fewer workers"
        )
    if partition.equal and held.min() < 0:
        raise ValueError(f"partition {name} fills up rows with -1: give Partition(deal, equal=False)")
    if (np.diff((held >= 0).astype(int), axis=1) > 0).any():
        raise ValueError(f"partition {name} has -1 before an example; expected it at the end of a row only")
    _check_width(run, train)


def _check_width(run: Run, train: Examples) -> None:
    """Equal shards hold the steps of an epoch, which go through them without a repetition."""
    static = run.static
    if static.batch is None or static.sampling != "shuffle" or not static.partition(**run.dynamic.partition_args).equal:
        return
    held = jax.eval_shape(lambda train: batches.shards(static, run.dynamic, static.task(), train), train)
    steps = batches.epoch_steps(static, run.dynamic, held, train)
    needed = steps * batches.local_steps(static) * static.batch
    if held.shape[1] < needed:
        raise ValueError(
            f"each worker has {held.shape[1]} examples (partition {run.config.partition}), fewer than the {needed} of "
            f"{steps} steps; take a smaller batch, or fewer steps"
        )


def _check_deal(partition: Partition, name: str, n_classes: int | None, n: int, m: int) -> None:
    """One traced call of a user's own partition."""
    labels = None if n_classes is None else jax.ShapeDtypeStruct((n,), jnp.int32)
    try:
        dealt = jax.eval_shape(lambda key, labels: partition.deal(key, Pool(n, labels, n_classes), m), KEY, labels)
    except Exception as error:  # the user's code may raise anything
        raise ValueError(f"partition {name} fails for m={m} and {n} examples: {words(error)}") from error
    whole = hasattr(dealt, "dtype") and jnp.issubdtype(dealt.dtype, jnp.integer)
    if not whole or dealt.ndim != 2 or dealt.shape[0] != m or dealt.shape[1] == 0:
        raise ValueError(f"partition {name} returns {_kind(dealt)}; expected whole numbers (m, n) with m={m} and n > 0")


def _check_channels(name: str, train: Examples) -> None:
    shape = getattr(train.inputs, "shape", ())[1:]
    if len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) > 4:
        shown = ", ".join(map(str, shape))
        raise ValueError(
            f"{name}: images of shape (n, {shown}); expected (n, h, w) or (n, h, w, c): is the channel first? Then "
            "np.moveaxis(images, 1, -1) moves it to the end"
        )


def _check_outputs(where: str, model: Model, tree: Any, constants: Any, example: Data, n_outputs: int) -> None:
    key = KEY if model.draws else None
    found = jax.eval_shape(model.apply, tree, constants, example.inputs, key)
    if getattr(found, "shape", None) != (1, n_outputs):
        raise ValueError(f"it returns {_kind(found)} for one example; expected (1, {n_outputs})")


def _in_words(inputs: Any) -> str:
    shapes = [f"{leaf.dtype} {leaf.shape[1:]}" for leaf in jax.tree.leaves(inputs)]
    return f"inputs {', '.join(shapes)}"


def _check_labels(run: Run, train: Examples) -> None:
    """A task that has classes gets whole numbers for labels."""
    labels = None if train is None else train.labels
    if train is None or run.static.task().n_classes is None:
        return
    if labels is None or not jnp.issubdtype(labels.dtype, jnp.integer) or labels.ndim != 1:
        found = "none" if labels is None else f"{labels.dtype} of shape {labels.shape}"
        raise ValueError(f"task {run.config.task} has classes, and the labels are {found}; expected whole numbers (n,)")


def _check_measured(run: Run, train: Examples) -> None:
    """Something is measured: on a test set, or of the parameters, as one number each."""
    task, name = run.static.task(), run.config.task
    generate, facts, has_test = task.generate, (), train is not None
    if generate:
        made = jax.eval_shape(lambda: generate(jax.random.key(0), 2))
        train, facts, has_test = made.train, made.facts, True
    tree, constants = jax.eval_shape(task.init, KEY, example := one_example(task, train))
    try:
        found = jax.eval_shape(task.measure, tree, facts)
    except Exception as error:  # the user's code may raise anything
        raise ValueError(f"what task {name} measures of its parameters fails: {words(error)}") from error
    for key, value in found.items():
        if value.shape != ():
            raise ValueError(f"task {name} measures {key} of shape {value.shape}; expected one number")
    if not (found or (has_test and jax.eval_shape(task.metrics, tree, constants, example))):
        raise ValueError(
            f"nothing would be measured: task {name} has no test set, and no measure=..., a function (parameters, "
            "facts) -> {'name': number}"
        )


def _check_needs(wanted: Sequence[Run]) -> None:
    """What members ask for is there: classes for attacks on labels and partitions, workers that stay the same."""
    task = wanted[0].static.task()
    for run in wanted:
        config, static = run.config, run.static
        if task.n_classes is None and "data" in run.attack.traits:
            raise ValueError(f"{config.attack} changes labels, and task {config.task} has no classes")
        dealt = not task.sample
        if dealt and task.n_classes is None and static.partition(**run.dynamic.partition_args).needs_classes:
            raise ValueError(f"partition {config.partition} reads classes, and task {config.task} has none")
        if not dealt and config.partition != "iid":
            raise ValueError(
                f"partition {config.partition} has nothing to deal out: task {config.task} draws its examples"
            )
        if not dealt and config.batch is None:
            raise ValueError(f"batch=None is the whole shard, and task {config.task} draws its examples: give a number")
        if dealt and config.sampling == "keep_last" and not static.partition(**run.dynamic.partition_args).equal:
            raise ValueError(
                f"sampling='keep_last' ends with the shard of each worker, and those of partition {config.partition} "
                "differ in size; take sampling='shuffle', which repeats the smaller ones, or 'replacement'"
            )
        if not dealt and "full_gradient" in run.attack.traits:
            raise ValueError(
                f"{config.attack} reads the gradient over all data, and task {config.task} draws its examples"
            )
        redundancy = static.rule(**run.dynamic.rule_args).redundancy
        if static.local and redundancy > 1:
            raise ValueError(f"{config.rule} shares batches between workers, and they make local_steps of their own")


def rule(made: Aggregator, m: int, d: int, dtype: Any = jnp.float32) -> Any:
    """Check one step of a rule for m workers and d coordinates, and return the shapes of its state.

    Raises:
        ValueError: `apply` does not return an aggregate (d,), a state of the same shapes, and an `Info`.
    """

    def one_step(grads: Array, key: Array) -> tuple[Any, Any]:
        state = begin(made, m, d, dtype)
        return state, made.apply(grads, state, make_context(key, 1, d, dtype, server_loss=summed))

    before, after = jax.eval_shape(one_step, jax.ShapeDtypeStruct((m, d), dtype), KEY)
    if not (isinstance(after, tuple) and len(after) == 3 and isinstance(after[2], Info)):
        raise ValueError(f"apply returns {_kind(after)}; expected (aggregate, state, Info)")
    aggregate, state, info = after
    _same("an aggregate", aggregate, jax.ShapeDtypeStruct((d,), dtype))
    _same("weights", info.weight, jax.ShapeDtypeStruct((m,), jnp.float32))
    _same("a state", state, before)
    return before


def attack(made: Attack, m: int, d: int) -> None:
    """Check one step of an attack for m workers and d coordinates.

    Raises:
        ValueError: `grads` does not return rows (m, d) and a state of the same shapes, or `labels` does not return
            labels of the same shape.
    """

    def one_step(updates: Array, byz: Array, labels: Array, key: Array) -> tuple[Any, Any, Any]:
        ctx = make_context(
            key,
            1,
            d,
            updates.dtype,
            aggregate=lambda rows: rows.mean(axis=0),
            loss_after=lambda g: g.sum(),
            full_gradient=lambda: jnp.zeros(d, updates.dtype),
        )
        state = begin(made, m, d, updates.dtype)
        return state, made.grads(updates, byz, state, ctx), made.labels(labels, 10, ctx)

    rows, labels = jax.ShapeDtypeStruct((m, d), jnp.float32), jax.ShapeDtypeStruct((m, 2), jnp.int32)
    before, after, poisoned = jax.eval_shape(one_step, rows, jax.ShapeDtypeStruct((m,), bool), labels, KEY)
    if not (isinstance(after, tuple) and len(after) == 2):
        raise ValueError(f"grads returns {_kind(after)}; expected (rows, state)")
    _same("rows", after[0], rows)
    _same("a state", after[1], before)
    _same("labels", poisoned, labels)


def fits(what: str, needed: int) -> None:
    """Check that `needed` bytes fit into the memory of the device, or of the machine.

    Args:
        what: what needs the memory, as subject of the message.
        needed: a lower bound, in bytes.

    Raises:
        ValueError: they do not fit.
    """
    available = _memory()
    if available is not None and needed > available:
        raise ValueError(f"{what} need at least {needed / 1e9:,.1f} GB, and {available / 1e9:,.1f} GB are available")


def _memory() -> int | None:
    """Bytes of the device's memory, else of the machine's; None if unknown."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit is None and hasattr(os, "sysconf"):
        limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return limit


def words(error: Exception) -> str:
    """The first line of an error, with its type unless it is a ValueError or an error of Flax."""
    text = str(error).strip().partition("\n")[0]
    return text if isinstance(error, ValueError | FlaxError) else f"{type(error).__name__}: {text}"


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _same(what: str, found: Any, expected: Any) -> None:
    if _kind(found) != _kind(expected):
        raise ValueError(f"it returns {what} of {_kind(found)}; expected {_kind(expected)}")


def _kind(tree: Any) -> str:
    """The dtypes and shapes of a pytree of arrays as text, such as float32 (3,)."""
    return str(jax.tree.map(lambda leaf: _Shown(f"{leaf.dtype} {leaf.shape}"), tree))


class _Shown(str):
    __repr__ = str.__str__
