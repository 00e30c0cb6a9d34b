"""Conversion of what users pass as arrays: NumPy, JAX, torch, pandas, and lists of these."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

RAVEL = "jax.flatten_util.ravel_pytree(tree)[0]"


def real_array(name: str, values: Any) -> np.ndarray | jax.Array:
    """`values` as an array of real numbers.

    A JAX array keeps its devices and sharding. A tensor of torch is detached. Missing values of a DataFrame become NaN.

    Args:
        name: name of the argument, for error messages.
        values: what the user passed.

    Raises:
        ValueError: `values` is not such an array.
    """
    array = as_array(name, values)
    if jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer):
        return array
    if array.dtype != object:
        raise ValueError(f"{name} have dtype {array.dtype}; expected real numbers")
    held = ", ".join(sorted({type(each).__name__ for each in np.asarray(array).flat}))
    raise ValueError(
        f"{name} have dtype object; expected real numbers, not Python objects ({held}). If all of them are numbers, "
        "np.asarray(rows, float) makes the array"
    )


def as_array(name: str, values: Any) -> np.ndarray | jax.Array:
    """`values` as an array of any dtype.

    Raises:
        ValueError: `values` is a pytree, has rows of different lengths or masked entries, or cannot be converted.
    """
    if isinstance(values, jax.Array):
        return values
    if isinstance(values, Mapping):
        raise ValueError(
            f"{name} are a {type(values).__name__}; expected an array. {RAVEL} makes a vector from a pytree; "
            f"if all leaves have the workers as first axis, jax.vmap(lambda tree: {RAVEL})(tree) makes (m, d)"
        )
    if isinstance(values, list | tuple) and any(map(_is_part, values[:1])):
        return _stacked(name, values)
    if np.ma.is_masked(values):
        raise ValueError(
            f"{name} have masked entries, and a rule would read the values under the mask. Drop these rows with "
            "rows[~np.ma.getmaskarray(rows).any(axis=1)], or turn the entries into NaN with rows.filled(np.nan)"
        )
    try:
        return _converted(values)
    except (ValueError, TypeError, RuntimeError, BufferError) as error:
        raise ValueError(f"{name} are not an array: {error}") from None


def _is_part(value: Any) -> bool:
    """Whether `value` is an array or a list, not a number: a list of such values has at least two dimensions."""
    return not isinstance(value, complex | float | int | str | np.generic | None)


def _stacked(name: str, values: Any) -> np.ndarray | jax.Array:
    """A list of arrays, one for each worker, as one array."""
    if any(isinstance(each, Mapping) for each in values):
        raise ValueError(f"{name} are a {type(values).__name__} of dicts; {_ROWS}")
    rows = [as_array(name, each) if _is_part(each) else each for each in values]
    shapes = sorted({np.shape(row) for row in rows})
    if len(shapes) > 1:
        raise ValueError(f"{name} are not an array: its parts have shapes {', '.join(map(str, shapes))}; {_ROWS}")
    return jnp.stack(rows) if any(isinstance(row, Tracer) for row in rows) else np.asarray(rows)


_ROWS = (
    f"expected an array (m, d), one row for each worker; jnp.stack([{RAVEL} for tree in trees]) makes it from one "
    "pytree for each worker"
)


def _converted(values: Any) -> np.ndarray | jax.Array:
    """The numbers of one object of NumPy, pandas or torch, or of a list of numbers."""
    is_pandas = hasattr(values, "dtypes")
    if is_pandas and all(getattr(dtype, "kind", "O") in "iuf" for dtype in np.atleast_1d(values.dtypes)):
        return values.to_numpy(dtype=float, na_value=np.nan)
    values = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        return np.asarray(values)
    except TypeError:
        if not hasattr(values, "__dlpack__"):
            raise
        return jnp.from_dlpack(values, copy=True)  # a dtype that NumPy lacks, such as torch's bfloat16
