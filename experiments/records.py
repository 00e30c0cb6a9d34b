"""Results as JSON lines: one for each (cell, seed), appended whole, never rewritten; and where they come from."""

import contextlib
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.datasets import Dataset
from experiments.errors import UserError
from experiments.figures import write_whole
from sim import Cell, Curve
from sim.engine import NUMERICS
from sim.names import own, rule_entry

Record = dict[str, Any]
PACKAGES = ("byzsim", "jax", "jaxlib", "flax", "optax", "numpy")


def identity(cell: Cell, data_name: str, data: Dataset) -> Record:
    """All that decides a run's result: the cell with every default spelled out, data, version of the numerics.

    Raises:
        UserError: for a member from outside whose source is not known, as its records could not be told apart.
    """
    for name, source in own(cell.rule, cell.attack).items():
        if not source:
            raise UserError(
                f"{name} was registered without a digest of its source, by which records of its versions are told "
                "apart: put it into a module, and name that as a plugin"
            )
    return {**cell.as_dict(), "data": data_name, "data_digest": data.digest, "numerics": NUMERICS}


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
) -> Record:
    """One line of runs.jsonl. Accuracies are fractions, losses nats, lists have one entry an epoch; null: diverged."""
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
        **origin,
        "seconds": round(seconds, 2),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _series(cell: Cell, curve: Curve) -> dict[str, np.ndarray]:
    """A curve's measurements; who was kept only for rules that leave workers out."""
    series = {name: values for name, values in curve._asdict().items() if not name.startswith("diverged")}
    if "filter" not in rule_entry(cell.rule).traits:
        del series["honest_dropped"], series["byz_kept"]
    return series


def _plain(values: np.ndarray) -> list[float | None]:
    return [round(float(value), 6) if np.isfinite(value) else None for value in values]


def origin() -> Record:
    """Where results of this process come from: commit, whether the code differs from it, versions, device."""
    here = Path(__file__).parent.parent
    status = _git(here, "status", "--porcelain", "--", "sim", "experiments", "pyproject.toml", "requirements.txt")
    devices = jax.devices()
    return {
        "commit": _git(here, "rev-parse", "HEAD") or "unknown",
        "dirty": status is None or bool(status),
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
        "device": f"{len(devices)} x {devices[0].platform} ({_processor(devices[0])})",
    }


def _git(folder: Path, *args: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", folder, *args], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor(device: jax.Device) -> str:
    if device.platform != "cpu":
        return device.device_kind
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
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


RUN_KINDS: dict[str, Callable[[Any], bool]] = {
    "id": _is_text,
    "rule": _is_text,
    "attack": _is_text,
    "alpha": _is_number,
    "n_byz": _is_whole,
    "seed": _is_whole,
    "beyond_bound": _is_flag,
    "quick": _is_flag,
    "diverged": _is_flag,
    "accuracy": lambda value: isinstance(value, list) and all(x is None or _is_number(x) for x in value) and value,
    "final_accuracy": lambda value: value is None or _is_number(value),
    "seconds": _is_number,
    "commit": _is_text,
    "dirty": _is_flag,
    "device": _is_text,
    "versions": lambda value: isinstance(value, dict) and all(map(_is_text, [*value, *value.values()])),
}
RUN_FIELDS = frozenset(RUN_KINDS)


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
    odd = [name for name in sorted(fields & RUN_KINDS.keys()) if not RUN_KINDS[name](parsed[name])]
    if (
        {"diverged", "final_accuracy"} <= fields
        and not odd
        and parsed["diverged"] != (parsed["final_accuracy"] is None)
    ):
        odd = ["final_accuracy"]
    return f"{', '.join(odd)} of another kind" if odd else ""


def append(path: Path, new: Iterable[Record]) -> None:
    """Add records in one write that is on the disk on return; a torn last line is dropped first, whole file at once."""
    text = "".join(json.dumps(each) + "\n" for each in new).encode()
    try:
        old = path.read_bytes() if path.exists() else b""
        if old and not old.endswith(b"\n"):
            write_whole(path, old[: old.rfind(b"\n") + 1])
        with path.open("ab", buffering=0) as file:
            file.write(text)
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def check_writable(folder: Path) -> None:
    """Make the folder, and a file in it, before hours go into results that could not be kept.

    Raises:
        UserError: if either cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"cannot write results to {folder}: {error.strerror}. Choose another place with --results FOLDER."
        ) from None


def matching(found: Iterable[Record], cells: Iterable[Cell], data_name: str) -> list[Record]:
    """The records of these cells under any seed; of several for one cell and seed, the last."""
    wanted = {_key(cell.as_dict() | {"data": data_name}) for cell in cells}
    fields = {*Cell().as_dict(), "data"}
    latest: dict[tuple[str, int], Record] = {}
    for each in found:
        key = _key({field: each.get(field) for field in fields} | {k: each[k] for k in ("sources",) if k in each})
        if key in wanted:
            latest[key, each["seed"]] = each
    return list(latest.values())


def _key(values: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in values.items() if key != "seed"}, sort_keys=True)
