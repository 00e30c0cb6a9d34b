"""Checkpoints of unfinished runs: at most two files for each run, deleted once the run is recorded.

A file is a SHA-256 digest and what it is the digest of: flax's msgpack of the snapshot's arrays by name. It is written
atomically, and nothing in it is ever executed. Orbax (0.12.8) took three times as long for a LeNet run, left six files,
and returned an array with a flipped byte without an error.
"""

import contextlib
import dataclasses
import hashlib
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.serialization
import jax
import numpy as np
from byzsim.experiments.errors import UserError
from byzsim.experiments.files import write_whole
from byzsim.grid import Snapshot
from byzsim.run_config import LIMITS

ARRAY = np.ndarray | np.generic
KEEP = 2  # checkpoints of one run: if the last cannot be read, the one before is used
NAME = re.compile(r"[0-9a-f]+\.[0-9]+\.msgpack")
FIELDS: dict[str, Callable[[Any], bool]] = {
    "run": lambda value: isinstance(value, str),
    "epoch": lambda value: type(value) is int and 1 <= value <= (LIMITS["total_steps"][1] or 1),
    "seconds": lambda value: isinstance(value, float) and 0 <= value < np.inf,
    "environment": lambda value: isinstance(value, dict) and all(isinstance(each, str) for each in value.values()),
    "leaves": lambda value: isinstance(value, dict) and all(isinstance(each, ARRAY) for each in value.values()),
}


class Checkpoint(NamedTuple):
    """The state of an unfinished run."""

    snapshot: Snapshot
    seconds: float
    """time spent on the run so far"""


class CheckpointRejected(Exception):
    """Why a checkpoint is not used, as the end of a sentence that begins with its path."""


@dataclasses.dataclass
class Checkpoints:
    """A folder of checkpoints, named by run and epoch. Problems are logged and never raised: a run works without."""

    folder: Path
    environment: Mapping[str, str]
    """versions and devices; a checkpoint from another environment is rejected, since its bits may differ"""
    log: Callable[[str], object]
    interval: float = 60.0
    """seconds between two checkpoints of a batch; 0: after every epoch"""
    peak_bytes: int = 0
    """the largest size that the folder has had"""
    write_failed: bool = False
    """whether the last write failed, which has been logged"""
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    """held where the folder is made or removed"""

    def __post_init__(self):
        if not self.interval >= 0:
            raise UserError(f"--checkpoint {self.interval:g}: expected seconds, 0 (after every epoch) or more")

    def make_timer(self) -> Callable[[], bool]:
        """A function that returns True once in `interval` seconds of the monotonic clock, from now."""
        last = time.monotonic()

        def is_due() -> bool:
            nonlocal last
            now = time.monotonic()
            if now - last < self.interval:
                return False
            last = now
            return True

        return is_due

    def save(self, run: str, checkpoint: Checkpoint) -> None:
        """Write a checkpoint of the run with this identifier, then delete all but its last `KEEP`."""
        content = self.to_bytes(run, checkpoint)
        path = self.folder / f"{run}.{checkpoint.snapshot.epochs:06d}.msgpack"
        with self.lock:
            try:
                self.folder.mkdir(exist_ok=True)
                write_whole(path, hashlib.sha256(content).digest() + content)
                for old in self._of(run)[KEEP:]:
                    old.unlink()
            except OSError as error:
                if not self.write_failed:
                    self.log(
                        f"cannot write checkpoints to {self.folder}: {error.strerror}. Training continues without."
                    )
                self.write_failed = True
            else:
                self.write_failed = False
                self.peak_bytes = max(self.peak_bytes, self.size())

    def load(self, run: str, template: Callable[[int], Snapshot]) -> Checkpoint | None:
        """The last usable checkpoint of a run; unusable ones are deleted, and the reason is logged.

        Args:
            template: shapes and dtypes of a snapshot after a number of epochs.
        """
        for path in self._of(run):
            try:
                return self._read(path, run, template)
            except CheckpointRejected as why:
                self.log(f"checkpoint {path} {why}. It is deleted; the run continues from an earlier one, or restarts.")
                with contextlib.suppress(OSError):
                    path.unlink()
        return None

    def _read(self, path: Path, run: str, template: Callable[[int], Snapshot]) -> Checkpoint:
        try:
            whole = path.read_bytes()
        except OSError as error:
            raise CheckpointRejected(f"cannot be read ({error.strerror})") from None
        digest, content = whole[:32], whole[32:]
        if hashlib.sha256(content).digest() != digest:
            raise CheckpointRejected("is corrupt: its digest does not match its contents")
        stored = _contents(content)
        if stored["environment"] != self.environment:
            raise CheckpointRejected(f"was made with {_differing(stored['environment'], self.environment)}")
        return self._parse(run, stored, template)

    def to_bytes(self, run: str, checkpoint: Checkpoint) -> bytes:
        """A checkpoint as it is stored and broadcast."""
        named = jax.tree_util.tree_leaves_with_path(checkpoint.snapshot)
        return flax.serialization.msgpack_serialize(
            {
                "run": run,
                "epoch": checkpoint.snapshot.epochs,
                "seconds": checkpoint.seconds,
                "environment": dict(self.environment),
                "leaves": {jax.tree_util.keystr(path): leaf for path, leaf in named},
            }
        )

    def from_bytes(self, run: str, content: bytes, template: Callable[[int], Snapshot]) -> Checkpoint:
        """The inverse of `to_bytes`, for a checkpoint of any environment.

        Raises:
            CheckpointRejected: this version cannot continue from it.
        """
        return self._parse(run, _contents(content), template)

    def _parse(self, run: str, stored: Mapping[str, Any], template: Callable[[int], Snapshot]) -> Checkpoint:
        if stored["run"] != run:
            raise CheckpointRejected(f"belongs to another run, {stored['run']}")
        expected = template(stored["epoch"])
        names, structure = jax.tree_util.tree_flatten_with_path(expected)
        leaves = stored["leaves"]
        if _shapes(leaves) != _shapes({jax.tree_util.keystr(path): leaf for path, leaf in names}):
            raise CheckpointRejected("does not have the shapes of this version's state")
        ordered = [np.asarray(leaves[jax.tree_util.keystr(path)]) for path, _ in names]
        return Checkpoint(jax.tree.unflatten(structure, ordered), stored["seconds"])

    def drop(self, runs: Collection[str]) -> None:
        """Delete the checkpoints of these runs, and the folder if it is empty then."""
        with self.lock, contextlib.suppress(OSError):
            for path in self._all():
                if _run_of(path) in runs:
                    path.unlink()
            if self.folder.is_dir() and not any(self.folder.iterdir()):
                self.folder.rmdir()

    def epochs(self) -> dict[str, int]:
        """The last epoch of each run that has a checkpoint, by the files' names."""
        return {_run_of(path): int(path.name.split(".")[1]) for path in self._all()}

    def size(self, runs: Collection[str] | None = None) -> int:
        """Bytes on disk, of these runs or of all."""
        return sum(_bytes(path) for path in self._all() if runs is None or _run_of(path) in runs)

    def _of(self, run: str) -> list[Path]:
        """The run's files, the last epoch first."""
        return [path for path in reversed(self._all()) if _run_of(path) == run]

    def _all(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.msgpack") if NAME.fullmatch(path.name))


def _run_of(path: Path) -> str:
    return path.name.partition(".")[0]


def _bytes(path: Path) -> int:
    """The size of a file; 0 if it has just been deleted by the training thread, which may still work after Ctrl-C."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _contents(content: bytes) -> dict[str, Any]:
    """The stored fields, each of its type.

    Raises:
        CheckpointRejected: for anything that `to_bytes` does not make.
    """
    try:
        stored = flax.serialization.msgpack_restore(content)
        wrong = [name for name, fits in FIELDS.items() if not fits(stored[name])]
    except Exception as error:  # arbitrary bytes raise nearly anything
        raise CheckpointRejected(f"is not a checkpoint of this version ({type(error).__name__})") from error
    if wrong:
        raise CheckpointRejected(f"is not a checkpoint ({', '.join(wrong)} of another type)")
    return stored


def _shapes(leaves: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    return {name: (tuple(leaf.shape), np.dtype(leaf.dtype)) for name, leaf in leaves.items()}


def _differing(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    keys = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
    return ", ".join(f"{key} {found.get(key)}, not {expected.get(key)}" for key in keys)


def megabytes(size: int) -> str:
    """A number of bytes for people to read."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
