"""The peers: an environment of their own, made from their published packages, and a process in it to talk to."""

import contextlib
import json
import os
import resource
import subprocess
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from byzsim.experiments.bench.timing import Candidate, Failed
from byzsim.experiments.errors import UserError

HERE = Path(__file__).parent
PINS = HERE / "peers.txt"
ALONE = "byzfl"  # installed without its dependencies; those that it needs here have pins of their own


def make(folder: Path, log: Callable[[str], object]) -> Path:
    """The peers' Python in `folder`; makes the environment unless it was made from the same pins before.

    pip's own configuration decides where packages come from.

    Raises:
        UserError: if it cannot be made, with pip's last words.
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
    _pip(python, *[pin for pin in wanted if not pin.startswith(ALONE)])
    _pip(python, "--no-deps", *[pin for pin in wanted if pin.startswith(ALONE)])
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
"""how torch's threads wait for each other: spinning, as OpenMP does by default, or asleep"""


def fastest(python: Path, threads: int) -> "Peer":
    """A peer whose threads wait in the way that is faster here: spinning loses a hundredfold on a busy machine."""
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
    """A running process in the peers' environment. A context manager, so that it never outlives a benchmark.

    Args:
        limited: to half of the machine's memory; not with a GPU, whose driver maps more than there is.

    Raises:
        UserError: if it does not run, or has no byzfl or torch to import.
    """

    def __init__(self, python: Path, *, threads: int, wait: Wait, limited: bool = True):
        half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        command = [python, HERE / "peer.py", str(threads), str(half if limited else resource.RLIM_INFINITY)]
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
        for end in filter(None, (self._process.stdin, self._process.stdout)):
            with contextlib.suppress(BrokenPipeError):
                end.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def run(self, job: Mapping[str, Any], *, repeat: int = 1, limit: float = 60.0, out: Path | None = None) -> float:
        """Seconds of `repeat` calls of a job; the last result goes to the file `out`.

        Raises:
            Failed: if the peer cannot do it, or not within `limit` seconds.
        """
        request = {"job": dict(job), "repeat": repeat, "limit": limit, "out": str(out) if out else None}
        return self._ask(request)["seconds"]

    def side(self, job: Mapping[str, Any], *, limit: float = 60.0) -> Candidate:
        """A job as one side of a comparison."""
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
            raise UserError(f"the peers' process ended while it worked on {request.get('job', 'its start')}")
        reply = json.loads(line)
        if "error" in reply:
            raise Failed(reply["error"])
        return reply
