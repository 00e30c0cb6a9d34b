"""The prepared cache: an uncompressed .npz file for each data set, written whole or not at all."""

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
    """$BYZSIM_CACHE, else the user's cache folder; None for a user without a home, as a container's may be."""
    try:
        return expanded(os.environ.get("BYZSIM_CACHE") or platformdirs.user_cache_dir("byzsim"))
    except RuntimeError:  # as newer platformdirs have it
        return None


def expanded(path: str | os.PathLike[str]) -> Path | None:
    """The path with the home folder for ~; None if it has a ~ and there is no home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return None


def cache_file(name: str, *, cache_dir: str | os.PathLike[str] | None) -> Path | None:
    """The cache file of a data set, in `cache_dir` or else in `cache_folder`; None if there is none."""
    folder = expanded(cache_dir) if cache_dir else cache_folder()
    return folder and folder / f"{name}.npz"


def read(path: Path | None) -> Dataset:
    """The data set in a cache file.

    Raises:
        Missing: there is no such file.
        UserError: the file is torn, or its contents do not have the digest they were stored with.
    """
    if path is None:
        raise Missing("there is no home folder; BYZSIM_CACHE=FOLDER gives another place.")
    if not path.is_file():
        raise Missing(f"{path} not there.")
    try:
        with zipfile.ZipFile(path) as stored:
            a, b, c, d, n_classes, digest, source = (_array(stored, f"{name}.npy") for name in Dataset._fields)
        data = dataset((a, b, c, d), n_classes=int(n_classes), source=str(source))
    except Exception as error:  # a torn zip raises nearly anything, from KeyError to NotImplementedError
        raise UserError(f"{path} is torn ({error}), expected a whole .npz file. Delete it.") from error
    if data.digest != str(digest):
        raise UserError(f"{path} has digest {data.digest}, expected {digest}. Delete it.")
    return data


def stored_digest(path: Path | None) -> str | None:
    """The digest in a cache file, of which nothing else is read; None if there is no whole file."""
    if path is None:
        return None
    try:
        with zipfile.ZipFile(path) as stored:
            digest = str(_array(stored, "digest.npy"))
    except Exception:  # as above
        return None
    return digest if re.fullmatch("[0-9a-f]{64}", digest) else None


def _array(stored: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """An array of plain numbers or text: nothing is unpickled, and nothing larger than the file is made room for.

    Raises:
        ValueError: if it is another; zipfile and NumPy raise more.
    """
    member = stored.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > os.path.getsize(str(stored.filename)):
        raise ValueError(f"{name} is packed or larger than the file")
    with stored.open(member) as file:
        format.read_magic(file)
        shape, fortran, dtype = format.read_array_header_1_0(file)
        content = file.read()
    if dtype.hasobject or fortran or len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} says {shape} of {dtype}, and has {len(content):,} bytes")
    return np.frombuffer(content, dtype).reshape(shape)


def write(path: Path, data: Dataset) -> None:
    """Store a data set: a reader sees the old file or the whole new one, never a part.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        part = Path(folder) / path.name
        np.savez(part, **data._asdict())
        os.replace(part, path)
