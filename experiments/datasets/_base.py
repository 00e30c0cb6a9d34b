"""The types that all data sets share, and their constructor, which checks the arrays and computes their digest."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from byzsim import Data
from byzsim.experiments.errors import UserError
from numpy.typing import NDArray

Inputs = Any  # an array (n, ...), or a pytree of such: images are uint8, (n, h, w) or (n, h, w, c)
Labels = Any  # (n,) classes; (n,) or (n, k) targets; None: the task reads none
Arrays = tuple[Inputs, Labels, Inputs, Labels]  # train inputs, train labels, test inputs, test labels
Log = Callable[[str], object]  # receives one short line for the user


class Dataset(NamedTuple):
    """A whole data set in memory. The four arrays are read-only."""

    train_inputs: Inputs
    train_labels: Labels
    test_inputs: Inputs
    test_labels: Labels
    n_classes: int | None  # None: labels are targets of a regression
    digest: str  # SHA-256 (hex) over shape, dtype and contents of the arrays
    source: str  # origin of the arrays in words, without a path

    @property
    def train(self) -> Data | None:
        """The training set as the engine takes it."""
        return None if self.train_inputs is None else Data(self.train_inputs, self.train_labels)

    @property
    def test(self) -> Data | None:
        """The test set as the engine takes it."""
        return None if self.test_inputs is None else Data(self.test_inputs, self.test_labels)


NO_DATA = "none"
"""the name in place of a data set for a task that makes its own examples"""
ABSENT: Any = None
NOTHING = Dataset(
    ABSENT, ABSENT, ABSENT, ABSENT, n_classes=None, digest="none", source="the task makes its own examples"
)


class Spec(NamedTuple):
    """A data set as its file registers it."""

    load: Callable[..., Dataset]  # takes cache_dir, data_dir and log
    summary: str  # one line
    source: str  # citation


class Missing(UserError):
    """A source does not have the data set (no such file, no internet); the next source is tried."""


def digest(arrays: Arrays) -> str:
    """SHA-256 (hex) over shape, dtype and contents of the arrays, in the order of `Dataset`."""
    total = hashlib.sha256()
    for array in jax.tree.leaves(arrays):
        total.update(f"{array.shape} {array.dtype};".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def dataset(arrays: Arrays, *, n_classes: int | None, source: str) -> Dataset:
    """Make a data set of these arrays, which become read-only.

    Args:
        arrays: train inputs, train labels, test inputs, test labels.
        n_classes: labels are whole numbers from 0 below this; None: they are targets, or there are none.
        source: origin of the arrays in words.
    Raises:
        UserError: arrays that are no numbers, different numbers of inputs and labels, or a label out of range.
    """
    for split, inputs, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        _check_lengths(f"{source}: {split}", jax.tree.leaves(inputs), labels)
        if n_classes is not None:
            _check_classes(f"{source}: {split}", labels, n_classes)
        elif labels is not None and labels.dtype.kind != "f":
            raise UserError(f"{source}: {split} labels are {labels.dtype}, expected floating-point targets.")
    train, test = (jax.tree.map(lambda array: f"{array.dtype} {array.shape[1:]}", arrays[i]) for i in (0, 2))
    if train != test:
        raise UserError(f"{source}: examples of train are {train}, and of test {test}; expected the same.")
    for array in jax.tree.leaves(arrays):
        array.flags.writeable = False  # all runs in this process share the arrays
    return Dataset(*arrays, n_classes=n_classes, digest=digest(arrays), source=source)


def _check_lengths(where: str, inputs: list[NDArray[Any]], labels: Labels) -> None:
    for array in inputs:
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 4:
            raise UserError(
                f"{where} inputs are {array.dtype}, expected numbers of at most 32 bits, such as uint8 or float32."
            )
    arrays = [*inputs, *([] if labels is None else [labels])]
    if not inputs or {array.shape[:1] for array in arrays} != {inputs[0].shape[:1]} or not all(a.size for a in arrays):
        shown = ", ".join(str(array.shape) for array in inputs)
        found = "no labels" if labels is None else f"labels {labels.shape}"
        raise UserError(f"{where} has inputs {shown} and {found}, expected (n, ...) and (n,) with n > 0.")


def _check_classes(where: str, labels: Labels, n_classes: int) -> None:
    if labels is None or labels.dtype.kind not in "iu":
        found = "missing" if labels is None else labels.dtype
        raise UserError(f"{where} labels are {found}, expected whole numbers below {n_classes}.")
    if labels.ndim != 1:
        raise UserError(f"{where} has labels {labels.shape}, expected (n,).")
    if not 0 <= labels.min() <= labels.max() < n_classes:
        shown = labels.max() if labels.max() >= n_classes else labels.min()
        raise UserError(f"{where} has a label {shown}, expected 0 to {n_classes - 1}.")


def split(data: Dataset, share: float) -> Dataset:
    """Training examples and those that are held out of them, drawn once and for all; the test set is left out.

    Raises:
        UserError: fewer than one example would be left on either side.
    """
    both = data.train_inputs, data.train_labels
    n = len(jax.tree.leaves(both)[0])
    order, size = np.random.default_rng(0).permutation(n), round(share * n)
    if not 0 < size < n:
        raise UserError(f"held_out={share:g} of {n} training examples leaves none on one side")
    kept, held = (jax.tree.map(lambda array, part=part: array[part], both) for part in (order[size:], order[:size]))
    return dataset(
        (*kept, *held), n_classes=data.n_classes, source=f"{data.source}, {share:g} of the training examples held out"
    )
