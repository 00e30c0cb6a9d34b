"""What users hand over as arrays: of NumPy, JAX, torch and pandas, and lists of such."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

RAVEL = "jax.flatten_util.ravel_pytree(tree)[0]"


def real(name: str, values: Any) -> np.ndarray | jax.Array:
    """An array of real numbers; one of JAX stays where it is, and as it is spread there.

    A tensor of torch is detached, and a missing value of a DataFrame is NaN.

    Raises:
        ValueError: for what is no such array, with what was given.
    """
    array = taken(name, values)
    if jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer):
        return array
    if array.dtype != object:
        raise ValueError(f"{name} have dtype {array.dtype}; expected real numbers")
    held = ", ".join(sorted({type(each).__name__ for each in np.asarray(array).flat}))
    raise ValueError(
        f"{name} have dtype object; expected real numbers, not Python objects ({held}). Where all of them are numbers, "
        "np.asarray(rows, float) makes the array"
    )


def taken(name: str, values: Any) -> np.ndarray | jax.Array:
    """An array of whatever dtype.

    Raises:
        ValueError: for what is none: a pytree, rows of different lengths, masked entries.
    """
    if isinstance(values, jax.Array):
        return values
    if isinstance(values, Mapping):
        raise ValueError(
            f"{name} are a {type(values).__name__}; expected an array. Of a pytree {RAVEL} makes one; where all leaves "
            f"have the workers first, jax.vmap(lambda tree: {RAVEL})(tree) makes (m, d), one row a worker"
        )
    if isinstance(values, list | tuple) and any(map(_is_part, values[:1])):
        return _stacked(name, values)
    if np.ma.is_masked(values):
        raise ValueError(
            f"{name} have masked entries, and a rule would see what lies under the mask. Leave these rows out, "
            "rows[~np.ma.getmaskarray(rows).any(axis=1)], or make the entries NaN, rows.filled(np.nan)"
        )
    try:
        return _converted(values)
    except (ValueError, TypeError, RuntimeError, BufferError) as error:
        raise ValueError(f"{name} are not an array: {error}") from None


def _is_part(value: Any) -> bool:
    """An array or a list, so that what it is in has at least two dimensions."""
    return not isinstance(value, complex | float | int | str | np.generic | None)


def _stacked(name: str, values: Any) -> np.ndarray | jax.Array:
    if any(isinstance(each, Mapping) for each in values):
        raise ValueError(f"{name} are a {type(values).__name__} of dicts; {_ROWS}")
    rows = [taken(name, each) if _is_part(each) else each for each in values]
    shapes = sorted({np.shape(row) for row in rows})
    if len(shapes) > 1:
        raise ValueError(f"{name} are not an array: its parts have shapes {', '.join(map(str, shapes))}; {_ROWS}")
    return jnp.stack(rows) if any(isinstance(row, Tracer) for row in rows) else np.asarray(rows)


_ROWS = (
    "expected an array (m, d), one row a worker. Of a pytree for each worker, "
    f"jnp.stack([{RAVEL} for tree in trees]) makes one"
)


def _converted(values: Any) -> np.ndarray | jax.Array:
    """One object's numbers, without a derivative."""
    if hasattr(values, "dtypes") and all(_kind(dtype) in "iuf" for dtype in np.atleast_1d(values.dtypes)):
        return values.to_numpy(dtype=float, na_value=np.nan)
    values = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        return np.asarray(values)
    except TypeError:
        if not hasattr(values, "__dlpack__"):
            raise
        return jnp.from_dlpack(values, copy=True)  # a dtype that NumPy does not have, such as torch's bfloat16


def _kind(dtype: Any) -> str:
    """One letter, as NumPy and pandas have it; of others "O"."""
    return getattr(dtype, "kind", "O")
