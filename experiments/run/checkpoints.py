"""Checkpoints of runs in progress: at most two files for each, gone once the run is recorded.

A file is a SHA-256 and what it is of: flax's msgpack of the snapshot's arrays by name, written whole. Nothing in it is
ever executed. Not Orbax (0.12.8): it took three times as long for a LeNet run, left six files, and gave back an array
with a flipped byte without a word.
"""

import contextlib
import dataclasses
import hashlib
import re
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
from byzsim.run_config import UPPER_LIMITS

ARRAY = np.ndarray | np.generic
KEPT = 2  # of one run: if the last cannot be read, there is the one before
NAME = re.compile(r"[0-9a-f]+\.[0-9]+\.msgpack")
KINDS: dict[str, Callable[[Any], bool]] = {
    "run": lambda value: isinstance(value, str),
    "epoch": lambda value: type(value) is int and 1 <= value <= UPPER_LIMITS["epochs"],
    "seconds": lambda value: isinstance(value, float) and 0 <= value < np.inf,
    "made_by": lambda value: isinstance(value, dict) and all(isinstance(each, str) for each in value.values()),
    "leaves": lambda value: isinstance(value, dict) and all(isinstance(each, ARRAY) for each in value.values()),
}


class Saved(NamedTuple):
    """A run's checkpoint."""

    snapshot: Snapshot
    seconds: float
    """spent on the run up to here"""


class Unfit(Exception):
    """Why a checkpoint is not used."""


@dataclasses.dataclass
class Checkpoints:
    """A folder of checkpoints, named by run and epoch. Trouble is said and never raised: a run can go on without."""

    folder: Path
    made_by: Mapping[str, str]
    """versions and devices; a checkpoint of others is not used, as they may give other bits"""
    say: Callable[[str], object]
    interval: float = 60.0
    """seconds between two checkpoints of a batch; 0: after every epoch"""
    largest: int = 0
    """bytes that the folder has had at most"""
    silent: bool = False
    """the last write failed, which has been said"""

    def __post_init__(self):
        if not self.interval >= 0:
            raise UserError(f"--checkpoint {self.interval:g}: expected seconds, 0 (after every epoch) or more")

    def clock(self) -> Callable[[], bool]:
        """Is it time for a checkpoint? By the monotonic clock, from now."""
        last = time.monotonic()

        def due() -> bool:
            nonlocal last
            now = time.monotonic()
            if now - last < self.interval:
                return False
            last = now
            return True

        return due

    def save(self, run_id: str, saved: Saved) -> None:
        """Write a checkpoint of the run with this identifier, then remove all but the last `KEPT` of it."""
        content = self.packed(run_id, saved)
        try:
            self.folder.mkdir(exist_ok=True)
            write_whole(
                self.folder / f"{run_id}.{saved.snapshot.epochs:06d}.msgpack",
                hashlib.sha256(content).digest() + content,
            )
            for old in self._of(run_id)[KEPT:]:
                old.unlink()
        except OSError as error:
            if not self.silent:
                self.say(f"cannot write checkpoints to {self.folder}: {error.strerror}. The run goes on without.")
            self.silent = True
        else:
            self.silent = False
            self.largest = max(self.largest, self.size())

    def load(self, run_id: str, template: Callable[[int], Snapshot]) -> Saved | None:
        """The last usable checkpoint of a run; the others are removed, and why is said.

        Args:
            template: shapes and dtypes of a snapshot after so many epochs.
        """
        for path in self._of(run_id):
            try:
                return self._read(path, run_id, template)
            except Unfit as why:
                self.say(f"checkpoint {path} {why}; it is removed, and the one before counts, or else the beginning")
                with contextlib.suppress(OSError):
                    path.unlink()
        return None

    def _read(self, path: Path, run_id: str, template: Callable[[int], Snapshot]) -> Saved:
        try:
            whole = path.read_bytes()
        except OSError as error:
            raise Unfit(f"cannot be read ({error.strerror})") from None
        digest, content = whole[:32], whole[32:]
        if hashlib.sha256(content).digest() != digest:
            raise Unfit("is corrupt: its digest does not fit its contents")
        saved, made_by = self._unpacked(run_id, content, template)
        if made_by != self.made_by:
            raise Unfit(f"was made by {_differing(made_by, self.made_by)}")
        return saved

    def packed(self, run_id: str, saved: Saved) -> bytes:
        """A checkpoint as it is stored, or sent."""
        named = jax.tree_util.tree_leaves_with_path(saved.snapshot)
        return flax.serialization.msgpack_serialize(
            {
                "run": run_id,
                "epoch": saved.snapshot.epochs,
                "seconds": saved.seconds,
                "made_by": dict(self.made_by),
                "leaves": {jax.tree_util.keystr(path): leaf for path, leaf in named},
            }
        )

    def unpacked(self, run_id: str, content: bytes, template: Callable[[int], Snapshot]) -> Saved:
        """Back from `packed`, whoever has made it.

        Raises:
            Unfit: it is nothing that this version can go on with.
        """
        return self._unpacked(run_id, content, template)[0]

    def _unpacked(
        self, run_id: str, content: bytes, template: Callable[[int], Snapshot]
    ) -> tuple[Saved, Mapping[str, str]]:
        stored = _contents(content)
        if stored["run"] != run_id:
            raise Unfit(f"is of another run, {stored['run']}")
        expected = template(stored["epoch"])
        names, structure = jax.tree_util.tree_flatten_with_path(expected)
        leaves = stored["leaves"]
        if _shapes(leaves) != _shapes({jax.tree_util.keystr(path): leaf for path, leaf in names}):
            raise Unfit("does not have the shapes of this version's state")
        ordered = [np.asarray(leaves[jax.tree_util.keystr(path)]) for path, _ in names]
        return Saved(jax.tree.unflatten(structure, ordered), stored["seconds"]), stored["made_by"]

    def drop(self, run_ids: Collection[str]) -> None:
        """Remove the checkpoints of these runs, and the folder with the last one."""
        with contextlib.suppress(OSError):
            for path in self._all():
                if _run_id(path) in run_ids:
                    path.unlink()
            if self.folder.is_dir() and not any(self.folder.iterdir()):
                self.folder.rmdir()

    def epochs(self) -> dict[str, int]:
        """The last epoch of each run that has a checkpoint, by the files' names."""
        return {_run_id(path): int(path.name.split(".")[1]) for path in self._all()}

    def size(self, run_ids: Collection[str] | None = None) -> int:
        """Bytes on the disk, of these runs or of all."""
        return sum(_bytes(path) for path in self._all() if run_ids is None or _run_id(path) in run_ids)

    def _of(self, run_id: str) -> list[Path]:
        """The run's files, the last epoch first."""
        return [path for path in reversed(self._all()) if _run_id(path) == run_id]

    def _all(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.msgpack") if NAME.fullmatch(path.name))


def _run_id(path: Path) -> str:
    return path.name.partition(".")[0]


def _bytes(path: Path) -> int:
    """0 if it has just gone: after a Ctrl-C another thread may still be at it."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _contents(content: bytes) -> dict[str, Any]:
    """What `save` writes, all of it of the kind that it has there.

    Raises:
        Unfit: for anything else.
    """
    try:
        stored = flax.serialization.msgpack_restore(content)
        odd = [name for name, fits in KINDS.items() if not fits(stored[name])]
    except Exception as error:  # bytes that are anything raise nearly anything
        raise Unfit(f"is no checkpoint ({type(error).__name__})") from error
    if odd:
        raise Unfit(f"is no checkpoint ({', '.join(odd)} of another kind)")
    return stored


def _shapes(leaves: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    return {name: (tuple(leaf.shape), np.dtype(leaf.dtype)) for name, leaf in leaves.items()}


def _differing(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    keys = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
    return ", ".join(f"{key} {theirs.get(key)} and not {ours.get(key)}" for key in keys)


def megabytes(size: int) -> str:
    """Bytes as a person reads them."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
