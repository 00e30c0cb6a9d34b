"""`byzsim bench`: training steps, gradients and rules of byzsim and of its peers, measured in one run on this machine.

`byzsim bench scaling`, `calls`, `pmean` and `accelerator` are separate benchmarks. An installed package has none.
"""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from byzsim.experiments import arguments, records
from byzsim.experiments.bench import convolutions, environment, page, rules, steps
from byzsim.experiments.bench.environment import Peer
from byzsim.experiments.bench.measure import Budget, Comparison
from byzsim.experiments.errors import unknown
from byzsim.experiments.run import devices

PARTS = ("gradients", "convolutions", "steps", "rules")
FIELDS = frozenset({"part", "what", "ratio", "date"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure byzsim and its peers, append to results/bench/ours.jsonl, and write the page."""

    quick: bool = False
    """one shape and few samples, under two minutes, in a folder of its own, results/bench+quick"""
    only: tuple[str, ...] = ()
    """parts: gradients, convolutions, steps, rules; default: all of them"""
    peers: bool = True
    """also measure byzfl and torch; their environment is made at the first run"""
    environment: Path = Path(".bench-env")
    """folder of the peers' environment"""
    results: Path = Path("results")
    """the folder that holds all results folders"""


@dataclasses.dataclass(frozen=True)
class Suite:
    """What a run measures, and for how long."""

    batches: tuple[int, ...]
    settings: tuple[steps.Setting, ...]
    shapes: tuple[rules.Shape, ...]
    n_steps: int
    """steps in an epoch"""
    step: Budget
    rule: Budget
    limit: float
    """seconds for one call of a peer's rule"""


FULL = Suite((8, 32), steps.SETTINGS, rules.SHAPES, 40, Budget(11, 30), Budget(11, 3), 20)
QUICK = Suite((8,), steps.SETTINGS[1:2], rules.SHAPES[:1], 10, Budget(5, 4), Budget(5, 0.4, 0.01), 3)


def main(args: list[str], log: Callable[[str], object]) -> None:
    """Run the benchmark that the first argument names; without a name, that against the peers."""
    from byzsim.experiments.bench import (
        accelerator,
        calls,
        pmean,
        scaling,
    )  # worker processes of `scaling` import this package

    named = {each.__name__.rpartition(".")[2]: each.command for each in (scaling, accelerator, calls, pmean)}
    if args and not args[0].startswith("-"):
        if args[0] not in named:
            raise unknown("benchmark", args[0], named)
        named[args[0]](args[1:], log)
    else:
        run(arguments.parse_args(Options, args, prog="byzsim bench"), log)


def run(options: Options, log: Callable[[str], object]) -> None:
    """Measure. Each comparison is printed and recorded at once, so that a killed run keeps its results.

    Raises:
        UserError: for unknown parts, an environment that cannot be made, or a peer whose numbers differ from ours.
    """
    for part in options.only:
        if part not in PARTS:
            raise unknown("part", part, PARTS)
    folder = options.results / ("bench+quick" if options.quick else "bench")
    records.check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    load = round(os.getloadavg()[0], 2)  # before our own work
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        peer = None
        if options.peers:
            python = environment.make(options.environment, log)
            peer = stack.enter_context(environment.fastest(python, devices.cores()))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        common = {"quick": options.quick, "date": now, "load": load, "peers": peer and peer.versions}
        common |= records.origin()
        for comparison in _comparisons(options, QUICK if options.quick else FULL, peer, scratch):
            log(comparison.line())
            records.append(folder / "ours.jsonl", [comparison.record() | common])
    found = records.read(folder / "ours.jsonl", log, fields=FIELDS)
    page.write([r for r in found if r["date"] == found[-1]["date"]], folder)
    log(f"written: {folder}/ours.jsonl, README.md, bench.png, bench.svg")


def _comparisons(options: Options, suite: Suite, peer: Peer | None, scratch: Path) -> Iterator[Comparison]:
    parts: dict[str, Callable[[], Iterator[Comparison]]] = {
        "gradients": lambda: steps.gradients(suite.batches, peer, scratch, suite.step),
        "convolutions": lambda: convolutions.convolutions(
            suite.batches, peer, scratch, suite.step, deep=not options.quick
        ),
        "steps": lambda: steps.steps(suite.batches, suite.settings, peer, scratch, suite.step, suite.n_steps),
        "rules": lambda: rules.rules(suite.shapes, peer, scratch, suite.rule, suite.limit),
    }
    for name in PARTS:
        if not options.only or name in options.only:
            yield from parts[name]()
