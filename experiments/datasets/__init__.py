"""Data sets by name. To add one, write a file that ends with SPEC and add its name to the import below."""

import os
from pathlib import Path
from typing import NamedTuple

from byzsim.experiments.datasets import cifar10, digits, fashion_mnist, mnist
from byzsim.experiments.datasets._base import Dataset, Say, Spec
from byzsim.experiments.datasets._cache import cache_file, cache_folder, stored_digest
from byzsim.experiments.errors import UserError, unknown

__all__ = ["DATASETS", "Dataset", "Fingerprint", "Spec", "cache_folder", "describe", "fingerprint", "load"]

DATASETS: dict[str, Spec] = {name: m.SPEC for name, m in list(vars().items()) if hasattr(m, "SPEC")}


def load(
    name: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    say: Say = print,
) -> Dataset:
    """A data set from the first that has it: cache, TFDS folder, files, internet, Debian package.

    Args:
        name: a key of `DATASETS`.
        cache_dir: where decoded arrays are kept; default $BYZSIM_CACHE, else the user's cache folder.
        data_dir: a folder with the original files, read if neither cache nor TFDS folder has the data set.
        say: takes one short line for each place that is tried.

    Raises:
        UserError: the name is unknown, a file in `data_dir` is broken, or no place has the data set.
    """
    return _checked(name, data_dir).load(cache_dir=cache_dir, data_dir=data_dir, say=say)


def _checked(name: str, data_dir: str | os.PathLike[str] | None) -> Spec:
    """Raises UserError for names and folders that are not there."""
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    if data_dir is not None and not Path(data_dir).expanduser().is_dir():
        raise UserError(f"--data-dir {data_dir} is not a folder")
    return DATASETS[name]


class Fingerprint(NamedTuple):
    """What of a data set decides results, without its arrays."""

    digest: str


def fingerprint(name: str, *, data_dir: str | os.PathLike[str] | None = None, say: Say = print) -> Fingerprint:
    """The digest that the cache was stored with, in milliseconds and not checked; without a cache, as `load`."""
    _checked(name, data_dir)
    stored = stored_digest(cache_file(name, cache_dir=None))
    return Fingerprint(stored or load(name, data_dir=data_dir, say=say).digest)


def describe(
    name: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    say: Say = print,
) -> str:
    """Load a data set as `load` does, which fills the cache, and say in a few lines what it is."""
    data = load(name, cache_dir=cache_dir, data_dir=data_dir, say=say)
    cache = cache_file(name, cache_dir=cache_dir)
    kept = f"{cache} ({cache.stat().st_size / 1e6:.1f} MB)" if cache and cache.is_file() else "none"
    lines = {
        "what": DATASETS[name].summary,
        "by": DATASETS[name].source,
        "from": data.source,
        "train": f"{data.train_images.shape} {data.train_images.dtype}, {data.n_classes} classes",
        "test": f"{data.test_images.shape} {data.test_images.dtype}",
        "digest": f"sha256 {data.digest}",
        "cache": kept,
    }
    return "\n".join([name, *(f"  {key:<7}{value}" for key, value in lines.items())])
