"""runs.jsonl and failures.jsonl: records are appended whole and never rewritten, by one process at a time."""

import contextlib
import json
import os
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from byzsim.experiments.errors import Incomplete, UserError
from byzsim.experiments.files import write_whole
from byzsim.experiments.records.identities import Record, place
from byzsim.experiments.records.migrations import current
from byzsim.experiments.records.provenance import now
from byzsim.experiments.records.schema import RUN_FIELDS, wrong
from filelock import FileLock, Timeout


def read(path: Path, say: Callable[[str], object] = print, *, fields: frozenset[str] = RUN_FIELDS) -> list[Record]:
    """All records of a file, each with these `fields` and under today's names; none if it is not there.

    A torn last line, left by a kill, is said and not counted.

    Raises:
        UserError: for any other line that is not a record, with its number, and fields that are of another kind.
    """
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    torn = lines.pop()
    if torn:
        say(f"{path}: the last line is torn ({len(torn)} bytes, the trace of a killed run); it does not count.")
    return [_parsed(line, path, number, fields) for number, line in enumerate(lines, 1)]


def read_folder(path: Path, say: Callable[[str], object] = print) -> list[Record]:
    """The records of a folder of results, or of a file.

    Raises:
        UserError: if there are none.
    """
    file = path / "runs.jsonl" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"no records in {path}: expected a folder such as results/brsgd_table1, or its runs.jsonl")
    return read(file, say)


def load_results(folder: str | os.PathLike[str], say: Callable[[str], object] = print) -> pd.DataFrame:
    """The valid records of a folder of results: a row for each rule, attack, alpha and seed, the last that was written.

    Columns are the fields of a record; those with a number for each epoch are lists, options are dicts, and names are
    today's. runs.jsonl
    itself is only ever appended to, so it also has what newer records have taken the place of. `id` names a record;
    table.csv of the same folder has the `ids` of each run's.

    Raises:
        UserError: if there are no records.
    """
    return pd.DataFrame(list({place(each): each for each in read_folder(Path(folder), say)}.values()))


def _parsed(line: bytes, path: Path, number: int, fields: frozenset[str]) -> Record:
    parsed: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        parsed = json.loads(line)
    if what := wrong(parsed, fields):
        raise UserError(
            f"{path}, line {number} is not a record ({what}). Mend or remove it; "
            f"`git diff {path.name}` may show how it was."
        )
    return current(parsed)


def append(path: Path, new: Iterable[Record]) -> None:
    """Add records that are on the disk on return, or none of them; a torn last line is cut off first.

    Raises:
        Incomplete: the disk is full, the folder has gone, or is not to be written. What was there is there still.
    """
    text = "".join(json.dumps(each) + "\n" for each in new).encode()
    try:
        path.touch()
        with path.open("r+b", buffering=0) as file:
            _append(file.fileno(), file.read().rfind(b"\n") + 1, text)
    except OSError as error:
        raise Incomplete(f"cannot write {path}: {error.strerror}") from None


def _append(descriptor: int, end: int, content: bytes) -> None:
    try:
        os.ftruncate(descriptor, end)
        os.lseek(descriptor, end, os.SEEK_SET)
        _write_all(descriptor, content)
        os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, end)
        raise


def _write_all(descriptor: int, content: bytes) -> None:
    """A disk that fills up takes a part of a write without any error."""
    while content:
        content = content[os.write(descriptor, content) :]


def check_writable(folder: Path) -> None:
    """Make the folder, and a file in it, before hours go into results that could not be kept.

    Raises:
        UserError: if either cannot be done.
    """
    probe = folder / f".{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(4096))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write results to {folder}: {error.strerror}. Choose another place with --results FOLDER."
        ) from None


@contextlib.contextmanager
def exclusive(folder: Path) -> Generator[None]:
    """Nobody else runs into this folder meanwhile. The lock is the operating system's, so a crash leaves none behind.

    What a killed run left half-written is removed.

    Raises:
        UserError: if another process has the folder, with its id and since when.
    """
    holder = folder / ".holder"
    try:
        lock = FileLock(folder / ".lock").acquire(blocking=False)
    except Timeout:
        who = holder.read_text(encoding="utf-8", errors="replace") if holder.exists() else "another process"
        raise UserError(
            f"{folder} is in use by {who}. Wait for it, stop it, or choose another place with --results FOLDER."
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot lock {folder}: {error.strerror}. Choose another place with --results FOLDER."
        ) from None
    with lock:
        try:
            with contextlib.suppress(OSError):
                for part in (*folder.glob(".*.part"), *folder.glob("*/.*.part"), holder):
                    part.unlink(missing_ok=True)
                write_whole(holder, f"process {os.getpid()}, started {now()}".encode())
            yield
        finally:
            with contextlib.suppress(OSError):
                holder.unlink()
