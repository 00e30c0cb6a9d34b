"""The data layer, on files of a few hundred bytes that the tests write themselves, without the network."""

import gzip
import hashlib
import io
import os
import pickle
import struct
import subprocess
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from byzsim import ATTACKS, RunConfig, grid
from byzsim.experiments import datasets
from byzsim.experiments.datasets import _cache, _debian, _idx, _sources, _tfds, cifar10, mnist
from byzsim.experiments.datasets._base import Missing, dataset, digest
from byzsim.experiments.errors import UserError
from byzsim.experiments.run import preflight
from hypothesis import given
from hypothesis import strategies as st

REAL_TFDS = os.environ.get("TFDS_DATA_DIR")  # read before the fixture below hides it


def tiny_arrays(n_train=23, n_test=7, shape=(5, 4)):
    draw = np.random.default_rng(3)
    arrays = []
    for n in (n_train, n_test):
        arrays.append(draw.integers(0, 256, (n, *shape), dtype=np.uint8))
        arrays.append(draw.integers(0, 10, n, dtype=np.uint8))
    return tuple(arrays)


ARRAYS = tiny_arrays()
SHA256 = {n: hashlib.sha256(_idx.serialise(a)).hexdigest() for n, a in zip(_idx.AXES, ARRAYS, strict=True)}
RECIPE = _idx.recipe("tiny", home="http://nowhere.invalid/tiny/", sha256=SHA256)
DEBIAN = RECIPE._replace(debian=_sources.Debian("dataset-tiny", folder="no/such/folder"))


def write_files(folder, *, packed):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(_idx.AXES, ARRAYS, strict=True):
        data = _idx.serialise(array)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
    return folder


def same(data, arrays=ARRAYS):
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(data[:4], arrays, strict=True))


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No internet, no apt, no cache and no TFDS folder but those of the test."""

    def unreachable(*_, **__):
        raise urllib.error.URLError("no internet")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(_debian.shutil, "which", lambda tool: None)
    monkeypatch.setenv("BYZSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path / "files", packed=False)


@pytest.fixture
def load(tmp_path):
    """Load a recipe with the cache of this test; the lines said are in `load.said`."""

    def load(recipe=RECIPE, *, data_dir=None):
        load.said = []
        return _sources.load(recipe, cache_dir=None, data_dir=data_dir, log=load.said.append)

    load.cache = tmp_path / "cache" / "tiny.npz"
    return load


# Registry


def test_every_file_of_the_folder_is_registered():
    folder = Path(datasets.__file__).parent
    assert set(datasets.DATASETS) == {path.stem for path in folder.glob("[!_]*.py")}
    for spec in datasets.DATASETS.values():
        assert spec.summary and "\n" not in spec.summary and spec.source


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown data set 'fashion_mnits'. Did you mean 'fashion_mnist'"):
        datasets.load("fashion_mnits")


def test_describe_says_what_it_is_and_where_it_is_kept(monkeypatch, files, load):
    spec = datasets.Spec(lambda **places: _sources.load(RECIPE, **places), "little squares", "nobody (2000)")
    monkeypatch.setitem(datasets.DATASETS, "tiny", spec)
    text = datasets.describe("tiny", data_dir=files, log=lambda line: None)
    for part in (
        "little squares",
        "nobody",
        "(23, 5, 4) uint8",
        "(7, 5, 4)",
        digest(ARRAYS),
        str(load.cache),
    ):
        assert part in text


# Arrays


def test_the_digest_sees_contents_shape_dtype_and_order():
    train_inputs, train_labels, *test = ARRAYS
    changed = train_inputs.copy()
    changed[0, 0, 0] ^= 1
    others = [
        (changed, train_labels, *test),
        (train_inputs.reshape(23, 4, 5), train_labels, *test),
        (train_inputs.view(np.int8), train_labels, *test),
        (train_inputs[::-1], train_labels, *test),
    ]
    assert len({digest(arrays) for arrays in [ARRAYS, *others]}) == 5
    assert digest(ARRAYS) == digest(tuple(np.asfortranarray(array) for array in ARRAYS))


@pytest.mark.parametrize(
    ("place", "array", "message"),
    [
        (0, ARRAYS[0].astype(np.float32), "float32"),
        (1, ARRAYS[1][:-1], r"\(22,\)"),
        (1, np.full(23, 10, np.uint8), "label 10, expected 0 to 9"),
        (2, ARRAYS[2].reshape(7, -1), r"\(20,\)"),
        (3, ARRAYS[3][:, None], r"\(7, 1\)"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(place, array, message):
    arrays = [*ARRAYS]
    arrays[place] = array
    with pytest.raises(UserError, match=message):
        dataset(tuple(arrays), n_classes=10, source="here")


# IDX files


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read_plain_or_packed(tmp_path, load, packed):
    data = load(data_dir=write_files(tmp_path / "files", packed=packed))
    assert same(data) and data.n_classes == 10 and data.source == "the original files in a folder of the user"
    with pytest.raises(ValueError, match="read-only"):
        data.train_inputs[0] = 0


def longer(data):
    return data + b"\0"


def other_pixel(data):
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    ("name", "broken", "message"),
    [
        (
            "train-images-idx3-ubyte",
            lambda data: b"\0\0\x09" + data[3:],
            r"starts with 00000903 .*expected.*00000803",
        ),
        ("train-images-idx3-ubyte", lambda data: data[:9], "has 9 bytes.* at least 16 bytes"),
        ("train-images-idx3-ubyte", lambda data: data[:-1], r"has 475 bytes, expected 476 .*incomplete"),
        ("train-labels-idx1-ubyte", longer, "has 32 bytes, expected 31"),
        ("train-labels-idx1-ubyte", lambda data: b"", "starts with nothing"),
        ("t10k-images-idx3-ubyte", other_pixel, "SHA-256 .* expected " + SHA256["t10k-images-idx3-ubyte"]),
        ("t10k-labels-idx1-ubyte", lambda data: _idx.serialise(ARRAYS[2]), "1 axes, so 00000801"),
    ],
)
def test_a_broken_idx_file_the_user_gave_stops(files, load, name, broken, message):
    path = files / name
    path.write_bytes(broken(path.read_bytes()))
    with pytest.raises(UserError, match=rf"{name}.*{message}"):
        load(data_dir=files)
    assert "TFDS download" not in "".join(load.said)  # no other source was tried


@pytest.mark.parametrize(
    "broken",
    [lambda data: data[:-9], lambda data: b"junk" + data, lambda data: data[:10] + b"\xff" * 9 + data[19:]],
)
def test_a_broken_gz_file_the_user_gave_stops(tmp_path, load, broken):
    path = write_files(tmp_path / "files", packed=True) / "train-images-idx3-ubyte.gz"
    path.write_bytes(broken(path.read_bytes()))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz cannot be read.*download it again"):
        load(data_dir=tmp_path / "files")


HEADERS = st.tuples(st.sampled_from([1, 3]), st.lists(st.integers(0, 4), min_size=3, max_size=3), st.binary(max_size=9))


@given(st.binary(max_size=40) | HEADERS.map(lambda t: struct.pack(f">4B{t[0]}I", 0, 0, 8, t[0], *t[1][: t[0]]) + t[2]))
def test_any_bytes_are_an_array_or_the_documented_error(data):
    for axes in (1, 3):
        try:
            array = _idx.parse(data, axes=axes, where="somewhere")
        except UserError as error:
            assert "somewhere" in str(error)
        else:
            assert array.ndim == axes and _idx.serialise(array) == data


# Cache


def test_the_second_load_is_from_the_cache_alone(monkeypatch, files, load):
    first = load(data_dir=files)
    for path in files.iterdir():
        path.write_bytes(b"broken")

    def touched(*_, **__):
        raise AssertionError("another source was touched")

    monkeypatch.setattr(_tfds, "prepared", touched)
    second = load(data_dir=files)
    assert same(second) and second[4:] == first[4:]
    assert load.said == [f"tiny: cache: {first.source}"]
    assert not second.test_labels.flags.writeable


def test_the_cache_is_where_the_user_wants_it(monkeypatch, tmp_path):
    assert _cache.cache_file("x", cache_dir=tmp_path) == tmp_path / "x.npz"
    assert _cache.cache_file("x", cache_dir=None) == tmp_path / "cache" / "x.npz"
    monkeypatch.delenv("BYZSIM_CACHE")
    monkeypatch.setattr(_cache.platformdirs, "user_cache_dir", lambda app: f"/caches/{app}")
    assert _cache.cache_file("x", cache_dir=None) == Path("/caches/byzsim/x.npz")


@pytest.mark.parametrize("platformdirs_raises", [True, False])
def test_without_a_home_there_is_no_cache_and_no_error(monkeypatch, files, load, platformdirs_raises):
    """The user of a container may have no entry in /etc/passwd; releases of platformdirs differ in what they do."""

    def homeless(app):
        if platformdirs_raises:
            raise RuntimeError("could not determine the home directory")
        return "~/.cache/byzsim"

    def nobody(uid):
        raise KeyError(uid)

    for name in ("BYZSIM_CACHE", "TFDS_DATA_DIR", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_cache.platformdirs, "user_cache_dir", homeless)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert same(load(data_dir=files))
    assert [line.partition(";")[0] for line in load.said[:2]] == [
        "tiny: cache: there is no home folder",
        "tiny: prepared TFDS folder: there is no home folder",
    ]
    assert _cache.cache_folder() is _cache.cache_file("x", cache_dir=None) is None
    assert _cache.stored_digest(None) is None


class Trap:
    def __reduce__(self):
        return (os._exit, (1,))  # unpickling it would end the test run


def archive(**fields):
    file = io.BytesIO()
    np.savez(file, **fields)
    return file.getvalue()


def flipped(good):
    return good[:600] + bytes([good[600] ^ 1]) + good[601:]


STORED = dict(zip(_cache.STORED, dataset(ARRAYS, n_classes=10, source="here"), strict=True))


@pytest.mark.parametrize(
    ("torn", "message"),
    [
        (lambda good: b"", "is damaged"),
        (lambda good: good[: len(good) // 2], "is damaged"),
        (lambda good: b"not an archive at all", "is damaged"),
        (flipped, "is damaged"),
        (lambda good: pickle.dumps(Trap()), "is damaged"),
        (lambda good: archive(**{**STORED, "source": np.array([Trap()])}), "is damaged"),
        (lambda good: archive(train_images=ARRAYS[0]), "is damaged"),
        (lambda good: archive(**{**STORED, "digest": "0" * 64}), "expected 0000"),
        (lambda good: archive(**{**STORED, "test_images": 255 - ARRAYS[2]}), "has digest"),
        (lambda good: archive(**{**STORED, "n_classes": 1}), "a label"),
    ],
)
def test_a_bad_cache_is_said_aloud_and_rebuilt(files, load, torn, message):
    good = load(data_dir=files)
    load.cache.write_bytes(torn(load.cache.read_bytes()))
    assert same(load(data_dir=files))
    assert message in load.said[0] and str(load.cache) in load.said[0]
    assert same(_cache.read(load.cache)) and _cache.read(load.cache).digest == good.digest


def test_a_cache_that_cannot_be_written_is_said_aloud_and_leaves_nothing(monkeypatch, files, load):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(_cache.os, "replace", full)
    assert same(load(data_dir=files))
    assert "not cached" in load.said[-1] and "No space left" in load.said[-1]
    assert not list(load.cache.parent.iterdir())


# The order of sources


def test_the_order_of_sources():
    titles = [source.title for source in _sources.sources(DEBIAN, data_dir="somewhere", log=print)]
    assert titles == [
        "prepared TFDS folder",
        "--data-dir folder",
        "installed Debian package",
        "TFDS download",
        "Debian package",
    ]
    assert [source.title for source in _sources.sources(RECIPE, data_dir=None, log=print)] == [
        titles[0],
        titles[3],
    ]


def test_the_first_source_that_works_is_the_last_one_tried(monkeypatch, load):
    tried = []

    def source(title, outcome):
        def fetch():
            tried.append(title)
            if isinstance(outcome, Exception):
                raise outcome
            return dataset(outcome, n_classes=10, source=title)

        return _sources.Source(title, fetch)

    line = [
        source("a", Missing("empty")),
        source("b", UserError("broken")),
        source("c", ARRAYS),
        source("d", ARRAYS),
    ]
    monkeypatch.setattr(_sources, "sources", lambda *_, **__: line)
    assert load().source == "c"
    assert tried == ["a", "b", "c"]
    assert load.said[1:] == ["tiny: a: empty", "tiny: b: broken", "tiny: c: c"]


def test_when_all_fail_every_reason_and_every_remedy_is_listed(tmp_path, load):
    with pytest.raises(UserError) as caught:
        load(DEBIAN, data_dir=tmp_path / "nowhere")
    message = str(caught.value)
    for part in (
        f"cache: {load.cache} does not exist",
        f"prepared TFDS folder: nothing prepared in {tmp_path / 'tfds' / 'tiny'}",
        f"--data-dir folder: {tmp_path / 'nowhere'} has no train-images-idx3-ubyte",
        f"installed Debian package: {Path('/no/such/folder')} has no train-images-idx3-ubyte",
        "TFDS download: http://nowhere.invalid/tiny/train-images-idx3-ubyte.gz cannot be reached",
        "Debian package: no apt-get",
        "byzsim data tiny --data-dir FOLDER",
        "TFDS_DATA_DIR=FOLDER",
        "apt-get install dataset-tiny",
    ):
        assert part in message
    assert "apt-get" not in "".join(_sources._remedies(RECIPE))


# TFDS


def fake_download_manager(monkeypatch, download):
    tfds = pytest.importorskip("tensorflow_datasets")

    class Manager:
        def __init__(self, *, download_dir, force_checksums_validation):
            assert force_checksums_validation
            self.folder = download_dir
            self.folder.mkdir()

        def download(self, url):
            return download(url, self.folder)

    monkeypatch.setattr(tfds.download, "DownloadManager", Manager)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO())


def test_a_download_goes_through_the_same_reader(monkeypatch, tmp_path, load):
    served = write_files(tmp_path / "served", packed=True)

    def download(url, folder):
        path = folder / f"mangled_{len(url)}_{url[-20:]}"
        path.write_bytes((served / url.removeprefix("http://nowhere.invalid/tiny/")).read_bytes())
        return path

    fake_download_manager(monkeypatch, download)
    data = load()
    assert same(data) and data.source == "the original files at http://nowhere.invalid/tiny"


def test_a_failed_download_is_one_line_of_the_error(monkeypatch, load):
    def download(url, folder):
        raise ValueError("wrong checksum\nand much more")

    fake_download_manager(monkeypatch, download)
    with pytest.raises(UserError, match=r"TFDS download: download failed \(ValueError: wrong checksum\)"):
        load()


def prepare_tfds(home, *, arrays=ARRAYS, encoding="png", disable_shuffling=False):
    """Write a TFDS folder of these arrays in the array_record format, with TFDS's own machinery."""
    tfds = pytest.importorskip("tensorflow_datasets")
    from PIL import Image

    with tfds.core.registered.skip_registration():

        class Tiny(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                shape = (*arrays[0].shape[1:], 1)[:3]
                features = {
                    "image": tfds.features.Image(shape=shape, encoding_format=encoding),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(features),
                    disable_shuffling=disable_shuffling,
                )

            def _split_generators(self, dl_manager):
                return {"train": self.examples(*arrays[:2]), "test": self.examples(*arrays[2:])}

            def examples(self, images, labels):
                for key, (image, label) in enumerate(zip(images, labels, strict=True)):
                    yield key, {"image": Image.fromarray(image), "label": int(label)}

            _generate_examples = examples

    builder = Tiny(data_dir=home, file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


@pytest.mark.parametrize("disable_shuffling", [False, True])
def test_a_prepared_tfds_folder_is_read_in_the_original_order(tmp_path, load, disable_shuffling):
    prepare_tfds(tmp_path / "tfds", disable_shuffling=disable_shuffling)
    data = load()
    assert same(data) and data.source == "TFDS folder tiny/1.0.0: exactly the original files"
    assert "tiny: decoding 23 images, about 1 s" in load.said


def test_a_tfds_folder_with_other_contents_is_not_taken(tmp_path, load, files):
    prepare_tfds(tmp_path / "tfds", arrays=tiny_arrays(n_train=22))
    assert "folder of the user" in load(data_dir=files).source
    assert "prepared TFDS folder" in load.said[-2] and "written as train-images-idx3-ubyte" in load.said[-2]


def test_a_broken_tfds_folder_is_not_taken(tmp_path, load, files):
    folder = prepare_tfds(tmp_path / "tfds")
    for path in folder.glob("*test*"):
        path.write_bytes(path.read_bytes()[:-9])
    assert "folder of the user" in load(data_dir=files).source
    assert f"{folder} cannot be read" in load.said[-2] and "\n" not in load.said[-2]


def test_a_jpeg_copy_is_called_one(monkeypatch, tmp_path, load):
    arrays = tiny_arrays(20, 10, shape=(8, 8, 3))
    arrays = (
        arrays[0],
        np.repeat(np.arange(10, dtype=np.uint8), 2),
        arrays[2],
        np.arange(10, dtype=np.uint8),
    )
    prepare_tfds(tmp_path / "tfds", arrays=arrays, encoding="jpeg")
    monkeypatch.setattr(cifar10, "SHAPE", (8, 8, 3))
    monkeypatch.setattr(cifar10, "PER_CLASS", {"train": 2, "test": 1})
    data = load(cifar10.RECIPE._replace(name="tiny"))
    assert "JPEG copy" in data.source and data.train_inputs.shape == (20, 8, 8, 3)
    assert sorted(data.train_labels) == arrays[1].tolist() != data.train_labels.tolist()  # shuffled on purpose


def test_the_newest_version_is_taken(tmp_path):
    for version in ("9.0.0", "10.0.0", "incomplete"):
        (tmp_path / "tfds" / "tiny" / version).mkdir(parents=True)
    for version in ("9.0.0", "10.0.0"):
        (tmp_path / "tfds" / "tiny" / version / "dataset_info.json").touch()
    assert _tfds.prepared("tiny").name == "10.0.0"


@pytest.mark.skipif(not Path(REAL_TFDS or "", "mnist").is_dir(), reason="no TFDS_DATA_DIR with mnist in it")
def test_the_real_mnist_is_restored_byte_for_byte(monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setenv("TFDS_DATA_DIR", REAL_TFDS)
    builder = tfds.builder_from_directory(_tfds.prepared("mnist"))
    test = _tfds._split(builder, "test", log=lambda line: None)
    sums = mnist.RECIPE.judge.keywords["sha256"]
    for name, array in (("t10k-images-idx3-ubyte", test.images), ("t10k-labels-idx1-ubyte", test.labels)):
        assert hashlib.sha256(_idx.serialise(array)).hexdigest() == sums[name]


# Debian


@pytest.mark.parametrize("lists", [True, False])
def test_a_debian_package_is_fetched_without_root(monkeypatch, load, lists):
    commands = []

    def run(command, *, cwd, **_):
        commands.append(command[0] + " " + next(w for w in command[1:] if w in ("download", "update", "-x")))
        if "download" in command and not lists and len(commands) == 1:
            raise subprocess.CalledProcessError(100, command, stderr="E: Unable to locate package\n")
        if "download" in command:
            (cwd / "dataset-tiny_1_all.deb").touch()
        if "-x" in command:
            write_files(cwd / command[-1] / DEBIAN.debian.folder, packed=True)

    monkeypatch.setattr(_debian.shutil, "which", lambda tool: f"/bin/{tool}")
    monkeypatch.setattr(_debian.subprocess, "run", run)
    data = load(DEBIAN)
    assert same(data) and data.source == "the original files in the Debian package dataset-tiny"
    own_lists = [] if lists else ["apt-get update", "apt-get download"]
    assert commands == ["apt-get download", *own_lists, "dpkg-deb -x"]


def test_what_apt_says_is_passed_on(monkeypatch, load):
    def run(command, **_):
        raise subprocess.CalledProcessError(100, command, stderr="W: of no use\nE: Could not resolve host\n")

    monkeypatch.setattr(_debian.shutil, "which", lambda tool: f"/bin/{tool}")
    monkeypatch.setattr(_debian.subprocess, "run", run)
    with pytest.raises(UserError, match=r"Debian package: apt-get .* update failed \(E: Could not resolve host\)"):
        load(DEBIAN)


# CIFAR-10


def write_cifar10(folder, monkeypatch):
    (
        """A small archive in CIFAR-10's format: record k is class k, red 10 k, green 10 k + 1, blue 10 k + 2.

    The last row of every image is 255.
    """
        ""
    )
    records = [bytes([k]) + b"".join(bytes([10 * k + c]) * 992 + b"\xff" * 32 for c in range(3)) for k in range(6)]
    path = folder / cifar10.FILE
    with tarfile.open(path, "w:gz") as tar:
        for name, record in zip((*cifar10.TRAIN, "test_batch.bin"), records, strict=True):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(record)
            tar.addfile(member, io.BytesIO(record))
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_the_cifar10_archive_is_read(monkeypatch, tmp_path, load):
    write_cifar10(tmp_path, monkeypatch)
    data = load(cifar10.RECIPE, data_dir=tmp_path)
    assert data.train_inputs.shape == (5, 32, 32, 3) and data.test_inputs.shape == (1, 32, 32, 3)
    assert data.train_labels.tolist() == [0, 1, 2, 3, 4] and data.test_labels.tolist() == [5]
    assert data.train_inputs[3, 0, 31].tolist() == [30, 31, 32]
    assert data.train_inputs[3, 31, 0].tolist() == [255, 255, 255]


def test_a_broken_cifar10_archive_stops(monkeypatch, tmp_path, load):
    path = write_cifar10(tmp_path, monkeypatch)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{cifar10.FILE} has SHA-256 .*, expected {cifar10.SHA256}"):
        load(cifar10.RECIPE, data_dir=tmp_path)


def test_cifar10_without_a_checksum_is_judged_by_shape_and_counts(monkeypatch):
    monkeypatch.setattr(cifar10, "PER_CLASS", {"train": 2, "test": 1})
    labels = np.arange(10, dtype=np.uint8)
    images = np.zeros((20, 32, 32, 3), np.uint8)
    assert "JPEG copy" in cifar10.judge((images, labels.repeat(2), images[:10], labels), True, "here")
    assert "JPEG" not in cifar10.judge((images, labels.repeat(2), images[:10], labels), False, "here")
    with pytest.raises(UserError, match=r"here: test .*\[2, 0, 1"):
        cifar10.judge((images, labels.repeat(2), images[:10], np.where(labels == 1, 0, labels)), False, "here")
    with pytest.raises(UserError, match=r"here: train has images \(20, 32, 32\)"):
        cifar10.judge((images[..., 0], labels.repeat(2), images[:10], labels), False, "here")


# Digits


def test_digits_are_always_the_same_split():
    data = datasets.load("digits", log=pytest.fail)
    assert data.train_inputs.shape == (1437, 8, 8) and data.test_inputs.shape == (360, 8, 8)
    assert data.digest == "6b47055a4b69ed2695f5a0076e471d4754becf9f3bea88cd963bcf20736fdf56"
    assert set(np.unique(data.train_inputs)) == {round(k * 255 / 16) for k in range(17)}
    for labels in (data.train_labels, data.test_labels):
        share = np.bincount(labels, minlength=10) / len(labels)
        assert share.min() > 0.07 and share.max() < 0.14


def test_labels_that_nobody_has_are_refused_to_attacks_on_labels():
    images, labels = np.zeros((40, 4, 4), np.uint8), np.array([0, 2] * 20, np.uint8)
    gap, source = dataset((images, labels, images, labels), n_classes=3, source="here"), grid.Source(3, 40)
    tiny = {"model": "softmax", "m": 4, "batch": 4, "rule": "median", "n_byz": 1}
    source = grid.source_of(gap.train, 3)
    for attack in (name for name, spec in ATTACKS.items() if "data" in spec.traits):
        with pytest.raises(UserError, match=f"{attack} changes labels, and no image has label 1 of 0 to 2"):
            preflight.check_fit(
                [grid.resolve(RunConfig(**tiny | change), source) for change in ({}, {"attack": attack})], gap
            )
    preflight.check_fit([grid.resolve(RunConfig(**tiny, attack="alie"), source)], gap)
    digits = datasets.load("digits")
    assert {*digits.train_labels} == {*digits.test_labels} == {*range(digits.n_classes)}
