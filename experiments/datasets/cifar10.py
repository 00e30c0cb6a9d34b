"""CIFAR-10: 50,000 + 10,000 colour images, 32x32x3, ten classes of 6,000.

The original is one archive with its SHA-256 pinned here. A TFDS folder has no such sum: only its shapes and
class counts are checked, and its source records whether the pixels went through JPEG.
"""

import hashlib
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
from byzsim.experiments.datasets import _sources
from byzsim.experiments.datasets._base import Arrays, Inputs, Labels, Missing, Spec
from byzsim.experiments.errors import UserError

FILE = "cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
TRAIN = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
SHAPE = (32, 32, 3)
PER_CLASS = {"train": 5_000, "test": 1_000}


def read(folder: Path) -> Arrays:
    """The four arrays in the original archive.

    Raises:
        Missing: the archive is not in `folder`.
        UserError: it differs from the original archive.
    """
    path = folder / FILE
    if not path.is_file():
        raise Missing(f"{folder} has no {FILE}.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise UserError(f"{path} has SHA-256 {found}, expected {SHA256}: not the original. Download it again.")
    with tarfile.open(path) as archive:  # nothing is unpacked on disk; the checksum has been verified
        return *_records(archive, TRAIN), *_records(archive, ("test_batch.bin",))


def judge(arrays: Arrays, lossy: bool, where: str) -> str:
    """Check shapes and class counts of arrays without a checksum, and describe their fidelity.

    Raises:
        UserError: shapes or numbers of images per class that CIFAR-10 does not have.
    """
    for (split, each), images, labels in zip(PER_CLASS.items(), arrays[::2], arrays[1::2], strict=True):
        counts = np.bincount(labels, minlength=10).tolist()
        if images.shape[1:] != SHAPE or counts != [each] * 10:
            raise UserError(
                f"{where}: {split} has images {images.shape} and {counts} of each class, "
                f"expected {SHAPE} and {each} of each. Prepare it again."
            )
    if lossy:
        return "a JPEG copy, so not the exact pixels (shapes and class counts are right)"
    return "stored without loss (shapes and class counts are right, no checksum of the pixels is known)"


def _records(archive: tarfile.TarFile, names: tuple[str, ...]) -> tuple[Inputs, Labels]:
    """Records of one label byte, then the 32x32 red, green and blue values."""
    files = [archive.extractfile(f"cifar-10-batches-bin/{name}") for name in names]
    data = b"".join(file.read() for file in files if file)
    rows = np.frombuffer(data, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), rows[:, 0].copy()


RECIPE = _sources.Recipe(
    name="cifar10",
    n_classes=10,
    urls=(f"https://www.cs.toronto.edu/~kriz/{FILE}",),
    read=read,
    judge=judge,
)
SPEC = Spec(
    load=partial(_sources.load, RECIPE),
    summary="50,000 + 10,000 colour images of animals and vehicles, 32x32x3, 10 classes",
    source="Krizhevsky: Learning multiple layers of features from tiny images, technical report (2009)",
)
