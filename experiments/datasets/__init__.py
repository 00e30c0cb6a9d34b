"""Data sets by name. To add one, write a file that ends with SPEC and add its name to the import below."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
from byzsim.experiments.datasets import cifar10, digits, fashion_mnist, mnist, python_docs
from byzsim.experiments.datasets._base import NO_DATA, NOTHING, Dataset, Log, Spec, dataset, split
from byzsim.experiments.datasets._cache import cache_file, cache_folder, stored_digest
from byzsim.experiments.datasets._own import is_data, spec_of
from byzsim.experiments.errors import UserError, unknown

__all__ = [
    "BUILT_IN",
    "DATASETS",
    "NO_DATA",
    "Dataset",
    "Fingerprint",
    "Spec",
    "cache_folder",
    "dataset",
    "describe",
    "fingerprint",
    "held_out",
    "is_data",
    "load",
    "register",
]
HELD_OUT = "+held_out="
"""behind a data set's name, before the share of its training examples that take the place of the test set"""

DATASETS: dict[str, Spec] = {name: m.SPEC for name, m in list(vars().items()) if hasattr(m, "SPEC")}
BUILT_IN = frozenset({NO_DATA, *DATASETS})


def register(name: str, made: Any, *, summary: str, source: str) -> None:
    """Add a user's own data set under a name.

    Args:
        made: ((train inputs, train labels), (test inputs, test labels)), as `byzsim.simulate` takes them, or a
            `Dataset`.
    Raises:
        ValueError: the arrays cannot be used.
    """
    DATASETS[name] = spec_of(name, made, summary, source)


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
    stored = stored_digest(cache_file(name, cache_dir=None)) if name in BUILT_IN else None
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
        "train": f"{_shapes(data.train_inputs)}, {_kind(data)}",
        "test": _shapes(data.test_inputs),
        "digest": f"sha256 {data.digest}",
        "cache": kept,
    }
    return "\n".join([name, *(f"  {key:<7}{value}" for key, value in lines.items())])


def _shapes(inputs: Any) -> str:
    return ", ".join(f"{leaf.shape} {leaf.dtype}" for leaf in jax.tree.leaves(inputs))


def _kind(data: Dataset) -> str:
    return "no labels" if data.train_labels is None else f"{data.n_classes} classes" if data.n_classes else "targets"
