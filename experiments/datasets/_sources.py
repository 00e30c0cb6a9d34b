"""The sources of the data sets that no Python package contains, in the order in which they are tried."""

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from byzsim.experiments.datasets import _cache, _debian, _tfds
from byzsim.experiments.datasets._base import Arrays, Dataset, Log, Missing, dataset
from byzsim.experiments.errors import UserError


class Debian(NamedTuple):
    """A Debian package with a data set."""

    package: str
    folder: str  # of the original files in the package, without the first slash


class Recipe(NamedTuple):
    """What the sources need to know about one data set."""

    name: str  # as in the registry and in TFDS
    n_classes: int
    urls: tuple[str, ...]  # of the original files; TFDS knows their checksums
    read: Callable[[Path], Arrays]  # folder with the original files -> verified arrays; Missing, UserError
    judge: Callable[[Arrays, bool, str], str]  # arrays, lossy, where -> how true they are, in words; UserError
    debian: Debian | None = None


class Source(NamedTuple):
    """One source of a data set."""

    title: str
    fetch: Callable[[], Dataset]  # raises Missing or UserError
    given: bool = False  # whether the user named it: then a broken file is an error


def load(
    recipe: Recipe,
    *,
    cache_dir: str | os.PathLike[str] | None,
    data_dir: str | os.PathLike[str] | None,
    log: Log,
) -> Dataset:
    """Load the data set from the first source that has it, and store it in the cache.

    Raises:
        UserError: a file in `data_dir` is broken, or no source has the data set (with the reason of each source).
    """
    cache, failed = _cache.cache_file(recipe.name, cache_dir=cache_dir), []
    kept = Source("cache", partial(_cache.read, cache))
    for source in (kept, *sources(recipe, data_dir=data_dir, log=log)):
        try:
            data = source.fetch()
        except UserError as why:
            if source.given and not isinstance(why, Missing):
                raise
            failed.append(f"  {source.title}: {why}")
            log(f"{recipe.name}:{failed[-1][1:]}")
        else:
            log(f"{recipe.name}: {source.title}: {data.source}")
            if source is not kept:
                _keep(cache, data, name=recipe.name, log=log)
            return data
    raise UserError("\n".join([f"no source has the data set {recipe.name!r}. Tried:", *failed, *_remedies(recipe)]))


def sources(recipe: Recipe, *, data_dir: str | os.PathLike[str] | None, log: Log) -> list[Source]:
    """All sources of a data set except its cache, in the order in which they are tried."""
    found = [Source("prepared TFDS folder", partial(_from_tfds, recipe, log=log))]
    if data_dir is not None:
        folder = Path(data_dir).expanduser()
        read = partial(_from_folder, recipe, folder, source="the original files in a folder of the user")
        found.append(Source("--data-dir folder", read, given=True))
    if recipe.debian:
        installed = Path("/") / recipe.debian.folder
        source = f"the original files in the Debian package {recipe.debian.package}"
        read = partial(_from_folder, recipe, installed, source=source)
        found.append(Source("installed Debian package", read))
    found.append(Source("TFDS download", partial(_from_internet, recipe)))
    if recipe.debian:
        found.append(Source("Debian package", partial(_from_debian, recipe, recipe.debian, log=log)))
    return found


def _from_tfds(recipe: Recipe, *, log: Log) -> Dataset:
    folder = _tfds.prepared(recipe.name)
    train, test = _tfds.read(folder, log=log)
    arrays = (train.images, train.labels, test.images, test.labels)
    truth = recipe.judge(arrays, train.lossy or test.lossy, str(folder))
    return dataset(arrays, n_classes=recipe.n_classes, source=f"TFDS folder {recipe.name}/{folder.name}: {truth}")


def _from_folder(recipe: Recipe, folder: Path, *, source: str) -> Dataset:
    return dataset(recipe.read(folder), n_classes=recipe.n_classes, source=source)


def _from_internet(recipe: Recipe) -> Dataset:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        _tfds.download(recipe.urls, folder=Path(folder))
        home = recipe.urls[0].rpartition("/")[0]
        return _from_folder(recipe, Path(folder), source=f"the original files at {home}")


def _from_debian(recipe: Recipe, debian: Debian, *, log: Log) -> Dataset:
    log(f"{recipe.name}: downloading the Debian package {debian.package}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root = _debian.unpack(debian.package, folder=Path(folder))
        source = f"the original files in the Debian package {debian.package}"
        return _from_folder(recipe, root / debian.folder, source=source)


def _keep(cache: Path | None, data: Dataset, *, name: str, log: Log) -> None:
    if cache is None:
        return  # reported when it was read
    try:
        _cache.write(cache, data)
    except OSError as error:  # a full disk or a read-only home folder only makes the next start slower
        log(f"{name}: not cached in {cache} ({error})")


def _remedies(recipe: Recipe) -> Iterator[str]:
    names = ", ".join(url.rpartition("/")[2] for url in recipe.urls)
    yield "To make the data set available, do one of the following:"
    yield f"  with internet: byzsim data {recipe.name}"
    yield f"  with the files {names}: byzsim data {recipe.name} --data-dir FOLDER"
    yield f"  with a prepared array_record folder: TFDS_DATA_DIR=FOLDER byzsim data {recipe.name}"
    if recipe.debian:
        yield f"  on Debian or Ubuntu: sudo apt-get update && sudo apt-get install {recipe.debian.package}"
