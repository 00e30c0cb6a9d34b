"""Rules on blocks of coordinates, each on a device of its own.

Within `over(axes)` a rule is traced with all m rows of the coordinates of one device: operations along a column are
local, and sums over coordinates (`added_up`, in the functions of `byzsim.ops`) are added up over the devices along
these axes of a `jax.shard_map`. So no device holds the whole matrix. Outside of it the functions here return what they
are given.
"""

import contextlib
import contextvars
import math
from collections.abc import Generator

import jax
from byzsim.ops.varying import varying_as
from jaxtyping import Array, Key

_axes: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("axes", default=())


@contextlib.contextmanager
def over(axes: tuple[str, ...]) -> Generator[None]:
    """What is traced within has blocks of coordinates, along these axes of the mesh."""
    token = _axes.set(axes)
    try:
        yield
    finally:
        _axes.reset(token)


def added_up(partial: Array) -> Array:
    """A sum over all coordinates, from the sum over those of this device."""
    axes = _axes.get()
    return _varying(jax.lax.psum(partial, axes), partial) if axes else partial


def largest(partial: Array) -> Array:
    """The largest entry of all coordinates, from the largest of this device's."""
    axes = _axes.get()
    return _varying(jax.lax.pmax(partial, axes), partial) if axes else partial


def width(d: int) -> int:
    """The number of all coordinates, from the number of this device's."""
    return d * math.prod(jax.lax.axis_size(axis) for axis in _axes.get())


def own_key(key: Key[Array, ""]) -> Key[Array, ""]:
    """The key of random numbers for coordinates: each device draws others."""
    for axis in _axes.get():
        key = jax.random.fold_in(key, jax.lax.axis_index(axis))
    return key


def _varying(total: Array, partial: Array) -> Array:
    """The same on all devices, but of the type of what differs: so that a loop may start from either."""
    return varying_as(total, partial)
