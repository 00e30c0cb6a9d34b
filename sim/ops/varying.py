"""Constants in a user's `jax.shard_map`, which by default knows over which axes of the mesh a value varies."""

from typing import TypeVar

import jax
from jaxtyping import Array

Start = TypeVar("Start")


def varying_as(start: Start, *arrays: Array) -> Start:
    """`start`, varying over each axis of the mesh over which one of the arrays varies. It costs nothing.

    A loop or a condition asks for one type of what goes in and what comes out: so a carry that starts from constants,
    such as zeros, needs this if a step mixes it with the arrays. Outside of `jax.shard_map` it is `start`.

    >>> import jax.numpy as jnp
    >>> print(varying_as(jnp.zeros(2), jnp.ones(3)))
    [0. 0.]
    """
    axes = frozenset().union(*map(_axes, arrays))

    def varied(leaf: Array) -> Array:
        missing = tuple(sorted(axes - _axes(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(varied, start) if axes else start


def _axes(array: Array) -> frozenset[str]:
    """The axes of the mesh over which the array varies."""
    known = jax.typeof(array)
    return known.vma if hasattr(known, "vma") else known.manual_axis_type.varying  # of jax before 0.10.2, and since
