"""The types that all data sets share, and their constructor, which checks the arrays and computes their digest."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from byzsim import Data
from byzsim.experiments.errors import UserError
from numpy.typing import NDArray

Inputs = NDArray[Any]  # (n, ...): uint8 for images, (n, h, w) or (n, h, w, c); floating-point numbers otherwise
Labels = NDArray[Any]  # (n,) classes; (n,) or (n, k) targets
Arrays = tuple[Inputs, Any, Inputs, Any]  # train inputs, train labels, test inputs, test labels
Log = Callable[[str], object]  # receives one short line for the user


class Dataset(NamedTuple):
    """A whole data set in memory. The four arrays are read-only."""

    train_inputs: Inputs
    train_labels: Labels
    test_inputs: Inputs
    test_labels: Labels
    n_classes: int | None  # None: labels are targets of a regression
    digest: str  # SHA-256 (hex) over shape, dtype and contents of the four arrays
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
    """SHA-256 (hex) over shape, dtype and contents of the four arrays, in the order of `Dataset`."""
    total = hashlib.sha256()
    for array in arrays:
        if array is None:
            continue
        total.update(f"{array.shape} {array.dtype};".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def dataset(arrays: Arrays, *, n_classes: int | None, source: str) -> Dataset:
    """Make a data set of these arrays, which become read-only.

    Args:
        arrays: train inputs, train labels, test inputs, test labels.
        n_classes: labels are whole numbers from 0 below this; None: they are targets of a regression, or None.
        source: origin of the arrays in words.
    Raises:
        UserError: arrays that are no numbers, different numbers of inputs and labels, or a label out of range.
    """
    for split, inputs, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        if inputs.dtype != np.uint8 and inputs.dtype != np.float32:
            raise UserError(f"{source}: {split} inputs are {inputs.dtype}, expected uint8 (images) or float32.")
        if inputs.ndim < 2 or not inputs.size:
            raise UserError(f"{source}: {split} has inputs {inputs.shape}, expected (n, ...) with n > 0.")
        _check_labels(f"{source}: {split}", labels, len(inputs), n_classes)
    for array in (each for each in arrays if each is not None):
        array.flags.writeable = False  # all runs in this process share the arrays
    return Dataset(*arrays, n_classes=n_classes, digest=digest(arrays), source=source)


def _check_labels(where: str, labels: Labels | None, n: int, n_classes: int | None) -> None:
    if labels is None and n_classes is None:
        return
    if labels is None or labels.dtype.kind not in ("f" if n_classes is None else "iu"):
        kind = "floating-point targets, or None" if n_classes is None else f"whole numbers below {n_classes}"
        raise UserError(f"{where} labels are {labels if labels is None else labels.dtype}, expected {kind}.")
    if labels.shape[:1] != (n,):
        raise UserError(f"{where} has {n} inputs and labels {labels.shape}, expected ({n},).")
    if n_classes is not None and not (labels.ndim == 1 and 0 <= labels.min() <= labels.max() < n_classes):
        raise UserError(f"{where} has labels from {labels.min()} to {labels.max()}, expected 0 to {n_classes - 1}.")


def split(data: Dataset, share: float) -> Dataset:
    """Training examples and those that are held out of them, drawn once and for all; the test set is left out.

    Raises:
        UserError: fewer than one example would be left on either side.
    """
    inputs, labels = np.asarray(data.train_inputs), np.asarray(data.train_labels)
    order = np.random.default_rng(0).permutation(len(inputs))
    size = round(share * len(inputs))
    if not 0 < size < len(inputs):
        raise UserError(f"held_out={share:g} of {len(inputs)} training examples leaves none on one side")
    kept, held = order[size:], order[:size]
    arrays = (inputs[kept], labels[kept], inputs[held], labels[held])
    return dataset(
        arrays, n_classes=data.n_classes, source=f"{data.source}, {share:g} of the training examples held out"
    )
