"""Data sets by name. To add one, write a file that ends with SPEC and add its name to the import below."""

import os
from pathlib import Path
from typing import NamedTuple

from byzsim.experiments.datasets import cifar10, digits, fashion_mnist, mnist, python_docs
from byzsim.experiments.datasets._base import NO_DATA, NOTHING, Dataset, Log, Spec, split
from byzsim.experiments.datasets._cache import cache_file, cache_folder, stored_digest
from byzsim.experiments.errors import UserError, unknown

__all__ = [
    "DATASETS",
    "NO_DATA",
    "Dataset",
    "Fingerprint",
    "Spec",
    "cache_folder",
    "describe",
    "fingerprint",
    "held_out",
    "load",
]
HELD_OUT = "+held_out="
"""behind a data set's name, before the share of its training examples that take the place of the test set"""

DATASETS: dict[str, Spec] = {name: m.SPEC for name, m in list(vars().items()) if hasattr(m, "SPEC")}


def load(
    name: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    log: Log = print,
) -> Dataset:
    """Load a data set from the first source that has it: cache, TFDS folder, files, internet, Debian package.

    Args:
        name: a key of `DATASETS`, or "none" for a task that makes its own examples.
        cache_dir: folder for decoded arrays; default $BYZSIM_CACHE, else the user's cache folder.
        data_dir: a folder with the original files, read if neither cache nor TFDS folder has the data set.
        log: receives one short line for each source that is tried.

    Raises:
        UserError: the name is unknown, a file in `data_dir` is broken, or no source has the data set.
    """
    if name == NO_DATA:
        return NOTHING
    whole, _, share = name.partition(HELD_OUT)
    data = _checked(whole, data_dir).load(cache_dir=cache_dir, data_dir=data_dir, log=log)
    return split(data, float(share)) if share else data


def held_out(name: str, share: float) -> str:
    """The name of a data set of which a share of the training examples is held out, in place of the test set.

    Raises:
        ValueError: for what is no share.
    """
    if not 0 < share < 1:
        raise ValueError(f"held_out={share} is not a share above 0 and below 1")
    return f"{name}{HELD_OUT}{share:g}"


def _checked(name: str, data_dir: str | os.PathLike[str] | None) -> Spec:
    """Raises UserError for an unknown name or a folder that does not exist."""
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    if data_dir is not None and not Path(data_dir).expanduser().is_dir():
        raise UserError(f"--data-dir {data_dir} is not a folder")
    return DATASETS[name]


class Fingerprint(NamedTuple):
    """What of a data set decides results: the digest of its arrays."""

    digest: str


def fingerprint(name: str, *, data_dir: str | os.PathLike[str] | None = None, log: Log = print) -> Fingerprint:
    """The digest stored in the cache, which is read in milliseconds and not verified; without a cache, as `load`."""
    if name == NO_DATA:
        return Fingerprint(NOTHING.digest)
    _checked(name.partition(HELD_OUT)[0], data_dir)
    stored = stored_digest(cache_file(name, cache_dir=None))  # of one that is held out there is none
    return Fingerprint(stored or load(name, data_dir=data_dir, log=log).digest)


def describe(
    name: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    log: Log = print,
) -> str:
    """Load a data set as `load` does, which fills the cache, and describe it in a few lines."""
    data = load(name, cache_dir=cache_dir, data_dir=data_dir, log=log)
    cache = cache_file(name, cache_dir=cache_dir)
    kept = f"{cache} ({cache.stat().st_size / 1e6:.1f} MB)" if cache and cache.is_file() else "none"
    lines = {
        "what": DATASETS[name].summary,
        "by": DATASETS[name].source,
        "from": data.source,
        "train": f"{data.train_inputs.shape} {data.train_inputs.dtype}, {data.n_classes} classes",
        "test": f"{data.test_inputs.shape} {data.test_inputs.dtype}",
        "digest": f"sha256 {data.digest}",
        "cache": kept,
    }
    return "\n".join([name, *(f"  {key:<7}{value}" for key, value in lines.items())])
