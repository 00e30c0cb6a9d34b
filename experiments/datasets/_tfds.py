"""TensorFlow Datasets (TFDS) without TensorFlow: prepared folders, and the download manager.

`tensorflow_datasets` is imported only when it is needed. Its builders are not used, because those of the MNIST family
encode their images with TensorFlow.
"""

import hashlib
import io
import json
import os
import re
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from byzsim.experiments.datasets._base import Inputs, Labels, Log, Missing
from byzsim.experiments.datasets._cache import expanded
from byzsim.experiments.errors import UserError

TFDS_CLASSES = "tensorflow_datasets.core.features."
PROBE_SECONDS = 3.0
DECODED_PER_SECOND = 12_000  # small PNG files with Pillow on one core, measured; only for the message


class Split(NamedTuple):
    """One split of a prepared folder."""

    images: Inputs  # (n, h, w) or (n, h, w, c)
    labels: Labels  # (n,)
    lossy: bool  # whether an image was stored as JPEG


def prepared(name: str) -> Path:
    """The newest version of a data set in $TFDS_DATA_DIR, else in ~/tensorflow_datasets.

    Raises:
        Missing: no version is prepared there.
    """
    folder = expanded(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    if folder is None:
        raise Missing("there is no home folder; set TFDS_DATA_DIR=FOLDER.")
    home = folder / name
    versions = [info.parent for info in home.glob("*/dataset_info.json")]
    if not versions:
        raise Missing(f"nothing prepared in {home}.")
    return max(versions, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])


def read(folder: Path, *, log: Log) -> tuple[Split, Split]:
    """Read the train and test splits of a prepared folder, in the order of the original files unless lossy.

    Raises:
        UserError: the folder is broken, or not in the array_record format.
    """
    try:
        _check_classes(folder / "features.json")
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(folder)
        return _split(builder, "train", log=log), _split(builder, "test", log=log)
    except Exception as error:  # any error of TFDS, array_record or Pillow: the folder is unusable
        raise UserError(
            f"{folder} cannot be read ({type(error).__name__}: {_first_line(error)}). Expected a complete TFDS "
            "folder in the array_record format; prepare it again with file_format='array_record'."
        ) from error


def _check_classes(features: Path) -> None:
    """Check the classes that this file names, because TFDS imports their modules: only TFDS's own are allowed.

    Raises:
        OSError, ValueError: no such file, no JSON, or a class of another package.
    """

    def check(part: dict[str, Any]) -> None:
        name = part.get("pythonClassName", TFDS_CLASSES)
        if not str(name).startswith(TFDS_CLASSES):
            raise ValueError(f"{features.name} names {name}, which is not a class of TFDS")

    json.loads(features.read_bytes(), object_hook=check)


def download(urls: Iterable[str], *, folder: Path) -> None:
    """Download files into `folder` under their own names, with TFDS's download manager and its checksums.

    Raises:
        Missing: there is no internet (detected within seconds), or the download failed.
    """
    by_name = {url.rpartition("/")[2]: url for url in urls}
    for url in by_name.values():
        _probe(url)
    try:
        import tensorflow_datasets as tfds

        manager = tfds.download.DownloadManager(download_dir=folder / "tfds", force_checksums_validation=True)
        for name, url in by_name.items():
            os.replace(manager.download(url), folder / name)
    except Exception as error:  # errors of requests, TFDS or the disk
        raise Missing(f"download failed ({type(error).__name__}: {_first_line(error)}).") from error


def order(n: int, *, split: str) -> list[int]:
    """The original index of each of n records after TFDS's shuffle: by MD5 of split name and index."""
    return sorted(range(n), key=lambda index: hashlib.md5(f"{split}{index}".encode()).digest())


def _split(builder: Any, split: str, *, log: Log) -> Split:
    import tensorflow_datasets as tfds

    records = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    log(f"{builder.name}: decoding {len(records):,} images, about {len(records) // DECODED_PER_SECOND + 1} s")
    every = records.__getitems__(range(len(records)))  # one batch is six times as fast as single reads
    images, labels, lossy = _decode(every)
    # A JPEG copy has no original order to restore, and the shuffle helps if its own order is by class.
    if lossy or builder.info.disable_shuffling:
        return Split(images, labels, lossy)
    back = np.argsort(order(len(labels), split=split))
    return Split(images[back], labels[back], lossy)


def _decode(records: Iterable[dict[str, Any]]) -> Split:
    from PIL import Image as Pillow

    images, labels, formats = [], [], set()
    for record in records:
        picture = Pillow.open(io.BytesIO(record["image"]))
        formats.add(picture.format)
        images.append(np.asarray(picture))
        labels.append(record["label"])
    return Split(np.stack(images), np.array(labels, np.uint8), "JPEG" in formats)


def _probe(url: str) -> None:
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PROBE_SECONDS).close()
    except OSError as error:
        raise Missing(f"{url} cannot be reached ({error}).") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
