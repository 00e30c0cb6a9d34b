"""Data sets as users give them: (inputs, labels) for training and for test, from NumPy, JAX, torch, pandas or lists."""

from typing import Any

import jax
import numpy as np
from byzsim.arrays import as_array
from byzsim.task import Data


def examples(name: str, pair: Any) -> Data:
    """(inputs, labels) as NumPy arrays; numbers of 64 bits become those that JAX computes with.

    Args:
        name: of the set, such as "train", for error messages.
        pair: inputs are an array (n, ...) or a pytree of such; labels an array (n, ...), or None.
    Raises:
        ValueError: it is no pair, an array has no numbers or no examples, or lengths differ.
    """
    if not (isinstance(pair, tuple | list) and len(pair) == 2):
        raise ValueError(f"{name} is {type(pair).__name__}; expected (inputs, labels)")
    inputs = jax.tree.map(lambda leaf: _array(f"{name} inputs", leaf), pair[0], is_leaf=_is_leaf)
    labels = None if pair[1] is None else _array(f"{name} labels", pair[1])
    lengths = {len(leaf) for leaf in jax.tree.leaves((inputs, labels))}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"{name} has {sorted(lengths)} examples in its arrays; expected the same number, at least 1")
    return Data(inputs, labels)


def check_alike(train: Data, test: Data) -> None:
    """Raises ValueError if examples for training and for test have different shapes."""
    shapes = [jax.tree.map(lambda leaf: leaf.shape[1:], data.inputs) for data in (train, test)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"train and test inputs differ: {shapes[0]} and {shapes[1]}; expected examples of one shape")


def are_classes(labels: Any) -> bool:
    """Whether labels are one whole number, or one True or False, for each example."""
    return labels is not None and labels.dtype.kind in "iub" and labels.ndim == 1


def numbered(train: Data, test: Data) -> tuple[Data, Data, int]:
    """Both sets with their classes numbered from 0 without gaps, in the order of the labels; and how many there are."""
    classes = np.union1d(train.labels, test.labels)
    kind = np.uint8 if len(classes) <= 256 else np.int32
    numbers = [np.searchsorted(classes, each.labels).astype(kind) for each in (train, test)]
    return train._replace(labels=numbers[0]), test._replace(labels=numbers[1]), len(classes)


def _is_leaf(value: Any) -> bool:
    return not isinstance(value, dict | tuple)


def _array(name: str, values: Any) -> np.ndarray:
    array = np.asarray(as_array(name, values))
    if array.ndim == 0 or 0 in array.shape or array.dtype.kind not in "biuf":
        raise ValueError(f"{name} are {array.dtype} of shape {array.shape}; expected numbers, one row for each example")
    if array.dtype.kind in "iu" and array.size and max(abs(int(array.min())), abs(int(array.max()))) > 2**31 - 1:
        raise ValueError(f"{name} go from {array.min()} to {array.max()}; expected whole numbers of 32 bits")
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
