"""Results as JSON lines: one for each (cell, seed), appended whole, never rewritten; and where they come from."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import platform
import subprocess
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import byzsim
import jax
import numpy as np
import pandas as pd
from byzsim import Cell, Curve
from byzsim.engine import NUMERICS
from byzsim.experiments.datasets import Dataset, Fingerprint
from byzsim.experiments.errors import Incomplete, UserError
from byzsim.experiments.report.figures import write_whole
from byzsim.names import own, rule_entry
from filelock import FileLock, Timeout

Record = dict[str, Any]
MATMUL = "highest"  # precision; an accelerator would take TF32 or bf16 without being asked
SETTINGS = ("enable_x64", "threefry_partitionable", "random_seed_offset")  # of JAX: move results
PACKAGES = ("byzsim", "jax", "jaxlib", "flax", "optax", "numpy")


def identity(cell: Cell, data_name: str, data: Dataset | Fingerprint) -> Record:
    """All that decides a run's result: the cell with every default spelled out, data, numerics, precision.

    Raises:
        UserError: for a member from outside whose source is not known, as its records could not be told apart.
    """
    for name, source in own(cell.rule, cell.attack).items():
        if not source:
            raise UserError(
                f"{name} was registered without a digest of its source, by which records of its versions are told "
                "apart: put it into a module, and name that as a plugin"
            )
    settings = {name: getattr(jax.config, f"jax_{name}") for name in SETTINGS}
    return {
        **cell.as_dict(),
        "data": data_name,
        "data_digest": data.digest,
        "numerics": NUMERICS,
        "jax": {"default_matmul_precision": MATMUL, **settings},
    }


def identifier(decides: Mapping[str, Any]) -> str:
    """A name for what `identity` gives; equal only if all of it is equal."""
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def record(
    cell: Cell,
    curve: Curve,
    *,
    table: str,
    quick: bool,
    decides: Mapping[str, Any],
    origin: Mapping[str, Any],
    seconds: float,
    chunk: int | None = None,
    halved: int = 0,
    per_cell: int = 1,
) -> Record:
    """One line of runs.jsonl. Accuracies are fractions, losses nats, lists have one entry an epoch; null: diverged.

    Args:
        chunk: cells at once under vmap on each device; None: one after another.
        halved: how often the chunk was halved since memory ran out.
        per_cell: devices that shared the cell.
    """
    finite = curve.accuracy[np.isfinite(curve.accuracy)]
    return {
        "table": table,
        "quick": quick,
        "id": identifier(decides),
        **decides,
        "max_f": cell.max_f,
        "beyond_bound": cell.beyond_bound,
        **{name: _plain(values) for name, values in _series(cell, curve).items()},
        "final_accuracy": None if curve.diverged else _plain(curve.accuracy)[-1],
        "best_accuracy": _plain(finite.max(keepdims=True))[0] if len(finite) else None,
        "diverged": curve.diverged,
        "diverged_epoch": curve.diverged_epoch,
        "digest": curve.digest,
        "mode": _mode(chunk, halved, per_cell),
        **origin,
        "seconds": round(seconds, 2),
        "time": _now(),
    }


def failure(
    decides: Mapping[str, Any],
    error: Exception,
    *,
    origin: Mapping[str, Any],
    chunk: int | None,
    halved: int,
    per_cell: int = 1,
) -> Record:
    """One line of failures.jsonl: the cell as in runs.jsonl, and what became of it instead of a result."""
    return {
        "id": identifier(decides),
        **decides,
        "failed": reason(error),
        "traceback": "".join(traceback.format_exception(error)),
        "mode": _mode(chunk, halved, per_cell),
        **origin,
        "time": _now(),
    }


def _mode(chunk: int | None, halved: int, per_cell: int) -> str:
    """In how far bits are promised, in words."""
    how = "cell by cell" if chunk is None else f"{chunk} cells under vmap"
    how += f", each over {per_cell} devices" if per_cell > 1 else ""
    return f"{how}, halved {halved} times as memory ran out" if halved else how


def reason(error: Exception) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _now() -> str:
    """For people to read; nothing is decided by it, as clocks jump."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _series(cell: Cell, curve: Curve) -> dict[str, np.ndarray]:
    """A curve's measurements; whom a rule kept, and how many it shortened, only for rules that do such a thing."""
    series = {name: values for name, values in curve._asdict().items() if isinstance(values, np.ndarray)}
    traits = rule_entry(cell.rule).traits
    if "filter" not in traits:
        del series["honest_dropped"], series["byz_kept"]
    if "clips" not in traits:
        del series["clipped"]
    return series


def _plain(values: np.ndarray) -> list[float | None]:
    return [round(float(value), 6) if np.isfinite(value) else None for value in values]


def origin() -> Record:
    """Where results of this process come from: commit, whether the code differs from it, versions, device."""
    commit, dirty = _commit(Path(__file__).resolve())
    devices = jax.devices()
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": versions(),
        "device": f"{len(devices)} x {devices[0].platform} ({_processor(devices[0])})",
    }


def _commit(source: Path) -> tuple[str, bool | None]:
    """Of the repository that has this source file of ours, and whether our code differs from it.

    ("unknown", None) for an installed package: the repository around it, if there is one, is somebody else's.
    """
    root = source.parents[2]
    if _git(source.parent, "--literal-pathspecs", "ls-files", "--error-unmatch", "--", source.name) is None:
        return "unknown", None
    status = _git(root, "status", "--porcelain", "--", "sim", "experiments", "pyproject.toml", "requirements.txt")
    return _git(root, "rev-parse", "HEAD") or "unknown", None if status is None else bool(status)


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}


def code() -> str:
    """SHA-256 of this project's sources."""
    total = hashlib.sha256()
    for folder in (Path(str(byzsim.__file__)).parent, Path(__file__).parents[1]):
        for path in sorted(folder.rglob("*.py")):
            total.update(path.read_bytes())
    return total.hexdigest()


def _git(folder: Path, *args: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", folder, *args],
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor(device: jax.Device) -> str:
    if device.platform != "cpu":
        return device.device_kind
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()  # so no lone surrogates, which no file can hold


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_series(value: Any) -> bool:
    return isinstance(value, list) and all(x is None or _is_number(x) for x in value)


RUN_KINDS: dict[str, Callable[[Any], object]] = {
    "id": _is_text,
    "rule": _is_text,
    "attack": _is_text,
    "alpha": _is_number,
    "n_byz": _is_whole,
    "seed": _is_whole,
    "beyond_bound": _is_flag,
    "quick": _is_flag,
    "diverged": _is_flag,
    "diverged_epoch": lambda value: value is None or _is_whole(value),
    "accuracy": lambda value: _is_series(value) and value,
    "final_accuracy": lambda value: value is None or _is_number(value),
    "data": _is_text,
    "seconds": _is_number,
    "commit": _is_text,
    "dirty": lambda value: value is None or _is_flag(value),
    "device": _is_text,
    "versions": lambda value: isinstance(value, dict) and all(map(_is_text, [*value, *value.values()])),
}
RUN_FIELDS = frozenset(RUN_KINDS)
KINDS = {
    **dict.fromkeys(Curve._fields, _is_series),
    **RUN_KINDS,
    "mode": _is_text,
    "digest": _is_text,
    "failed": lambda value: isinstance(value, str),
}


def read(path: Path, say: Callable[[str], object] = print, *, fields: frozenset[str] = RUN_FIELDS) -> list[Record]:
    """All records of a file, each with these `fields`; none if it is not there.

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

    Columns are the fields of a record; those with a number for each epoch are lists, options are dicts. runs.jsonl
    itself is only ever appended to, so it also has what newer records have taken the place of. `id` names a record;
    table.csv of the same folder has the `ids` of each cell's.

    Raises:
        UserError: if there are no records.
    """
    return pd.DataFrame(list({place(each): each for each in read_folder(Path(folder), say)}.values()))


def _parsed(line: bytes, path: Path, number: int, fields: frozenset[str]) -> Record:
    parsed: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        parsed = json.loads(line)
    if wrong := _wrong(parsed, fields):
        raise UserError(
            f"{path}, line {number} is not a record ({wrong}). Mend or remove it; "
            f"`git diff {path.name}` may show how it was."
        )
    return parsed


def _wrong(parsed: Any, fields: frozenset[str]) -> str:
    """What is wrong with it, if anything is."""
    if not isinstance(parsed, dict):
        return "no JSON object"
    missing = sorted(fields - parsed.keys())
    if missing:
        return f"without {', '.join(missing)}"
    odd = [name for name in sorted(parsed.keys() & KINDS.keys()) if not KINDS[name](parsed[name])]
    if fields >= RUN_FIELDS and not odd and parsed["diverged"] != (parsed["final_accuracy"] is None):
        odd = ["final_accuracy"]
    return f"{', '.join(odd)} of another kind" if odd else ""


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
            f"cannot write results to {folder}: {error.strerror}. Choose another place with --results FOLDER"
            + (", or a shorter name with --name." if error.errno == errno.ENAMETOOLONG else ".")
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
                write_whole(holder, f"process {os.getpid()}, started {_now()}".encode())
            yield
        finally:
            with contextlib.suppress(OSError):
                holder.unlink()


def matching(found: Iterable[Record], cells: Iterable[Cell], data_name: str) -> list[Record]:
    """The records of these cells under any seed; of several for one cell and seed, the last."""
    wanted = {_key(cell.as_dict(), data_name) for cell in cells}
    latest: dict[tuple[str, int], Record] = {}
    for each in found:
        cell = cell_of(each)
        if cell and (key := _key(cell.as_dict() | {"sources": each.get("sources")}, each.get("data"))) in wanted:
            latest[key, each["seed"]] = each
    return list(latest.values())


def cell_of(found: Record) -> Cell | None:
    """The cell of a record; what an older record does not spell out has its default. None if there is no such cell."""
    try:
        return Cell(**{field.name: found[field.name] for field in dataclasses.fields(Cell) if field.name in found})
    except (TypeError, ValueError):
        return None


def _key(values: Mapping[str, Any], data_name: str | None) -> str:
    """Of all but the seed; `sources` are those that the record was made with, and not today's."""
    decides = {"sources": None, **values, "seed": None, "data": data_name}
    return json.dumps(decides, sort_keys=True)


Place = tuple[str, str, float, int]


def place(found: Mapping[str, Any]) -> Place:
    """Where a record stands in its table, whatever else decides it: rule, attack, alpha, seed."""
    return found["rule"], found["attack"], found["alpha"], found["seed"]


def label(where: Place) -> str:
    """A place as printed."""
    rule, attack, alpha, seed = where
    return f"{rule}, {attack}, alpha {alpha:.4g}, seed {seed}"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What decides the results of one record and not so of another, in words such as "lr 0.03 -> 0.1".

    Args:
        old, new: records, or what `identity` gives.
    """
    fields = [*Cell().as_dict(), "sources", "revisions", "data", "data_digest", "numerics", "jax"]
    before, after = ({name: each[name] for name in fields if name in each} for each in (old, new))
    pairs = dict(_pairs(before, after))
    absent = [name for name, pair in pairs.items() if ABSENT in pair]
    words = [f"{name} {_brief(a)} -> {_brief(b)}" for name, (a, b) in pairs.items() if name not in absent]
    return words + ([f"not recorded: {', '.join(absent)}"] if absent else [])


ABSENT = object()


def _pairs(old: Record, new: Record, prefix: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Name and both values of what differs; dictionaries are compared key by key."""
    for key in {**old, **new}:
        a, b = old.get(key, ABSENT), new.get(key, ABSENT)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _pairs(a, b, f"{prefix}{key}.")
        elif a != b:
            yield prefix + key, (a, b)


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
