"""The IDX files of the MNIST family: reading, serialising, and checking against published SHA-256 sums.

Format: two zero bytes, 0x08 for uint8, the number of axes, each axis as a big-endian uint32, then the data.
"""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from byzsim.experiments.datasets._base import Arrays, Missing
from byzsim.experiments.datasets._sources import Debian, Recipe
from byzsim.experiments.errors import UserError
from numpy.typing import NDArray

MAX_BYTES = 2**27  # of a file; the largest of the family has 47,040,016
UBYTE = 0x08  # the type code of uint8
AXES = {  # the four files, in the order of `Arrays`, and the number of axes in each
    "train-images-idx3-ubyte": 3,
    "train-labels-idx1-ubyte": 1,
    "t10k-images-idx3-ubyte": 3,
    "t10k-labels-idx1-ubyte": 1,
}


def recipe(name: str, *, home: str, sha256: Mapping[str, str], debian: Debian | None = None) -> Recipe:
    """The recipe of a data set of ten classes in four IDX files.

    Args:
        name: as in the registry and in TFDS.
        home: the address of the folder with the .gz files, ending in a slash.
        sha256: of each uncompressed file, by the names in `AXES`.
        debian: the Debian package with the files, if there is one.
    """
    return Recipe(
        name=name,
        n_classes=10,
        urls=tuple(f"{home}{file}.gz" for file in AXES),
        read=partial(read, sha256=sha256),
        judge=partial(judge, sha256=sha256),
        debian=debian,
    )


def parse(data: bytes, *, axes: int, where: str) -> NDArray[np.uint8]:
    """The uint8 array with this many axes in the bytes of an IDX file (a read-only view of them).

    Raises:
        UserError: another magic number, a length that does not match the header, or an impossible shape; the message
            names `where`.
    """
    magic, head = bytes([0, 0, UBYTE, axes]), 4 + 4 * axes
    if data[:4] != magic or len(data) < head:
        raise UserError(
            f"{where} starts with {data[:4].hex() or 'nothing'} and has {len(data):,} bytes: expected an IDX "
            f"file of uint8 with {axes} axes, so {magic.hex()} and at least {head} bytes. Download it again."
        )
    shape = struct.unpack(f">{axes}I", data[4:head])
    if len(data) != head + math.prod(shape):
        raise UserError(
            f"{where} has {len(data):,} bytes, expected {head + math.prod(shape):,} for shape {shape}: "
            "the file is incomplete or damaged. Download it again."
        )
    try:
        return np.frombuffer(data, np.uint8, offset=head).reshape(shape)
    except ValueError as error:  # a size that NumPy cannot represent
        raise UserError(f"{where} is of shape {shape}: {error}. Download it again.") from None


def serialise(array: NDArray[np.uint8]) -> bytes:
    """The bytes of the IDX file that holds this array: the inverse of `parse`."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, UBYTE, array.ndim, *array.shape) + array.tobytes()


def read(folder: Path, *, sha256: Mapping[str, str]) -> Arrays:
    """The four arrays in a folder of IDX files, gzipped or plain.

    Args:
        folder: where the files are.
        sha256: the SHA-256 of each uncompressed file, by the names in `AXES`.

    Raises:
        Missing: one of the files does not exist.
        UserError: one of the files is broken or not the one expected.
    """
    paths = {name: _find(folder, name) for name in AXES}
    a, b, c, d = (_read(paths[name], axes=AXES[name], sha256=sha256[name]) for name in AXES)
    return a, b, c, d


def judge(arrays: Arrays, lossy: bool, where: str, *, sha256: Mapping[str, str]) -> str:
    """Compare arrays from another source with the original files, byte for byte.

    Raises:
        UserError: the IDX file of one of them would have another SHA-256.
    """
    del lossy  # the checksum detects it
    for name, array in zip(AXES, arrays, strict=True):
        _compare(serialise(array), sha256=sha256[name], where=f"{where}, written as {name}")
    return "exactly the original files"


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise Missing(f"{folder} has no {name} and no {name}.gz.")


def _read(path: Path, *, axes: int, sha256: str) -> NDArray[np.uint8]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}. Expected a complete file; download it again.") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} has more than {MAX_BYTES:,} bytes uncompressed: not an IDX file. Download it again.")
    array = parse(data, axes=axes, where=str(path))
    _compare(data, sha256=sha256, where=str(path))
    return array


def _compare(data: bytes, *, sha256: str, where: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise UserError(
            f"{where}: SHA-256 of the uncompressed file is {found}, expected {sha256}: "
            "it is not the original file. Download it again."
        )
