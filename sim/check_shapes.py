"""Whether something can be run, found out from shapes alone: nothing is compiled, and no array is made."""

import os
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from byzsim.models import MODELS
from byzsim.names import attack_spec, own, rule_spec
from byzsim.oneshot import make_context, summed
from byzsim.run_config import RunConfig
from byzsim.types import Aggregator, Attack, Info, begin
from flax.errors import FlaxError, InvalidRngError, ModifyScopeVariableError

KEY = jax.eval_shape(jax.random.key, 0)


def runs(wanted: Sequence[RunConfig], image: tuple[int, ...], n_classes: int) -> int:
    """Model and images go together, every rule takes m workers, and one run's gradients and memories can be held.

    Args:
        wanted: runs of one model, batch and m.
        image: shape of one.
    Returns:
        The number of parameters, d.
    Raises:
        ValueError: if not.
    """
    first = wanted[0]
    module = MODELS[first.model].factory(n_classes=n_classes, **first.model_args)
    d, dtype = parameters(first.model, module, image, n_classes)
    grads = dtype.itemsize * first.m * d * (1 if first.momentum == "none" else 2)
    fits(f"the gradients of m={first.m} workers of {d:,} parameters", grads)
    rules = {repr((run_config.rule, run_config.rule_args)): run_config for run_config in wanted}
    attacks = {repr((run_config.attack, run_config.attack_args)): run_config for run_config in wanted}
    for run_config in rules.values():
        try:
            state = rule(rule_spec(run_config.rule).factory(**run_config.rule_args), first.m, d, dtype)
        except Exception as error:
            if not own(run_config.rule):
                raise
            raise ValueError(f"{run_config.rule} fails for m={first.m}, d={d:,}: {error}") from error
        fits(f"what {run_config.rule} remembers, and gradients", grads + _bytes(state))
    for run_config in attacks.values():
        made = attack_spec(run_config.attack).factory(**run_config.attack_args)
        fits(f"what {run_config.attack} remembers, and gradients", grads + _bytes(_start(made, first.m, d, dtype)))
    return d


def parameters(name: str, module: nn.Module, image: tuple[int, ...], n_classes: int) -> tuple[int, Any]:
    """(number, dtype) of a model's parameters on images of this shape.

    Raises:
        ValueError: if the engine cannot train it: it needs a key or keeps a state in a training pass, has nothing to
            train, or does not make logits of the images.
    """
    where = f"{name} on {image} images"
    if len(image) == 3 and image[0] in (1, 3) and min(image[1:]) > 4:
        shown = ", ".join(map(str, image))
        raise ValueError(
            f"{name}: images of shape (n, {shown}); expected (n, h, w) or (n, h, w, c): is the channel first?"
        )
    images = jax.ShapeDtypeStruct((1, *image), jnp.uint8)
    try:
        variables = dict(jax.eval_shape(module.init, KEY, images))
        logits = jax.eval_shape(module.apply, variables, images)
    except ModifyScopeVariableError as error:
        raise ValueError(
            f"{where} changes a variable that is not trained, such as BatchNorm's running mean: a state of each worker "
            f"that no rule would see. Take GroupNorm or LayerNorm, or use_running_average=True. {words(error)}"
        ) from None
    except InvalidRngError as error:
        raise ValueError(
            f"{where} asks for random numbers, and a model gets no key in training: leave dropout out, or make it "
            f"deterministic. {words(error)}"
        ) from None
    except Exception as error:
        raise ValueError(f"{where}: {words(error)}") from None
    trained = jax.tree.leaves(variables.get("params", {}))
    if not trained:
        raise ValueError(f"{where} has no parameters (a collection called params): there is nothing to train")
    if getattr(logits, "shape", None) != (1, n_classes):
        raise ValueError(f"{where} gives {_kind(logits)} for one image; expected logits (1, {n_classes})")
    return sum(leaf.size for leaf in trained), jnp.result_type(*trained)


def rule(made: Aggregator, m: int, d: int, dtype: Any = jnp.float32) -> Any:
    """Shapes of the state of a rule for m workers and d coordinates.

    Raises:
        ValueError: if one step does not give an aggregate (d,), a state as it was before, and an `Info`.
    """

    def once(grads, key):
        state = begin(made, m, d, dtype)
        return state, made.apply(grads, state, make_context(key, 1, d, dtype, server_loss=summed))

    before, after = jax.eval_shape(once, jax.ShapeDtypeStruct((m, d), dtype), KEY)
    if not (isinstance(after, tuple) and len(after) == 3 and isinstance(after[2], Info)):
        raise ValueError(f"apply gives {_kind(after)}; expected (aggregate, state, Info)")
    aggregate, state, info = after
    _same("an aggregate", aggregate, jax.ShapeDtypeStruct((d,), dtype))
    _same("weights", info.weight, jax.ShapeDtypeStruct((m,), jnp.float32))
    _same("a state", state, before)
    return before


def attack(made: Attack, m: int, d: int) -> None:
    """One step of an attack, for m workers and d coordinates.

    Raises:
        ValueError: if it does not give rows (m, d) and a state as it was before, and labels as they were.
    """

    def once(updates, byz, labels, key):
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
    before, after, poisoned = jax.eval_shape(once, rows, jax.ShapeDtypeStruct((m,), bool), labels, KEY)
    if not (isinstance(after, tuple) and len(after) == 2):
        raise ValueError(f"grads gives {_kind(after)}; expected (rows, state)")
    _same("rows", after[0], rows)
    _same("a state", after[1], before)
    _same("labels", poisoned, labels)


def fits(what: str, needed: int) -> None:
    """Compare what is needed at least with the memory of the device, or of the machine.

    Raises:
        ValueError: if it is more, with both numbers.
    """
    there = _memory()
    if there is not None and needed > there:
        raise ValueError(f"{what} take {needed / 1e9:,.1f} GB at least, and {there / 1e9:,.1f} GB are there")


def _memory() -> int | None:
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit is None and hasattr(os, "sysconf"):
        limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return limit


def words(error: Exception) -> str:
    """An error's first line, and of what kind it is if that is not plain."""
    text = str(error).strip().partition("\n")[0]
    return text if isinstance(error, ValueError | FlaxError) else f"{type(error).__name__}: {text}"


def _start(made: Attack, m: int, d: int, dtype: Any) -> Any:
    return jax.eval_shape(lambda: begin(made, m, d, dtype))


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _same(what: str, found: Any, expected: Any) -> None:
    if _kind(found) != _kind(expected):
        raise ValueError(f"it gives {what} of {_kind(found)}; expected {_kind(expected)}")


def _kind(tree: Any) -> str:
    """A pytree of arrays in words, such as float32 (3,)."""
    return str(jax.tree.map(lambda leaf: _Shown(f"{leaf.dtype} {leaf.shape}"), tree))


class _Shown(str):
    __repr__ = str.__str__
