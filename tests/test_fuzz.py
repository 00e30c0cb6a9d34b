"""Readers meet anything: what comes out is what they read, or the documented error, in little time and memory.

`pytest tests/test_fuzz.py --hypothesis-profile=long` searches for longer.
"""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import signal
import struct
import tracemalloc
import zipfile
from typing import NamedTuple

import flax.serialization
import numpy as np
import pytest
from bad_inputs import record
from byzsim.experiments import records
from byzsim.experiments.datasets import _cache, _idx, cifar10
from byzsim.experiments.datasets._base import Missing, dataset
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan import override, published, runs
from byzsim.experiments.run.checkpoints import Checkpoint, CheckpointRejected, Checkpoints
from byzsim.experiments.tables import TABLES
from byzsim.grid import Snapshot
from hypothesis import given
from hypothesis import strategies as st

CPU_SECONDS = {"default": 60, "long": 3600}
MEGABYTES = 64
LINE = record().encode()
IDX = _idx.serialise(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
NAMES = st.sampled_from(["krum", "gaussian", "softmax", "nnm", "rule", "attack", "alpha", "seed", "variant"])
WORDS = st.one_of(NAMES, st.text(max_size=8), st.floats().map(str), st.integers().map(str))
SMALL = TABLES["smoke"]


@pytest.fixture(autouse=True, scope="module")
def no_hang(request):
    """CPU time, since a machine that does other things takes longer by the clock."""

    def stop(*_):
        raise TimeoutError("an input took too long")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS.get(request.config.getoption("--hypothesis-profile"), 60))
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "file"


@contextlib.contextmanager
def little_memory():
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEGABYTES * 10**6
    finally:
        tracemalloc.stop()


def npz():
    arrays = (
        np.zeros((3, 2, 2), np.uint8),
        np.zeros(3, np.uint8),
        np.zeros((1, 2, 2), np.uint8),
        np.zeros(1, np.uint8),
    )
    file = io.BytesIO()
    np.savez(file, **dataset(arrays, n_classes=2, source="here")._asdict())
    return file.getvalue()


NPZ = npz()


@st.composite
def mutated(draw, whole):
    """Some bytes changed, cut out, doubled or put in."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 1, 4, len(data)]))
        data[at : at + length] = draw(st.one_of(st.binary(max_size=8), st.just(bytes(data[:at]))))
    return bytes(data)


def anything_like(whole):
    return st.one_of(st.binary(max_size=64), mutated(whole))


def read_records(place, content):
    place.write_bytes(content)
    try:
        return records.read(place, lambda line: None)
    except UserError as error:
        assert str(place) in str(error) and "line" in str(error)
        return []


@given(anything_like(LINE * 2))
def test_records(place, content):
    for found in read_records(place, content):
        assert found.keys() >= records.RUN_FIELDS and all(np.isfinite(x) for x in found["accuracy"] if x is not None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(json.loads(LINE))), JSON)
def test_records_with_any_value_in_a_field_can_be_matched(place, field, value):
    found = read_records(place, (json.dumps(json.loads(LINE) | {field: value}) + "\n").encode())
    records.matching(found, runs(SMALL))


@given(anything_like(IDX), st.integers(1, 3))
def test_idx(content, axes):
    with contextlib.suppress(UserError):
        assert _idx.parse(content, axes=axes, where="here").ndim == axes


@given(anything_like(IDX) | anything_like(gzip.compress(IDX)), st.booleans())
def test_idx_files(place, content, packed):
    path = place.with_suffix(".gz") if packed else place
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        _idx._read(path, axes=3, sha256="0" * 64)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=3, max_size=3))
def test_sizes_that_an_idx_header_claims_take_no_memory(shape):
    with little_memory(), contextlib.suppress(UserError):
        _idx.parse(struct.pack(">4B3I", 0, 0, 8, 3, *shape), axes=3, where="here")


def test_a_packed_file_is_not_unpacked_without_end(place, monkeypatch):
    monkeypatch.setattr(_idx, "MAX_BYTES", 2**20)
    path = place.with_suffix(".gz")
    path.write_bytes(gzip.compress(bytes(10**9 // 4), 1))
    with little_memory(), pytest.raises(UserError, match="more than 1,048,576 bytes uncompressed"):
        _idx._read(path, axes=3, sha256="0" * 64)


@given(anything_like(NPZ))
def test_the_cache(place, content):
    place.write_bytes(content)
    with contextlib.suppress(UserError):
        assert _cache.read(place).digest == _cache.read(place).digest


@given(
    st.lists(st.integers(0, 2**40), min_size=1, max_size=3),
    st.sampled_from(["|u1", "<f8", "|O", "<U4000000"]),
    st.booleans(),
)
def test_sizes_that_the_cache_claims_take_no_memory(place, shape, dtype, packed):
    header = str({"descr": dtype, "fortran_order": False, "shape": tuple(shape)}).encode() + b"\n"
    claim = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name in _cache.Dataset._fields:
            archive.writestr(f"{name}.npy", claim)
    with little_memory(), pytest.raises(UserError, match="is damaged"):
        _cache.read(place)


@given(anything_like(NPZ))
def test_the_digest_of_the_cache(place, content):
    place.write_bytes(content)
    digest = _cache.stored_digest(place)
    assert digest is None or len(digest) == 64


class Series(NamedTuple):
    diverged: np.ndarray


def snapshot(epochs):
    return Snapshot({"params": np.arange(4, dtype=np.float32)}, Series(np.zeros(epochs, np.float32)))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """With one of run abc, after two epochs."""
    kept = Checkpoints(tmp_path_factory.mktemp("fuzz") / "checkpoints", {"jax": "1"}, lambda line: None)
    kept.save("abc", Checkpoint(snapshot(2), 1.5))
    return kept


def restored(checkpoints, place, content):
    place.write_bytes(hashlib.sha256(content).digest() + content)
    try:
        return checkpoints._read(place, "abc", snapshot)
    except CheckpointRejected as why:
        assert str(why)
        return None


@given(st.data())
def test_checkpoints(checkpoints, place, data):
    (file,) = checkpoints.folder.iterdir()
    whole = file.read_bytes()
    changed = data.draw(anything_like(whole))
    place.write_bytes(changed)
    if changed == whole:
        assert checkpoints._read(place, "abc", snapshot).seconds == 1.5
    else:
        with pytest.raises(CheckpointRejected, match="corrupt"):
            checkpoints._read(place, "abc", snapshot)
    saved = restored(checkpoints, place, data.draw(anything_like(whole[32:])))
    assert saved is None or saved.snapshot.epochs == 2


@given(st.sampled_from(["run", "epoch", "seconds", "environment", "leaves"]), JSON)
def test_checkpoints_with_any_value_in_a_field(checkpoints, place, field, value):
    (file,) = checkpoints.folder.iterdir()
    stored = flax.serialization.msgpack_restore(file.read_bytes()[32:])
    try:
        content = flax.serialization.msgpack_serialize({**stored, field: value})
    except OverflowError:  # more than 64 bits
        return
    saved = restored(checkpoints, place, content)
    assert saved is None or (field == "seconds" and saved.seconds == value) or value == stored[field]


@given(st.binary(max_size=200))
def test_the_cifar10_archive(place, content):
    folder = place.with_suffix(".cifar")
    folder.mkdir(exist_ok=True)
    (folder / cifar10.FILE).write_bytes(content)
    with pytest.raises(UserError, match="not the original"):
        cifar10.read(folder)
    with pytest.raises(Missing):
        cifar10.read(place.with_suffix(".none"))


@given(
    st.lists(
        st.one_of(st.text(max_size=20), st.tuples(WORDS, WORDS, WORDS).map("{0[0]}.{0[1]}={0[2]}".format)), max_size=3
    )
)
def test_options(texts):
    with contextlib.suppress(UserError):
        assert runs(override(SMALL, {"options": tuple(texts)}))


@given(st.lists(st.one_of(st.text(max_size=20), st.tuples(WORDS, WORDS).map("=".join)), max_size=3))
def test_only(texts):
    with contextlib.suppress(UserError):
        assert runs(SMALL, texts)


FIELDS = {
    "rules": st.lists(WORDS, max_size=2).map(tuple),
    "alphas": st.lists(st.floats(), max_size=2).map(tuple),
    "seeds": st.lists(st.integers(), max_size=2).map(tuple),
    **dict.fromkeys(("m", "batch", "epochs", "steps"), st.lists(st.integers(), max_size=2).map(tuple)),
    **dict.fromkeys(("lr", "momentum_beta", "held_out"), st.lists(st.floats(), max_size=2).map(tuple)),
    **dict.fromkeys(("model", "optimizer", "momentum", "partition"), st.lists(WORDS, max_size=2).map(tuple)),
}


@given(st.fixed_dictionaries({}, optional=FIELDS))
def test_configurations(changes):
    with contextlib.suppress(UserError):
        for _, run_config in runs(override(SMALL, changes)):
            assert 0 <= run_config.n_byz <= run_config.m and 0 < run_config.lr < np.inf


@given(anything_like(b"rule,attack,alpha,accuracy,source\nkrum,alie,0.1,80.5,me\n"))
def test_published_tables(place, content):
    place.write_bytes(content)
    with contextlib.suppress(UserError):
        assert published.read(dataclasses.replace(SMALL, published=place))["mean"].dtype.kind in "fi"
