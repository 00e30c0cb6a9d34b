"""The peers: a virtual environment with their published packages, and a process in it that runs their code."""

import contextlib
import json
import os
import resource
import subprocess
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from byzsim.experiments.bench.measure import Candidate, Failed
from byzsim.experiments.errors import UserError

HERE = Path(__file__).parent
PINS = HERE / "peers.txt"
WITHOUT_DEPENDENCIES = "byzfl"  # those of its dependencies that are needed here are pinned separately


def make(folder: Path, log: Callable[[str], object]) -> Path:
    """Return the Python of the peers' environment; make the environment unless it exists with the same pins.

    pip's own configuration decides where packages come from.

    Raises:
        UserError: the environment cannot be made, with pip's last error.
    """
    python = folder / "bin" / "python"
    ready, pins = folder / "ready.txt", PINS.read_text(encoding="utf-8")
    if ready.exists() and ready.read_text(encoding="utf-8") == pins:
        return python
    log(f"making the peers' environment in {folder} (once; a few minutes)")
    wanted = [line for line in pins.splitlines() if line and not line.startswith("#")]
    try:
        venv.create(folder, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"cannot make an environment in {folder}: {error}") from None
    _pip(python, *[pin for pin in wanted if not pin.startswith(WITHOUT_DEPENDENCIES)])
    _pip(python, "--no-deps", *[pin for pin in wanted if pin.startswith(WITHOUT_DEPENDENCIES)])
    ready.write_text(pins, encoding="utf-8")
    return python


def _pip(python: Path, *what: str) -> None:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    except OSError as error:
        raise UserError(f"cannot run {python}: {error.strerror}. Remove the folder of the environment.") from None
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["no message"]
        raise UserError(
            f"pip could not install the peers ({' '.join(what)}): {words[-1]}. Without them: byzsim bench --no-peers"
        )


Wait = Literal["default", "passive"]
"""OMP_WAIT_POLICY: how torch's threads wait for each other, spinning (default) or asleep (passive)"""


def fastest(python: Path, threads: int) -> "Peer":
    """Start a peer with the faster wait policy; on a busy machine spinning threads can be a hundred times slower."""
    ways: tuple[Wait, Wait] = ("default", "passive")
    first = Peer(python, threads=threads, wait=ways[0])
    try:
        second = Peer(python, threads=threads, wait=ways[1])
    except BaseException:
        first.close()
        raise
    best, other = (first, second) if first.speed <= second.speed else (second, first)
    other.close()
    return best


class Peer:
    """A process in the peers' environment. A context manager, so that it ends with the benchmark.

    Args:
        limited: limit the process to half of the machine's memory; not with a GPU, whose driver maps more memory.

    Raises:
        UserError: the process does not start, or byzfl or torch cannot be imported.
    """

    def __init__(self, python: Path, *, threads: int, wait: Wait, limited: bool = True):
        half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        command = [python, HERE / "peer_script.py", str(threads), str(half if limited else resource.RLIM_INFINITY)]
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "OMP_"))}
        clean |= {"OMP_WAIT_POLICY": "passive"} if wait == "passive" else {}
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="utf-8", env=clean)
        except OSError as error:
            raise UserError(f"cannot run the peers' Python {python}: {error.strerror}") from None
        try:
            self.versions = self._ask({"versions": True}) | {"wait": wait}
        except BaseException:
            self.close()
            raise
        self.speed = self.versions.pop("seconds")

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        for end in filter(None, (self._process.stdin, self._process.stdout)):
            with contextlib.suppress(BrokenPipeError):
                end.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def run(self, job: Mapping[str, Any], *, repeat: int = 1, limit: float = 60.0, out: Path | None = None) -> float:
        """Seconds of `repeat` calls of a job; the last result is written to the file `out`.

        Raises:
            Failed: the peer cannot do it, or takes more than `limit` seconds a call.
        """
        request = {"job": dict(job), "repeat": repeat, "limit": limit, "out": str(out) if out else None}
        return self._ask(request)["seconds"]

    def candidate(self, job: Mapping[str, Any], *, limit: float = 60.0) -> Candidate:
        """A job as a candidate of a comparison."""
        return lambda n: self.run(job, repeat=n, limit=limit)

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        ways = self._process.stdin, self._process.stdout
        assert ways[0] and ways[1]
        try:
            print(json.dumps(request), file=ways[0], flush=True)
            line = ways[1].readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise UserError(f"the peers' process ended during {request.get('job', 'its start')}")
        reply = json.loads(line)
        if "error" in reply:
            raise Failed(reply["error"])
        return reply
