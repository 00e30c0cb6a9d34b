"""The origin of results: commit, versions, device, time."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import byzsim
import jax
from byzsim.experiments.records.identities import Record

PACKAGES = ("byzsim", "jax", "jaxlib", "flax", "optax", "numpy")


def now() -> str:
    """The time in UTC, for people to read. No decision depends on it, since clocks jump."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def origin() -> Record:
    """The origin of this process's results: commit, whether the code differs from it, versions, device."""
    commit, dirty = _commit(Path(__file__).resolve())
    devices = jax.devices()
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": versions(),
        "device": f"{len(devices)} x {devices[0].platform} ({_processor(devices[0])})",
    }


def _commit(source: Path) -> tuple[str, bool | None]:
    """(commit, whether our code differs from it) of the repository that contains this source file.

    ("unknown", None) for an installed package, which may lie inside another project's repository.
    """
    root = source.parents[2]
    if _git(source.parent, "--literal-pathspecs", "ls-files", "--error-unmatch", "--", source.name) is None:
        return "unknown", None
    status = _git(root, "status", "--porcelain", "--", "sim", "experiments", "pyproject.toml", "requirements.txt")
    return _git(root, "rev-parse", "HEAD") or "unknown", None if status is None else bool(status)


def provenance_line(command: str, origin: Mapping[str, Any]) -> str:
    """How a page was made: command, commit, device, versions."""
    commit = f"{origin['commit']}{' (with changes)' if origin['dirty'] else ''}"
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    return f"Made by `{command}` at commit {commit}, on {origin['device']}, with {versions}."


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that results may depend on."""
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
