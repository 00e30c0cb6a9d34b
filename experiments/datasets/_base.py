"""What all data sets share: the types, and the one constructor, which checks and fingerprints the arrays."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from byzsim.experiments.errors import UserError
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (n, h, w) or (n, h, w, c)
Label = NDArray[np.uint8]  # (n,)
Arrays = tuple[Image, Label, Image, Label]  # train images, train labels, test images, test labels
Say = Callable[[str], object]  # takes one short line for the user


class Dataset(NamedTuple):
    """A whole data set in memory. The four arrays are read-only."""

    train_images: Image
    train_labels: Label
    test_images: Image
    test_labels: Label
    n_classes: int
    digest: str  # SHA-256 (hex) over shape, dtype and contents of the four arrays
    source: str  # where these arrays came from, in words; no path, as it is recorded with results


class Spec(NamedTuple):
    """What a data set file ends with."""

    load: Callable[..., Dataset]  # takes cache_dir, data_dir and say
    summary: str  # one line
    source: str  # citation


class Missing(UserError):
    """A source has nothing to offer (no such file, no internet): the next one is tried."""


def digest(arrays: Arrays) -> str:
    """SHA-256 (hex) over shape, dtype and contents of the four arrays, in the order of `Dataset`."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.shape} {array.dtype};".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def dataset(arrays: Arrays, *, n_classes: int, source: str) -> Dataset:
    """The checked, read-only data set over these arrays.

    Raises:
        UserError: a dtype other than uint8, as many labels as images not given, or a label out of range.
    """
    for split, images, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        if images.dtype != np.uint8 or labels.dtype != np.uint8:
            raise UserError(f"{source}: {split} has dtypes {images.dtype} and {labels.dtype}, expected uint8.")
        if images.ndim not in (3, 4) or labels.shape != images.shape[:1] or not labels.size:
            raise UserError(
                f"{source}: {split} has images {images.shape} and labels {labels.shape}, "
                "expected (n, h, w) or (n, h, w, c) and (n,) with n > 0."
            )
        if labels.max() >= n_classes:
            raise UserError(f"{source}: {split} has a label {labels.max()}, expected 0 to {n_classes - 1}.")
    for array in arrays:
        array.flags.writeable = False  # shared by every run in this process, whichever source it came from
    return Dataset(*arrays, n_classes=n_classes, digest=digest(arrays), source=source)
