"""runs.jsonl and failures.jsonl: one process at a time appends complete records, which are never rewritten."""

import contextlib
import json
import lzma
import os
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

from byzsim.experiments.errors import Incomplete, UserError
from byzsim.experiments.files import write_whole
from byzsim.experiments.records.identities import Record, key_of
from byzsim.experiments.records.migrations import current
from byzsim.experiments.records.provenance import now
from byzsim.experiments.records.schema import RUN_FIELDS, wrong
from filelock import FileLock, Timeout


def read(path: Path, log: Callable[[str], object] = print, *, fields: frozenset[str] = RUN_FIELDS) -> list[Record]:
    """All records of a file under today's names, each with these `fields`; none if there is no such file.

    Records of FILE.xz, which `xz FILE` makes of a large file, come before those that were appended to FILE since. An
    incomplete last line, left by a killed run, is reported and ignored.

    Raises:
        UserError: another line is not a record, with its number and the wrong fields; or FILE.xz is damaged.
    """
    packed = path.with_name(f"{path.name}.xz")
    return [record for each in (packed, path) if each.exists() for record in _lines(each, log, fields)]


def _lines(path: Path, log: Callable[[str], object], fields: frozenset[str]) -> list[Record]:
    try:
        content = path.read_bytes()
        lines = (lzma.decompress(content) if path.suffix == ".xz" else content).split(b"\n")
    except (OSError, lzma.LZMAError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    torn = lines.pop()
    if torn:
        log(f"{path}: the last line is incomplete ({len(torn)} bytes, left by a killed run) and is ignored.")
    return [_parsed(line, path, number, fields) for number, line in enumerate(lines, 1)]


def read_folder(path: Path, log: Callable[[str], object] = print) -> list[Record]:
    """The records of a results folder, or of a file.

    Raises:
        UserError: there are none.
    """
    file = path / "runs.jsonl" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"no records in {path}: expected a folder such as results/brsgd_table1, or its runs.jsonl")
    return read(file, log)


def further_fields(path: Path) -> tuple[str, ...]:
    """By which the runs of a folder, or of its runs.jsonl, differ beside rule, attack, alpha and seed: config.json."""
    with contextlib.suppress(OSError, ValueError, RecursionError, AttributeError, TypeError):
        folder = path if path.is_dir() else path.parent
        return tuple(map(str, json.loads((folder / "config.json").read_bytes()).get("fields", ())))
    return ()


def valid(folder: Path, log: Callable[[str], object] = print) -> list[Record]:
    """The valid records of a folder of results: of several for one run of its table, the last.

    runs.jsonl itself is only ever appended to, so it also has records that newer ones replace.

    Raises:
        UserError: there are no records.
    """
    further = further_fields(folder)
    return list({key_of(each, further): each for each in read_folder(folder, log)}.values())


def _parsed(line: bytes, path: Path, number: int, fields: frozenset[str]) -> Record:
    parsed: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        parsed = json.loads(line)
    if what := wrong(parsed, fields):
        raise UserError(
            f"{path}, line {number} is not a record ({what}). Correct or delete it; "
            f"`git diff {path.name}` may show its earlier text."
        )
    return current(parsed)


def append(path: Path, new: Iterable[Record]) -> None:
    """Append all records durably, or none of them; an incomplete last line is cut off first.

    Raises:
        Incomplete: the disk is full, or the folder is missing or read-only. Earlier records are unchanged.
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
    """Write everything: a disk that fills up accepts a part of a write without an error."""
    while content:
        content = content[os.write(descriptor, content) :]


def check_writable(folder: Path) -> None:
    """Check that results can be written, before hours of work, and leave no trace.

    A file is written to the folder, or to the nearest folder above it that exists, and deleted.

    Raises:
        UserError: it cannot be written.
    """
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        probe = there / f".{os.getpid()}.part"
        try:
            probe.write_bytes(bytes(4096))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write results to {folder}: {error.strerror}. Choose another folder with --results FOLDER."
        ) from None


@contextlib.contextmanager
def exclusive(folder: Path) -> Generator[None]:
    """Hold an exclusive lock on the folder, which is made, while the context is open.

    The lock is the operating system's, so a crash releases it. Half-written files of a killed run are deleted.

    Raises:
        UserError: another process has the lock; the message has its id and start time.
    """
    holder = folder / ".holder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock").acquire(blocking=False)
    except Timeout:
        who = holder.read_text(encoding="utf-8", errors="replace") if holder.exists() else "another process"
        raise UserError(
            f"{folder} is in use by {who}. Wait for it, stop it, or choose another folder with --results FOLDER."
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot lock {folder}: {error.strerror}. Choose another folder with --results FOLDER."
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
