"""Gradients as users hold them, as the matrix (m, d) that rules see, and results of the kind that came in.

A user has an array with a row for each worker, a pytree whose arrays have the workers as first axis, or a list with one
pytree for each worker; the arrays are of JAX, NumPy, pandas or torch.
"""

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from byzsim.arrays import real_array
from jax.core import Tracer
from jax.tree_util import PyTreeDef, keystr, tree_flatten_with_path
from jaxtyping import Array, Float

Parts = tuple[Any, ...] | list[tuple[Any, ...]]
"""arrays with the workers as first axis; or a list with the arrays of one worker after another"""


class Layout(NamedTuple):
    """Where the arrays of one gradient lie in its vector (d,); equal by value."""

    tree: PyTreeDef
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]
    """of the arrays of a result"""
    dtype: Any
    """in which rules compute: float32, or float64 if an array has it"""

    @property
    def d(self) -> int:
        """Number of coordinates."""
        return sum(map(math.prod, self.shapes))

    @property
    def is_array(self) -> bool:
        """Whether a gradient is one vector, and no pytree of arrays."""
        return jax.tree_util.treedef_is_leaf(self.tree)

    def matrix(self, parts: Parts) -> Float[Array, "*rounds m d"]:
        """The rows that rules see."""
        arrays = [jnp.stack(each) for each in zip(*parts, strict=True)] if isinstance(parts, list) else parts
        return self._joined([jnp.asarray(array) for array in arrays])

    def vector(self, tree: Any) -> Float[Array, "*rounds d"]:
        """The vector of a tree of such arrays, without the workers' axis."""
        return self._joined([jnp.asarray(array) for array in jax.tree.leaves(tree)])

    def _joined(self, arrays: Sequence[Array]) -> Float[Array, "*n d"]:
        lead = [array.shape[: array.ndim - len(shape)] for array, shape in zip(arrays, self.shapes, strict=True)]
        flat = [
            array.reshape(*before, math.prod(shape)).astype(self.dtype)
            for array, before, shape in zip(arrays, lead, self.shapes, strict=True)
        ]
        return flat[0] if len(flat) == 1 else jnp.concatenate(flat, axis=-1)

    def arrays(self, vectors: Float[Array, "*n d"], *, cast: bool = True) -> tuple[Array, ...]:
        """The arrays of vectors, in the dtypes of a result or (not `cast`) in that of the computation."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])[:-1].tolist()
        pieces = jnp.split(vectors, ends, axis=-1)
        return tuple(
            piece.reshape(*vectors.shape[:-1], *shape).astype(dtype if cast else self.dtype)
            for piece, shape, dtype in zip(pieces, self.shapes, self.dtypes, strict=True)
        )

    def tree_of(self, vector: Float[Array, " d"]) -> Any:
        """The tree of one vector, in the dtype of the computation."""
        return jax.tree.unflatten(self.tree, self.arrays(vector, cast=False))


class Gradients(NamedTuple):
    """The gradients of all workers."""

    parts: Parts
    layout: Layout
    m: int
    rounds: int | None
    """how many matrices there are, in order; None: one, without that axis"""
    given: tuple[Any, ...]
    """an object of the kind of each array"""

    def of_that_kind(self, arrays: Sequence[Array]) -> Any:
        """The result as the user holds gradients: of the same structure, and each array of the kind that came in."""
        return jax.tree.unflatten(
            self.layout.tree, [_of_kind(kind, array) for kind, array in zip(self.given, arrays, strict=True)]
        )


def gradients_of(name: str, values: Any) -> Gradients:
    """The gradients of all workers.

    Args:
        name: name of the argument, for error messages.
        values: what the user passed.

    Raises:
        ValueError: `values` is no such thing, or its parts do not match.
    """
    if isinstance(values, list | tuple) and any(map(is_tree, values)):
        return _one_for_each(name, values)
    return first_axis(name, values) if is_tree(values) else _array(name, values)


def first_axis(name: str, values: Any) -> Gradients:
    """The gradients of all workers, as any pytree whose arrays have the workers as first axis.

    Args:
        name: name of the argument, for error messages.
        values: what the user passed.

    Raises:
        ValueError: `values` is no such tree.
    """
    paths, leaves, tree = _leaves(name, values)
    arrays = [_leaf(f"{name}{path}", leaf) for path, leaf in zip(paths, leaves, strict=True)]
    m = {array.shape[0] if array.ndim else 0 for array in arrays}
    if len(m) > 1 or 0 in m:
        shapes = ", ".join(f"{path} {array.shape}" for path, array in zip(paths, arrays, strict=True))
        raise ValueError(
            f"{name} are a tree of arrays of shapes {shapes:.200}; expected the same number of workers, at least 1, as "
            "first axis of each"
        )
    layout = _layout(tree, [array.shape[1:] for array in arrays], [array.dtype for array in arrays])
    return Gradients(tuple(arrays), layout, m.pop(), None, tuple(leaves))


def is_tree(value: Any) -> bool:
    """Whether the value is a pytree with a name for each part: a dict, a NamedTuple, or what a library registered."""
    plain = isinstance(value, list | tuple) and not hasattr(value, "_fields")
    return not (value is None or plain or jax.tree_util.all_leaves([value]))


def vectors_of(name: str, values: Any, layout: Layout, lead: tuple[int, ...] = (), *, both: bool = False) -> Any:
    """An argument that has the form of one worker's gradient, such as the parameters, as its arrays.

    Args:
        name: name of the argument, for error messages.
        values: an array (*lead, d), or a tree as the gradients are one; a single number stands for all entries.
        layout: of the gradients.
        lead: axes that it has before those of a gradient.
        both: whether these axes may be left out.

    Raises:
        ValueError: it has another form.
    """
    if layout.is_array:
        array = floats(real_array(name, values))
        expected = (*lead, layout.d)
        if array.ndim and array.shape != expected and not (both and array.shape == expected[-1:]):
            raise ValueError(f"{name} has shape {array.shape}; expected {expected[-1:] if both else expected}")
        return (array,)
    found, tree = jax.tree.flatten(values)
    if tree != layout.tree:
        raise ValueError(f"{name} are {_brief(tree)}, and the gradients {_brief(layout.tree)}; expected the same")
    arrays = tuple(floats(real_array(name, leaf)) for leaf in found)
    for array, shape in zip(arrays, layout.shapes, strict=True):
        if array.shape != (*lead, *shape):
            raise ValueError(f"{name} has an array of shape {array.shape}; expected {(*lead, *shape)}")
    return arrays


def floats(array: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    """Whole numbers, and floating-point numbers that JAX does not have, in JAX's default dtype; others as they are."""
    known = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize <= 8 and array.dtype.isnative
    return array if known else array.astype(jax.dtypes.canonicalize_dtype(float))


def _array(name: str, values: Any) -> Gradients:
    array = floats(real_array(name, values))
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(
            f"{name} have shape {array.shape}; expected (m, d) with m and d at least 1, one row for each worker"
        )
    layout = _layout(jax.tree.structure(0), [array.shape[-1:]], [array.dtype])
    rounds = array.shape[0] if array.ndim == 3 else None
    return Gradients((array,), layout, array.shape[-2], rounds, (_first(values),))


def _one_for_each(name: str, values: Sequence[Any]) -> Gradients:
    """A list with a pytree for each worker."""
    paths, first, tree = _leaves(f"{name}[0]", values[0])
    parts, known = [], None
    for i, value in enumerate(values):
        leaves, own = jax.tree.flatten(value)
        if own != tree:
            raise ValueError(f"{name}[{i}] is {_brief(own)}, and {name}[0] {_brief(tree)}; expected the same for all")
        arrays = tuple(_leaf(f"{name}[{i}]{path}", leaf) for path, leaf in zip(paths, leaves, strict=True))
        known = known or arrays
        for path, array, before in zip(paths, arrays, known, strict=True):
            if (array.shape, array.dtype) != (before.shape, before.dtype):
                raise ValueError(
                    f"{name}[{i}]{path} is {array.dtype} of shape {array.shape}, and {name}[0]{path} {before.dtype} of "
                    f"shape {before.shape}; expected the same for all"
                )
        parts.append(arrays)
    layout = _layout(tree, [array.shape for array in parts[0]], [array.dtype for array in parts[0]])
    return Gradients(parts, layout, len(parts), None, tuple(first))


def _leaves(name: str, tree: Any) -> tuple[list[str], list[Any], PyTreeDef]:
    """(path, array and structure) of a tree."""
    found, structure = tree_flatten_with_path(tree)
    if not found:
        raise ValueError(f"{name} are a tree without arrays; expected one array at least")
    return [keystr(path) for path, _ in found], [leaf for _, leaf in found], structure


def _leaf(name: str, value: Any) -> np.ndarray | jax.Array:
    array = real_array(name, value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name} is {array.dtype}; expected floating-point numbers: leave out what is no gradient")
    return array


def tree_layout(name: str, tree: Any) -> Layout:
    """The layout of one gradient.

    Raises:
        ValueError: it has no arrays, or arrays of other than floating-point numbers.
    """
    paths, leaves, structure = _leaves(name, tree)
    arrays = [_leaf(f"{name}{path}", leaf) for path, leaf in zip(paths, leaves, strict=True)]
    return _layout(structure, [array.shape for array in arrays], [array.dtype for array in arrays])


def _layout(tree: PyTreeDef, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> Layout:
    """The layout, with the dtypes that JAX has for these."""
    dtypes = [jax.dtypes.canonicalize_dtype(dtype) for dtype in dtypes]
    computed = jnp.float64 if jnp.dtype(jnp.float64) in dtypes else jnp.float32
    return Layout(tree, tuple(map(tuple, shapes)), tuple(dtypes), jnp.dtype(computed))


def _brief(tree: PyTreeDef) -> str:
    return f"{str(tree).removeprefix('PyTreeDef'):.100}"


def _first(values: Any) -> Any:
    """What stands for the kind of an array: of a list the first part."""
    while isinstance(values, list | tuple) and len(values):
        values = values[0]
    return values


def _of_kind(given: Any, array: Array) -> Any:
    """The array as an object of the kind of `given`: of NumPy, pandas, or a library with DLPack, such as torch."""
    if isinstance(array, Tracer) or isinstance(given, jax.Array):
        return array
    if isinstance(given, np.ndarray | np.generic):
        return np.array(array)
    if hasattr(given, "columns") and array.ndim <= 2:
        pandas = sys.modules["pandas"]
        if array.ndim == 1:
            return pandas.Series(np.array(array), index=given.columns)
        return pandas.DataFrame(np.array(array), columns=given.columns)
    if (from_dlpack := _from_dlpack(given)) is None:
        return array
    back = from_dlpack(array)
    return back.to(given.device) if hasattr(back, "to") else back


def _from_dlpack(given: Any) -> Callable[[Array], Any] | None:
    """The `from_dlpack` of the library that the object is from."""
    library = type(given).__module__.partition(".")[0]
    return getattr(sys.modules[library], "from_dlpack", None) if hasattr(given, "__dlpack__") else None
