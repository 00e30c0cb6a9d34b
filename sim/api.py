"""One-liners on top: one vector from a matrix, what an attack sends, one curve from a run."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import check_shapes, grid, oneshot
from byzsim.arrays import real, taken
from byzsim.engine import Data
from byzsim.grid import History
from byzsim.names import attack_spec, max_f, rule_spec
from byzsim.nearest import unknown
from byzsim.options import FLOAT32_MAX, options, plain
from byzsim.process import non_finite, not_forked
from byzsim.run_config import RunConfig
from byzsim.types import Traced
from jax.core import Tracer
from jaxtyping import Array, Float

KINDS = ("images", "labels")
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
    """What `rule` makes of one round of gradients, or of several in order if it remembers.

    >>> gradients = [[0.0, 1.0], [0.5, 1.0], [0.0, 1.5], [0.5, 1.5], [9.0, -9.0]]
    >>> print(aggregate("krum", gradients, f=1))
    [0. 1.]
    >>> print(aggregate("nnm+krum", gradients, f=1, variant="byzfl"))
    [0.25 1.25]

    Args:
        rule: a name in `byzsim.AGGREGATORS`, behind those of preaggregators if wanted, joined by "+".
        gradients: any array-like of shape (m, d), one row a worker, or (rounds, m, d); computed in float32, and what
            is no float32 in float64 where JAX has it (`jax_enable_x64`). NaN and infinities are legal. Tensors of torch
            are detached, missing values of a DataFrame are NaN.
        f: Byzantine workers that the defender declares, 0 to m; may be left out for rules that do not read it.
        seed: for rules that draw.
        lr, params: the server's learning rate, and the parameters (d,) at which the gradients were taken (default
            zero), or (rounds, d); for rules that read them.
        strict: refuse an f beyond the rule's bound.
        server_loss: the server's own loss as a function of parameters, for rules that ask for it.
        server_gradient: its gradient (d,) instead, where that is all the rule needs.
        rule_args: the rule's own options, and those of its preaggregators; variant=NAME for those that one of the
            rule's variants stands for (`byzsim show RULE` has them), beside which others go first.
    Under `jax.jit`, `jax.grad` and the like, gradients, lr, params, server_gradient and options that are called
    "traced" may be traced.
    Returns:
        The aggregate (d,), or one for each round.
    Raises:
        ValueError: unknown rule, option or variant; arrays of wrong shape, empty, masked or not numeric; f out of
            range, beyond the bound if `strict`, or left out for a rule that reads it; a rule that asks for the server's
            own data and gets none.
        RuntimeError: in a process that was forked after JAX had started.
    Warns:
        UserWarning: if f is beyond the rule's bound.
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
        _beyond(f"{rule} withstands at most f={bound} of m={m} workers, not f={declared}", strict, frames=4)
    if "server" in spec.traits and server_loss is None and server_gradient is None:
        raise ValueError(f"{rule} asks for the server's own data: give server_loss=... or server_gradient=...")
    dtype = matrix.dtype
    at = _vectors("params", 0.0 if params is None else params, (matrix.size // (m * d), d), dtype)
    slope = None if server_gradient is None else _vectors("server_gradient", server_gradient, (d,), dtype)
    call, traced = grid.call(spec.factory, args, dtype)
    program = _aggregating(call) if server_loss is None else _aggregating.__wrapped__(call, server_loss)
    told = None if declared is None else jnp.int32(declared)
    rounds, rate = matrix.reshape(-1, m, d), jnp.asarray(lr, dtype)
    try:
        out = program(traced, rounds, at, slope, jax.random.key(seed), told, rate)
    except oneshot.Undeclared:
        raise ValueError(
            f"{rule} reads f, how many workers you declare Byzantine: give f=..., 0 for none of them; its bound for "
            f"m={m} is f={bound}"
        ) from None
    return out.reshape(*matrix.shape[:-2], d)


def _beyond(message: str, strict: bool, *, frames: int) -> None:
    """What is said about a bound that is passed to the caller, so many frames up."""
    if strict:
        raise ValueError(f"{message} (strict=True)")
    warnings.warn(message, stacklevel=frames)


@functools.lru_cache(maxsize=128)
def _aggregating(rule: grid.Call, server_loss: Callable[[Array], Array] | None = None):
    """The rounds of `aggregate`, compiled once. Not cached with a function of the user's: what it reads may change."""

    def run(options, rounds, params, slope, key, f, lr):
        loss = server_loss if slope is None else lambda params: jnp.vdot(slope, params)
        known = {} if loss is None else {"server_loss": lambda n: loss}
        return oneshot.aggregates(rule(**options), rounds, key, f, params=params, lr=lr, **known)

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
    **attack_args: Any,
) -> Float[Array, "n_byz d"] | Float[Array, "rounds n_byz d"]:
    """What `n_byz` Byzantine workers send under an attack when the others send `honest`.

    >>> honest = [[1.0, 0.0], [3.0, 0.0], [1.0, 4.0], [3.0, 4.0]]
    >>> print(forge("alie", honest, n_byz=2, z=1.5))  # the mean [2, 2] less 1.5 standard deviations [1, 2]
    [[ 0.5 -1. ]
     [ 0.5 -1. ]]
    >>> forge("optimal_inner_product", honest, n_byz=1, rule="median").shape
    (1, 2)

    Args:
        name: in `byzsim.ATTACKS`, behind those of modifiers if wanted, joined by "+".
        honest: any array-like of shape (m - n_byz, d), one row an honest worker, or (rounds, m - n_byz, d).
        n_byz: how many workers attack. They come first in the matrix that a rule sees, as in a training run.
        byzantine_gradients: what the Byzantine workers would send if they were honest, (n_byz, d) or
            (rounds, n_byz, d); for attacks that read it with these options.
        rule, rule_args, f: the rule in use and the f that it is told (default n_byz), for attacks that try it.
        seed: for attacks that draw.
        previous: the last aggregate (d,), default zero, for attacks that read it.
        loss_after: honest loss as a function of the aggregate, for attacks that climb it.
        full_gradient: the gradient (d,) over all data, for attacks that read it.
        attack_args: the attack's own options, and those of its modifiers, or variant=NAME as in `aggregate`.
    Returns:
        (n_byz, d), or (rounds, n_byz, d).
    Raises:
        ValueError: unknown names or options; arrays of wrong shape; an attack on labels; own work that is missing.
    """
    spec, target = attack_spec(name), rule_spec(rule)
    not_forked()
    rows = _matrix(honest, rounds=True)
    if "data" in spec.traits:
        raise ValueError(f"{name} changes labels, not gradients; see byzsim.simulate")
    *several, n_honest, d = rows.shape
    n_byz = _count("n_byz", n_byz, None)
    m = n_honest + n_byz
    check_shapes.fits(f"the rows of m={m} workers", 4 * m * d)
    seed = _seed(seed)
    _check_function("loss_after", loss_after)
    args = options(name, spec, attack_args, traced=True)
    mine = _byzantine_gradients(
        name,
        byzantine_gradients,
        (*several, n_byz, d),
        n_byz > 0 and spec.factory(**args).reads_own_gradients,
        rows.dtype,
    )
    sent = jnp.concatenate([mine, rows], axis=-2)
    call, traced = grid.call(spec.factory, args, sent.dtype)
    in_use, rule_traced = grid.call(target.factory, options(rule, target, rule_args or {}, traced=True), sent.dtype)
    declared = _count("f", n_byz if f is None else f, m)
    before = _vectors("previous", 0.0 if previous is None else previous, (d,), sent.dtype)
    full = None if full_gradient is None else _vectors("full_gradient", full_gradient, (d,), sent.dtype)
    if not n_byz:
        return mine
    program = _forging if loss_after is None else _forging.__wrapped__
    forged = program(call, in_use, n_byz, loss_after)(
        traced,
        rule_traced,
        sent.reshape(-1, m, d),
        before,
        full,
        jax.random.key(seed),
        jnp.int32(declared),
    )
    return forged.reshape(*several, n_byz, d)


@functools.lru_cache(maxsize=128)
def _forging(attack: grid.Call, rule: grid.Call, n_byz: int, loss_after: Callable[[Array], Array] | None):
    """The rounds of `attack`, compiled once, unless with a function of the user's."""

    def run(options, rule_options, rounds, before, full, key, f):
        known: dict[str, Any] = {} if loss_after is None else {"loss_after": loss_after}
        if full is not None:
            known["full_gradient"] = lambda: full
        made, in_use = attack(**options), rule(**rule_options)
        return oneshot.forgeries(made, in_use, rounds, n_byz, key, f, previous=before, **known)

    return jax.jit(run)


def _byzantine_gradients(
    name: str, byzantine_gradients: Any, shape: tuple[int, ...], is_read: bool, dtype: Any
) -> Float[Array, "*rounds n_byz d"]:
    """The work of the Byzantine workers; zero where nobody gives it and nobody reads it."""
    if byzantine_gradients is None and is_read:
        raise ValueError(f"{name} starts from the attackers' own work: give byzantine_gradients=..., of shape {shape}")
    mine = jnp.zeros(shape, dtype) if byzantine_gradients is None else _floats(real("own", byzantine_gradients))
    if mine.shape != shape:
        raise ValueError(f"byzantine_gradients has shape {mine.shape}; expected {shape}")
    return mine


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
        raise ValueError(f"{name} is traced by JAX here, but has to be known before the program is made: give a number")


def _is_whole(count: Any) -> bool:
    return isinstance(count, int) and not isinstance(count, bool)


def _number(name: str, given: Any) -> Traced:
    """Finite, if its value is known yet."""
    value = plain(given)
    number = isinstance(value, int | float | Tracer) and not isinstance(value, bool) and np.ndim(value) == 0
    if not (number and (isinstance(value, Tracer) or abs(value) <= FLOAT32_MAX)):
        raise ValueError(f"{name}={given!r} is not a finite number")
    return value


def _check_function(name: str, given: Any) -> None:
    if not (given is None or callable(given)):
        raise ValueError(f"{name}={given!r} is not a function")


def _vectors(name: str, values: Any, shape: tuple[int, ...], dtype: Any) -> Float[Array, "*rounds d"]:
    """One vector for all rounds, or one for each."""
    array = real(name, values)
    if array.ndim and array.shape not in (shape[-1:], shape):
        raise ValueError(f"{name} has shape {array.shape}; expected {shape[-1:]}")
    return jnp.broadcast_to(jnp.asarray(array, dtype), shape)


def _matrix(gradients: Any, *, rounds: bool) -> Float[Array, "*rounds m d"]:
    matrix = real("gradients", gradients)
    if matrix.ndim not in ((2, 3) if rounds else (2,)) or 0 in matrix.shape:
        raise ValueError(f"gradients have shape {matrix.shape}; expected (m, d), one row a worker, none of them 0")
    return _floats(matrix)


def _floats(array: np.ndarray | jax.Array) -> Array:
    """float32 of what has at most 32 bits and a point; JAX's default of all else."""
    few_bits = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize <= 4
    return jnp.asarray(array, jnp.float32 if few_bits else float)


def simulate(
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    *,
    on_epoch: Callable[[int], None] = lambda done: None,
    strict: bool = False,
    **run_config: Any,
) -> History:
    """Train one run and measure it after every epoch.

    >>> images, labels = np.repeat(np.uint8([0, 255] * 20), 16).reshape(40, 4, 4), np.arange(40) % 2  # black and white
    >>> data, run = (images, labels), {"m": 5, "n_byz": 1, "batch": 4, "model": "softmax", "lr": 0.5}
    >>> simulate(data, data, rule="median", attack="sign_flip", epochs=3, **run).accuracy.tolist()
    [1.0, 1.0, 1.0]

    Args:
        train, test: (images, labels): uint8 (n, h, w) or (n, h, w, c), and whole numbers from 0, (n,). Classes are the
            labels that are there, in train or test, by their order: gaps do not count.
        on_epoch: called with the number of epochs done.
        strict: refuse more Byzantine workers than the rule's guarantee covers.
        run: fields of `byzsim.RunConfig`.
    Raises:
        ValueError: for a run or data that cannot be run, before anything is compiled.
        RuntimeError: in a process that was forked after JAX had started.
    Warns:
        UserWarning: if there are more Byzantine workers than the rule's guarantee covers.
    """
    for name in run_config:
        if name not in FIELDS:
            raise ValueError(unknown("field of a run", name, FIELDS))
    run = RunConfig(**run_config)
    not_forked()
    train_data, test_data = _data("train", train), _data("test", test)
    run.steps_per_epoch(len(train_data.labels))
    if train_data.images.shape[1:] != test_data.images.shape[1:]:
        raise ValueError(f"images differ: train {train_data.images.shape}, test {test_data.images.shape}")
    if run.beyond_bound:
        counts = f"here n_byz={run.n_byz}, f={run.f}"
        _beyond(f"{run.rule} withstands at most {run.max_f} of m={run.m} workers; {counts}", strict, frames=3)
    classes = np.union1d(train_data.labels, test_data.labels)
    train_data, test_data = (_numbered(data, classes) for data in (train_data, test_data))
    check_shapes.runs([run], train_data.images.shape[1:], len(classes))
    (group,) = grid.plan([run], len(classes))
    (history,) = grid.run(group.static, group.dynamic, train_data, test_data, epochs=run.epochs, on_epoch=on_epoch)
    return history


def _numbered(data: Data, classes: np.ndarray) -> Data:
    """Labels as places among the classes that are there."""
    return data._replace(labels=jnp.asarray(np.searchsorted(classes, data.labels), jnp.uint8))


def _data(name: str, pair: tuple[Any, Any]) -> Data:
    if not (isinstance(pair, tuple | list) and len(pair) == 2):
        raise ValueError(f"{name} is {type(pair).__name__}; expected (images, labels)")
    images, labels = (np.asarray(taken(f"{name} {each}", values)) for each, values in zip(KINDS, pair, strict=True))
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise ValueError(
            f"{name} images are {images.dtype} of shape {images.shape}; expected uint8 (n, h, w) or (n, h, w, c)"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{name} labels are {labels.dtype} of shape {labels.shape}; expected whole numbers, ({len(images)},)"
        )
    if labels.min() < 0 or labels.max() > 255:
        raise ValueError(f"{name} labels go from {labels.min()} to {labels.max()}; expected 0 to 255")
    return Data(jnp.asarray(images), jnp.asarray(labels, jnp.uint8))
