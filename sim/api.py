"""Calls for one purpose each: aggregate a matrix, forge an attack's rows, train one run."""

import dataclasses
import functools
import inspect
import warnings
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import check_shapes, data, grid, oneshot
from byzsim.arrays import real_array
from byzsim.captured import MayChange, captured
from byzsim.engine import Data
from byzsim.grid import History
from byzsim.names import attack_spec, max_f, rule_spec
from byzsim.nearest import unknown
from byzsim.options import FLOAT32_MAX, Args, options, plain
from byzsim.partitions import given
from byzsim.process import non_finite, not_forked
from byzsim.run_config import RunConfig
from byzsim.tasks import TASKS
from byzsim.types import Traced
from jax.core import Tracer
from jaxtyping import Array, Float

FIELDS = tuple(field.name for field in dataclasses.fields(RunConfig))


@non_finite()
def aggregate(
    rule: str,
    gradients: Any,
    *,
    f: int | None = None,
    seed: int = 0,
    lr: Traced = 1.0,
    params: Any = None,
    server_loss: Callable[[Array], Array] | None = None,
    server_gradient: Any = None,
    strict: bool = False,
    **rule_args: Any,
) -> Float[Array, " d"] | Float[Array, "rounds d"]:
    """Aggregate one matrix of gradients, or several in order, which a rule with a state remembers.

    >>> gradients = [[0.0, 1.0], [0.5, 1.0], [0.0, 1.5], [0.5, 1.5], [9.0, -9.0]]
    >>> print(aggregate("krum", gradients, f=1))
    [0. 1.]

    The same rule as byzfl defines it, and behind a preaggregator:

    >>> print(aggregate("krum", gradients, f=1, variant="byzfl"))
    [0. 1.]
    >>> print(aggregate("nnm+krum", gradients, f=1, variant="byzfl"))
    [0.25 1.25]

    Under `jax.jit`, `jax.grad` and other transformations of JAX these arguments may be traced: gradients, lr, params,
    server_gradient, and options that the rule's documentation calls traced.

    Args:
        rule: a name in `byzsim.AGGREGATORS`; preaggregators go before it, joined by "+", as in "nnm+krum".
        gradients: an array-like of shape (m, d), one row for each worker, or (rounds, m, d). Floating-point numbers of
            at most 32 bits are computed in float32, all others in JAX's default (float64 if `jax_enable_x64` is set).
            NaN and infinities are allowed. Tensors of torch are detached; missing values of a DataFrame become NaN.
        f: number of Byzantine workers that the defender declares, 0 to m. Rules that do not read it do not need it.
        seed: seed of the rule's random numbers.
        lr: the server's learning rate, for rules that read it.
        params: parameters (d,) at which the gradients were computed, or (rounds, d); default zero. For rules that read
            them.
        server_loss: the server's own loss as a function of the parameters, for rules that need it. Each call compiles
            anew if the function reads an object that may change in place, such as an attribute of `self`.
        server_gradient: the gradient (d,) of that loss, for rules that need the gradient only.
        strict: raise an error, instead of a warning, if f is beyond the rule's bound.
        rule_args: options of the rule and of its preaggregators. variant=NAME selects a named variant of the rule
            (`byzsim show RULE` lists them); options given beside it override the variant's.

    Returns:
        The aggregate (d,), or (rounds, d).

    Raises:
        ValueError: the rule, an option or the variant is unknown; an array has a wrong shape, is empty, masked or not
            numeric; f is out of range, missing for a rule that reads it, or (if `strict`) beyond the rule's bound; the
            rule needs the server's own data and gets none.
        RuntimeError: the process was forked after JAX had started.

    Warns:
        UserWarning: f is beyond the rule's bound.
    """
    spec = rule_spec(rule)
    not_forked()
    matrix = _matrix(gradients, rounds=True)
    m, d = matrix.shape[-2:]
    args = options(rule, spec, rule_args, traced=True)
    declared = None if f is None else _count("f", f, m)
    seed, lr = _seed(seed), _number("lr", lr)
    _check_function("server_loss", server_loss)
    bound = max_f(spec, m, args)
    if declared is not None and declared > bound:
        _beyond(f"{rule}'s guarantee covers f <= {bound} for m={m}; got f={declared}", strict, frames=4)
    if "server" in spec.traits and server_loss is None and server_gradient is None:
        raise ValueError(f"{rule} needs the server's own data: pass server_loss=... or server_gradient=...")
    dtype = matrix.dtype
    at = _vectors("params", 0.0 if params is None else params, (matrix.size // (m * d), d), dtype)
    slope = None if server_gradient is None else _vectors("server_gradient", server_gradient, (d,), dtype)
    call, traced = grid.call(spec.factory, args, dtype)
    traced_f = None if declared is None else jnp.int32(declared)
    try:
        program = _with_function(_aggregating, call, function=server_loss)
        return program(traced, matrix, at, slope, jax.random.key(seed), traced_f, jnp.asarray(lr, dtype))
    except oneshot.Undeclared:
        raise ValueError(
            f"{rule} needs f, the number of workers that you declare Byzantine: pass f=... (0 for none); the rule's "
            f"guarantee covers f <= {bound} for m={m}"
        ) from None


def _beyond(message: str, strict: bool, *, frames: int) -> None:
    """Raise an error if `strict`, else warn the caller, who is `frames` frames up."""
    if strict:
        raise ValueError(f"{message} (strict=True)")
    warnings.warn(message, stacklevel=frames)


class _Known:
    """A user's function, equal to another one as long as both are the same code and read the same values."""

    def __init__(self, function: Callable[[Array], Array], key: Hashable) -> None:
        self.function, self.key = function, key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _with_function(make: Any, *args: Any, function: Callable[[Array], Array] | None) -> Callable[..., Array]:
    """make(*args, function) of the cached function `make`, anew if the function reads what may change unseen."""
    if function is None:
        return make(*args, None)
    try:
        return make(*args, _Known(function, captured(function)))
    except MayChange:
        return make.__wrapped__(*args, _Known(function, None))


@functools.lru_cache(maxsize=128)
def _aggregating(rule: grid.Call, server_loss: _Known | None) -> Callable[..., Array]:
    """The compiled program of `aggregate`."""

    def run(options: Args, matrix: Array, params: Array, slope: Any, key: Array, f: Any, lr: Array) -> Array:
        loss = server_loss and server_loss.function if slope is None else lambda params: jnp.vdot(slope, params)
        known = {} if loss is None else {"server_loss": lambda n: loss}
        rounds = matrix.reshape(-1, *matrix.shape[-2:])
        out = oneshot.aggregates(rule(**options), rounds, key, f, params=params, lr=lr, **known)
        return out.reshape(*matrix.shape[:-2], matrix.shape[-1])

    return jax.jit(run)


@non_finite()
def forge(
    name: str,
    honest: Any,
    *,
    n_byz: int,
    byzantine_gradients: Any = None,
    rule: str = "mean",
    rule_args: Mapping[str, Any] | None = None,
    f: int | None = None,
    seed: int = 0,
    previous: Any = None,
    loss_after: Callable[[Array], Array] | None = None,
    full_gradient: Any = None,
    params: Any = None,
    **attack_args: Any,
) -> Float[Array, "n_byz d"] | Float[Array, "rounds n_byz d"]:
    """The rows that Byzantine workers send under an attack, given the honest workers' rows.

    >>> honest = [[1.0, 0.0], [3.0, 0.0], [1.0, 4.0], [3.0, 4.0]]
    >>> print(forge("alie", honest, n_byz=2, z=1.5))  # the mean [2, 2] minus 1.5 standard deviations [1, 2]
    [[ 0.5 -1. ]
     [ 0.5 -1. ]]
    >>> forge("optimal_inner_product", honest, n_byz=1, rule="median").shape
    (1, 2)

    Args:
        name: a name in `byzsim.ATTACKS`; modifiers go before it, joined by "+", as in "burst+alie".
        honest: an array-like of shape (m - n_byz, d), one row for each honest worker, or (rounds, m - n_byz, d).
        n_byz: number of workers that attack. They are the first rows of the matrix that the rule gets.
        byzantine_gradients: what the Byzantine workers would send if they were honest, (n_byz, d) or
            (rounds, n_byz, d); for attacks that read it with these options.
        rule: the aggregation rule, for attacks that evaluate it.
        rule_args: options of `rule`.
        f: the f that the rule gets; default n_byz.
        seed: seed of the attack's random numbers.
        previous: the last aggregate (d,), default zero, for attacks that read it.
        loss_after: the honest workers' loss as a function of the aggregate, for attacks that maximise it; compiled as
            `server_loss` of `byzsim.aggregate`.
        full_gradient: the gradient (d,) over the whole training set, for attacks that read it.
        params: parameters (d,) at which the gradients were computed, default zero, for attacks that read them.
        attack_args: options of the attack and of its modifiers, or variant=NAME as in `byzsim.aggregate`.

    Returns:
        The rows (n_byz, d), or (rounds, n_byz, d).

    Raises:
        ValueError: a name or an option is unknown; an array has a wrong shape; the attack changes labels; the attack
            needs an argument that is missing.
    """
    spec, target = attack_spec(name), rule_spec(rule)
    not_forked()
    rows = _matrix(honest, rounds=True)
    if "data" in spec.traits:
        raise ValueError(f"{name} changes labels, not gradients: use byzsim.simulate")
    *several, n_honest, d = rows.shape
    n_byz = _count("n_byz", n_byz, None)
    m = n_honest + n_byz
    check_shapes.fits(f"the rows of m={m} workers", 4 * m * d)
    seed = _seed(seed)
    _check_function("loss_after", loss_after)
    args = options(name, spec, attack_args, traced=True)
    is_read = n_byz > 0 and spec.factory(**args).reads_own_gradients
    byzantine_rows = _byzantine_gradients(name, byzantine_gradients, (*several, n_byz, d), is_read, rows.dtype)
    updates = jnp.concatenate([byzantine_rows, rows], axis=-2)
    call, traced = grid.call(spec.factory, args, updates.dtype)
    in_use, rule_traced = grid.call(target.factory, options(rule, target, rule_args or {}, traced=True), updates.dtype)
    declared = _count("f", n_byz if f is None else f, m)
    before = _vectors("previous", 0.0 if previous is None else previous, (d,), updates.dtype)
    full = None if full_gradient is None else _vectors("full_gradient", full_gradient, (d,), updates.dtype)
    at = _vectors("params", 0.0 if params is None else params, (d,), updates.dtype)
    if not n_byz:
        return byzantine_rows
    forged = _with_function(_forging, call, in_use, n_byz, function=loss_after)(
        traced,
        rule_traced,
        updates.reshape(-1, m, d),
        before,
        full,
        at,
        jax.random.key(seed),
        jnp.int32(declared),
    )
    return forged.reshape(*several, n_byz, d)


@functools.lru_cache(maxsize=128)
def _forging(attack: grid.Call, rule: grid.Call, n_byz: int, loss_after: _Known | None) -> Callable[..., Array]:
    """The compiled program of `forge`."""

    def run(
        options: Args, rule_options: Args, rounds: Array, before: Array, full: Any, at: Array, key: Array, f: Array
    ) -> Array:
        known: dict[str, Any] = {"params": at} | ({} if loss_after is None else {"loss_after": loss_after.function})
        if full is not None:
            known["full_gradient"] = lambda: full
        made, in_use = attack(**options), rule(**rule_options)
        return oneshot.forgeries(made, in_use, rounds, n_byz, key, f, previous=before, **known)

    return jax.jit(run)


def _byzantine_gradients(
    name: str, given: Any, shape: tuple[int, ...], is_read: bool, dtype: Any
) -> Float[Array, "*rounds n_byz d"]:
    """The argument of that name of `forge` as an array; zero if it is neither given nor read by the attack."""
    if given is None and is_read:
        raise ValueError(
            f"{name} reads what the attackers would send if they were honest: pass byzantine_gradients=... of shape "
            f"{shape}"
        )
    rows = jnp.zeros(shape, dtype) if given is None else _floats(real_array("byzantine_gradients", given))
    if rows.shape != shape:
        raise ValueError(f"byzantine_gradients has shape {rows.shape}; expected {shape}")
    return rows


def _count(name: str, given: Any, most: int | None) -> int:
    _refuse_traced(name, given)
    count = plain(given)
    if not (_is_whole(count) and count >= 0 and (most is None or count <= most)):
        raise ValueError(f"{name}={given!r} is not a whole number from 0" + ("" if most is None else f" to m={most}"))
    return count


def _seed(given: Any) -> int:
    _refuse_traced("seed", given)
    seed = plain(given)
    if not (_is_whole(seed) and 0 <= seed < 2**32):
        raise ValueError(f"seed={given!r} is not a whole number from 0 to 2**32 - 1")
    return seed


def _refuse_traced(name: str, given: Any) -> None:
    if isinstance(given, Tracer):
        raise ValueError(f"{name} is traced by JAX, but shapes the compiled program: pass a plain number")


def _is_whole(count: Any) -> bool:
    return isinstance(count, int) and not isinstance(count, bool)


def _number(name: str, given: Any) -> Traced:
    """The argument as a number. If JAX traces it, its value is unknown; else it has to be finite."""
    value = plain(given)
    number = isinstance(value, int | float | Tracer) and not isinstance(value, bool) and np.ndim(value) == 0
    if not (number and (isinstance(value, Tracer) or abs(value) <= FLOAT32_MAX)):
        raise ValueError(f"{name}={given!r} is not a finite number")
    return value


def _check_function(name: str, given: Any) -> None:
    if not (given is None or callable(given)):
        raise ValueError(f"{name}={given!r} is not a function")


def _vectors(name: str, values: Any, shape: tuple[int, ...], dtype: Any) -> Float[Array, "*rounds d"]:
    """An argument with one vector for all rounds, or one for each round, as an array of that shape."""
    array = real_array(name, values)
    if array.ndim and array.shape not in (shape[-1:], shape):
        raise ValueError(f"{name} has shape {array.shape}; expected {shape[-1:]}")
    return jnp.broadcast_to(jnp.asarray(array, dtype), shape)


def _matrix(gradients: Any, *, rounds: bool) -> Float[Array, "*rounds m d"]:
    matrix = real_array("gradients", gradients)
    if matrix.ndim not in ((2, 3) if rounds else (2,)) or 0 in matrix.shape:
        raise ValueError(
            f"gradients have shape {matrix.shape}; expected (m, d) with m and d at least 1, one row for each worker"
        )
    return _floats(matrix)


def _floats(array: np.ndarray | jax.Array) -> Array:
    """Floating-point numbers of at most 32 bits as float32; all others in JAX's default dtype."""
    few_bits = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize <= 4
    return jnp.asarray(array, jnp.float32 if few_bits else float)


def simulate(
    train: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    *,
    shards: Any = None,
    trace: bool = False,
    on_epoch: Callable[[int], None] = lambda done: None,
    strict: bool = False,
    **run_config: Any,
) -> History:
    """Train one run and measure it after every epoch.

    >>> images, labels = np.repeat(np.uint8([0, 255] * 20), 16).reshape(40, 4, 4), np.arange(40) % 2  # black and white
    >>> data, setting = (images, labels), {"m": 5, "n_byz": 1, "batch": 4, "model": "softmax", "lr": 0.5}
    >>> simulate(data, data, rule="median", attack="sign_flip", epochs=3, **setting).accuracy.tolist()
    [1.0, 1.0, 1.0]
    >>> simulate(task="least_squares", m=5, n_byz=1, rule="median", attack="sign_flip", epochs=9, lr=0.1).metrics.keys()
    dict_keys(['distance', 'distance_to_truth', 'loss'])

    Args:
        train: (inputs, labels), for a task that trains on a data set. Inputs are an array (n, ...) or a pytree of such:
            images are uint8, (n, h, w) or (n, h, w, c), and everything else is in floating point. Labels are whole
            numbers for classes, (n,): the classes are the sorted distinct labels of `train` and `test`, and numbers
            that do not occur are no classes. For regression they are targets, (n,) or (n, k).
        test: the same for the test set.
        shards: which training examples each worker has, as an array of indices (m, n), -1 where a worker has no more;
            in place of `partition`.
        trace: also measure every worker at every step, as `History.trace`: its weight, distance and norm.
        on_epoch: function that is called after each measurement with the number of measurements done.
        strict: raise an error, instead of a warning, if there are more Byzantine workers than the rule's guarantee
            covers.
        run_config: fields of `byzsim.RunConfig`.

    Returns:
        The measurements.

    Raises:
        ValueError: the configuration or the data cannot be used. Nothing has been compiled then.
        RuntimeError: the process was forked after JAX had started.

    Warns:
        UserWarning: there are more Byzantine workers than the rule's guarantee covers.
    """
    for name in run_config:
        if name not in FIELDS:
            raise ValueError(unknown("field of a run", name, FIELDS))
    run = RunConfig(**run_config)
    not_forked()
    train_data, test_data, n_classes = _data_of(run, train, test)
    source = grid.Source() if train_data is None else grid.source_of(train_data, n_classes)
    resolved = grid.resolve(run, source)
    if shards is not None:
        own = given(shards)
        resolved = resolved._replace(static=dataclasses.replace(resolved.static, partition=lambda: own))
    resolved = resolved._replace(static=dataclasses.replace(resolved.static, trace=trace))
    if run.beyond_bound:
        guarantee = f"{run.rule}'s guarantee covers f <= {run.max_f} for m={run.m}"
        _beyond(f"{guarantee}; got n_byz={run.n_byz}, f={run.f}", strict, frames=3)
    check_shapes.runs([resolved], train_data)
    check_shapes.shards(resolved, train_data)
    (history,) = grid.run(
        resolved.static,
        [resolved.dynamic],
        train_data,
        test_data,
        epochs=resolved.measurements,
        on_epoch=on_epoch,
    )
    return history


def _data_of(run: RunConfig, train: Any, test: Any) -> tuple[Data | None, Data | None, int | None]:
    """(training set, test set, classes) as the engine takes them."""
    task = grid.task_call(run, 2)()
    if task.generate or task.sample:
        if train is not None or test is not None:
            raise ValueError(f"task {run.task} makes its own examples; leave train and test out")
        return None, None, None
    if train is None or test is None:
        raise ValueError(f"task {run.task} trains on a data set: give train=(inputs, labels) and test=(inputs, labels)")
    pairs = data.examples("train", train), data.examples("test", test)
    data.check_alike(*pairs)
    if "n_classes" not in inspect.signature(TASKS[run.task].factory).parameters:
        return *jax.tree.map(jnp.asarray, pairs), None
    for name, each in zip(("train", "test"), pairs, strict=True):
        if not data.are_classes(each.labels):
            found = "missing" if each.labels is None else f"{each.labels.dtype} of shape {each.labels.shape}"
            raise ValueError(f"{name} labels are {found}; expected whole numbers, one for each example")
    *numbered, n_classes = data.numbered(*pairs)
    return *jax.tree.map(jnp.asarray, tuple(numbered)), n_classes
