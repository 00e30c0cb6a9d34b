"""What a function reads: a key that changes whenever a compiled program of the function would be out of date."""

import dataclasses
import enum
import functools
import types
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

CONSTANT = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype, type, types.ModuleType, enum.Enum)
LIBRARIES = ("jax", "numpy", "flax", "optax", "byzsim", "builtins", "math")


class MayChange(Exception):
    """The function reads something that may change in place, such as an attribute of an object."""


class _Same:
    """Equal only to a wrapper of the same object, which it keeps alive so that its id is not used again."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def captured(function: Any) -> Hashable:
    """The function's code and all that it reads: defaults, closures, globals, and those of functions that it calls.

    Arrays of NumPy count by their content, arrays of JAX, which never change, by identity, functions of libraries too.

    Raises:
        MayChange: the function reads an object of another kind.
    """
    return _key(function, ())


def _key(value: Any, above: tuple[int, ...]) -> Hashable:
    if id(value) in above:  # a function that calls itself
        return "above", above.index(id(value))
    if isinstance(value, CONSTANT):
        return type(value), value
    if isinstance(value, jax.Array) and not isinstance(value, Tracer):
        return _Same(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.shape, value.dtype, value.tobytes()
    if callable(value) and _of_library(value):
        return _Same(value)
    inside = _inside(value)
    if inside is None:
        raise MayChange("a traced value" if isinstance(value, Tracer) else f"an object of type {type(value).__name__}")
    kind, values = inside
    return kind, tuple(_key(each, (*above, id(value))) for each in values)


def _of_library(function: Any) -> bool:
    """Whether it is a function of a library that never changes; what a factory of byzsim makes is another each time."""
    library = (getattr(function, "__module__", None) or "").split(".")[0]
    made = library == "byzsim" and "<locals>" in getattr(function, "__qualname__", "")
    return library in LIBRARIES and not made


def _inside(value: Any) -> tuple[Hashable, Iterable[Any]] | None:
    """(what is fixed, the values inside) of a container or a function; None for an object of another kind."""
    match value:
        case list() | tuple():
            return type(value), value
        case dict():
            return (dict, *value), value.values()
        case functools.partial():
            return functools.partial, (value.func, value.args, value.keywords)
        case types.MethodType():
            return types.MethodType, (value.__func__, value.__self__)
        case types.FunctionType():
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            known = [value.__globals__[name] for name in _names(value.__code__) if name in value.__globals__]
            return value.__code__, (value.__defaults__, value.__kwdefaults__, *cells, *known)
    if hasattr(value, "__wrapped__"):  # jax.jit and the like
        return type(value), (value.__wrapped__,)
    if dataclasses.is_dataclass(value) and value.__dataclass_params__.frozen:
        return type(value), [getattr(value, field.name) for field in dataclasses.fields(value)]
    return None


def _names(code: types.CodeType) -> Iterator[str]:
    """The names that the code may look up globally, functions inside included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
