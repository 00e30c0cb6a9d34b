"""Checks before a run: models, rules and attacks are traced with shapes only; nothing is compiled or allocated."""

import functools
import os
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from byzsim.grid.planning import Run
from byzsim.names import own
from byzsim.oneshot import make_context, summed
from byzsim.types import Aggregator, Attack, Info, begin
from flax.errors import FlaxError, InvalidRngError, ModifyScopeVariableError
from jaxtyping import Array

KEY = jax.eval_shape(jax.random.key, 0)


def runs(wanted: Sequence[Run], image: tuple[int, ...]) -> int:
    """Check that the model fits the images, that rules and attacks work for m workers, and that the memory suffices.

    Args:
        wanted: resolved runs with the same model, batch and m.
        image: shape of one image.

    Returns:
        The number of parameters, d.

    Raises:
        ValueError: one of these does not hold.
    """
    first, static = wanted[0].config, wanted[0].static
    d, dtype = parameters(first.model, static.model, image, static.n_classes)
    grads = dtype.itemsize * first.m * d * (1 if first.momentum == "none" else 2)
    fits(f"the gradients of m={first.m} workers, {d:,} parameters each,", grads)
    rules = {repr((run.config.rule, run.config.rule_args)): run for run in wanted}
    attacks = {repr((run.config.attack, run.config.attack_args)): run for run in wanted}
    for run in rules.values():
        name = run.config.rule
        try:
            state = rule(run.rule.factory(**run.config.rule_args), first.m, d, dtype)
        except Exception as error:
            if not own(name):
                raise
            raise ValueError(f"{name} fails for m={first.m}, d={d:,}: {error}") from error
        fits(f"the state of {name} and the gradients", grads + _bytes(state))
    for run in attacks.values():
        made = run.attack.factory(**run.config.attack_args)
        state = jax.eval_shape(functools.partial(begin, made, first.m, d, dtype))
        fits(f"the state of {run.config.attack} and the gradients", grads + _bytes(state))
    return d


def parameters(name: str, module: nn.Module, image: tuple[int, ...], n_classes: int) -> tuple[int, Any]:
    """(number, dtype) of a model's parameters on images of this shape.

    Raises:
        ValueError: the engine cannot train the model. It needs random numbers or changes a variable in a training pass,
            has no parameters, or does not return logits.
    """
    where = f"{name} on {image} images"
    if len(image) == 3 and image[0] in (1, 3) and min(image[1:]) > 4:
        shown = ", ".join(map(str, image))
        raise ValueError(
            f"{name}: images of shape (n, {shown}); expected (n, h, w) or (n, h, w, c): is the channel first? Then "
            "np.moveaxis(images, 1, -1) moves it to the end"
        )
    images = jax.ShapeDtypeStruct((1, *image), jnp.uint8)
    try:
        variables = dict(jax.eval_shape(module.init, KEY, images))
        logits = jax.eval_shape(module.apply, variables, images)
    except ModifyScopeVariableError as error:
        raise ValueError(
            f"{where} changes a variable that is not trained, such as BatchNorm's running mean; rules aggregate "
            f"parameters only. Use GroupNorm or LayerNorm, or use_running_average=True. {words(error)}"
        ) from None
    except InvalidRngError as error:
        raise ValueError(
            f"{where} needs random numbers, and models get no key in training. Remove dropout, or make it "
            f"deterministic. {words(error)}"
        ) from None
    except Exception as error:
        raise ValueError(f"{where}: {words(error)}") from None
    trained = jax.tree.leaves(variables.get("params", {}))
    if not trained:
        raise ValueError(f"{where} has nothing to train; expected parameters in the collection 'params'")
    if getattr(logits, "shape", None) != (1, n_classes):
        raise ValueError(f"{where} returns {_kind(logits)} for one image; expected logits (1, {n_classes})")
    return sum(leaf.size for leaf in trained), jnp.result_type(*trained)


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
