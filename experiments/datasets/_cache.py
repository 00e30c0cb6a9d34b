"""The cache of decoded data sets: an uncompressed .npz file for each, written atomically."""

import math
import os
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from byzsim.experiments.datasets._base import Dataset, Missing, dataset
from byzsim.experiments.errors import UserError
from numpy.lib import format
from numpy.typing import NDArray


def cache_folder() -> Path | None:
    """$BYZSIM_CACHE, else the user's cache folder; None for a user without a home folder, as in some containers."""
    try:
        return expanded(os.environ.get("BYZSIM_CACHE") or platformdirs.user_cache_dir("byzsim"))
    except RuntimeError:  # raised by newer versions of platformdirs
        return None


STORED = ("train_images", "train_labels", "test_images", "test_labels", "n_classes", "digest", "source")
"""names of the arrays in a cache file, for the fields of `Dataset`"""


def expanded(path: str | os.PathLike[str]) -> Path | None:
    """Expand ~ to the home folder; None if the path has a ~ and there is no home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return None


def cache_file(name: str, *, cache_dir: str | os.PathLike[str] | None) -> Path | None:
    """The cache file of a data set, in `cache_dir` or else in `cache_folder`; None without a cache folder."""
    folder = expanded(cache_dir) if cache_dir else cache_folder()
    return folder and folder / f"{name}.npz"


def read(path: Path | None) -> Dataset:
    """The data set in a cache file.

    Raises:
        Missing: there is no such file.
        UserError: the file is damaged, or its contents do not match the stored digest.
    """
    if path is None:
        raise Missing("there is no home folder; set BYZSIM_CACHE=FOLDER.")
    if not path.is_file():
        raise Missing(f"{path} does not exist.")
    try:
        with zipfile.ZipFile(path) as stored:
            a, b, c, d, n_classes, digest, source = (_array(stored, f"{name}.npy") for name in STORED)
        data = dataset((a, b, c, d), n_classes=int(n_classes), source=str(source))
    except Exception as error:  # a damaged zip file raises nearly anything
        raise UserError(f"{path} is damaged ({error}); expected a complete .npz file. Delete it.") from error
    if data.digest != str(digest):
        raise UserError(f"{path} has digest {data.digest}, expected {digest}. Delete it.")
    return data


def stored_digest(path: Path | None) -> str | None:
    """Read only the digest of a cache file; None if there is no complete file."""
    if path is None:
        return None
    try:
        with zipfile.ZipFile(path) as stored:
            digest = str(_array(stored, "digest.npy"))
    except Exception:  # as in `read`
        return None
    return digest if re.fullmatch("[0-9a-f]{64}", digest) else None


def _array(stored: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Read an array of numbers or text. Nothing is unpickled, and no memory beyond the size of the file is allocated.

    Raises:
        ValueError: for another kind of array; zipfile and NumPy raise other errors.
    """
    member = stored.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > os.path.getsize(str(stored.filename)):
        raise ValueError(f"{name} is compressed or larger than the file")
    with stored.open(member) as file:
        format.read_magic(file)
        shape, fortran, dtype = format.read_array_header_1_0(file)
        content = file.read()
    if dtype.hasobject or fortran or len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has a header for {shape} of {dtype}, but {len(content):,} bytes")
    return np.frombuffer(content, dtype).reshape(shape)


def write(path: Path, data: Dataset) -> None:
    """Store a data set atomically.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        part = Path(folder) / path.name
        arrays: dict[str, Any] = dict(zip(STORED, data, strict=True))
        np.savez(part, **arrays)
        os.replace(part, path)
