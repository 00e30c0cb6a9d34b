"""What a start costs: `byzsim list`, and a table's compilation the first and the second time."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from byzsim.experiments.bench.comparison import Comparison
from byzsim.experiments.bench.timing import Timing
from byzsim.experiments.errors import UserError

ROOT = Path(__file__).parent.parent.parent
# Runs a table and prints the seconds that XLA took to compile, or to find compiled code in the cache.
COUNTED = """
import json, sys
import jax
from byzsim.experiments import cli
seconds = []
event = "/jax/core/compile/backend_compile_duration"
jax.monitoring.register_event_duration_secs_listener(lambda name, s, **_: seconds.append(s) if name == event else None)
code = cli.main(["run", "smoke", "--results", sys.argv[1]])
print(json.dumps({"code": code, "seconds": sum(seconds), "programs": len(seconds)}))
"""


def start(times: int) -> Iterator[Comparison]:
    """Wall clock of `byzsim list`, in fresh processes."""
    walls = [_wall([sys.executable, "-m", "byzsim.experiments", "list"]) for _ in range(times)]
    low, middle, high = np.percentile(walls, [25, 50, 75])
    ours = Timing(1000 * float(middle), float((high - low) / middle), times)
    yield Comparison(
        part="start",
        what="byzsim list",
        shape="process",
        sense="<=",
        other="one second",
        ours=ours,
        theirs=Timing(1000.0, 0.0, 1),
        target=1.0,
    )


def cache() -> Iterator[Comparison]:
    """The table `smoke` in two fresh processes, with caches that are empty before the first."""
    with tempfile.TemporaryDirectory() as scratch:
        env = os.environ | {"BYZSIM_CACHE": f"{scratch}/cache"}
        first, second = (_compiling(env, f"{scratch}/results{i}") for i in (1, 2))
    yield Comparison(
        part="start",
        what="second start of a table: compile time",
        shape="byzsim run smoke",
        sense=">=",
        other="first start",
        ours=Timing(1000 * second, 0.0, 1),
        theirs=Timing(1000 * first, 0.0, 1),
        target=5.0,
    )


def _compiling(env: dict[str, str], results: str) -> float:
    done = _run([sys.executable, "-c", COUNTED, results], env)
    return json.loads(done.stdout.splitlines()[-1])["seconds"]


def _wall(command: list[str]) -> float:
    begun = time.perf_counter()
    _run(command, dict(os.environ))
    return time.perf_counter() - begun


def _run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=env, cwd=ROOT, check=False)
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["no message"]
        raise UserError(f"{' '.join(command[:3])} failed: {words[-1]}")
    return done
