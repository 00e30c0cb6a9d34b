"""Optimizers of optax by name."""

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from byzsim.nearest import unknown
from byzsim.options import JSON_TYPES, Args, options, signature
from byzsim.types import Spec


def optimizer_args(name: str, given: Args) -> Args:
    """The options of an optimizer, defaults filled in but for those that no record could hold: functions and types.

    Args:
        name: of a function in `optax` whose first argument is the learning rate.
    Raises:
        ValueError: for an unknown name or option, or options that optax refuses.
    """
    if not isinstance(name, str):
        raise ValueError(f"optimizer={name!r} is not a name; expected a string such as 'sgd'")
    factory = getattr(optax, name, None)
    if not (callable(factory) and "learning_rate" in signature(factory).parameters):
        raise ValueError(unknown("optimizer", name, _optimizers()))
    filled = options(name, Spec(factory, source="optax"), given)
    plain_defaults = {key for key, value in filled.items() if key != "learning_rate" and isinstance(value, JSON_TYPES)}
    filled = {key: value for key, value in filled.items() if key in given or key in plain_defaults}
    try:
        _one_update(factory, tuple(sorted(filled.items())))
    except Exception as error:  # optax does not say which exceptions it raises
        raise ValueError(f"optimizer {name} cannot be used with options {dict(given)}: {error}") from error
    return filled


@functools.lru_cache
def _one_update(factory: Callable[..., Any], args: tuple[tuple[str, Any], ...]) -> None:
    """Trace one update with shapes only. Raises what the optimizer raises for unsuitable options."""

    def update(params: Any) -> Any:
        transformation = factory(0.1, **dict(args))
        return transformation.update(params, transformation.init(params), params)

    jax.eval_shape(update, jax.ShapeDtypeStruct((1,), np.float32))


def _optimizers() -> list[str]:
    """The names in optax that work with their defaults."""

    def usable(factory: Any) -> bool:
        if not (inspect.isfunction(factory) and "learning_rate" in signature(factory).parameters):
            return False
        with contextlib.suppress(Exception), warnings.catch_warnings(action="error"):
            _one_update(factory, ())
            return True
        return False

    return [name for name in dir(optax) if not name.startswith(("_", "scale_by_")) and usable(getattr(optax, name))]
