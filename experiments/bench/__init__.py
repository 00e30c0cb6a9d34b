"""`byzsim bench`: ours and the peers measured in one run on this machine, and the page of ratios.

`byzsim bench scaling` and `byzsim bench accelerator` are benchmarks of their own.
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
from byzsim.experiments.bench import convolutions, environment, page, rules, start, steps
from byzsim.experiments.bench.environment import Peer
from byzsim.experiments.bench.findings import Finding
from byzsim.experiments.bench.timing import Effort
from byzsim.experiments.errors import unknown
from byzsim.experiments.run import devices

PARTS = ("start", "gradients", "convolutions", "steps", "memory", "attacks", "rules")
FIELDS = frozenset({"part", "what", "ratio", "date"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure ours and the peers, append to results/bench/ours.jsonl, and write the page."""

    quick: bool = False
    """one shape, few samples, under two minutes; in a folder of its own, results/bench+quick"""
    only: tuple[str, ...] = ()
    """parts: start, gradients, convolutions, steps, memory, attacks, rules; none: all of them"""
    peers: bool = True
    """measure byzfl and torch too; the first time makes their environment"""
    environment: Path = Path(".bench-env")
    """folder of the peers' environment"""
    results: Path = Path("results")
    """folder of all results"""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is measured."""

    batches: tuple[int, ...]
    settings: tuple[steps.Setting, ...]
    shapes: tuple[rules.Shape, ...]
    n_steps: int
    """in an epoch of ours"""
    step: Effort
    rule: Effort
    limit: float
    """seconds for one call of a peer's rule"""


FULL = Plan((8, 32), steps.SETTINGS, rules.SHAPES, 40, Effort(11, 30), Effort(11, 3), 20)
QUICK = Plan((8,), steps.SETTINGS[1:2], rules.SHAPES[:1], 10, Effort(5, 4), Effort(5, 0.4, 0.01), 3)


def main(args: list[str], say: Callable[[str], object]) -> None:
    """The benchmark that is named first, or else the one against the peers."""
    from byzsim.experiments.bench import accelerator, scaling  # children of `scaling` import this package too

    others = {"scaling": scaling.command, "accelerator": accelerator.command}
    if args and not args[0].startswith("-"):
        if args[0] not in others:
            raise unknown("benchmark", args[0], others)
        others[args[0]](args[1:], say)
    else:
        run(arguments.parsed(Options, args, prog="byzsim bench"), say)


def run(options: Options, say: Callable[[str], object]) -> None:
    """Measure what `options` says; each finding is said and recorded at once, so that a killed run keeps its own.

    Raises:
        UserError: unknown parts; a peers' environment that cannot be made; ours and a peer's work that differ.
    """
    for part in options.only:
        if part not in PARTS:
            raise unknown("part", part, PARTS)
    folder = options.results / ("bench+quick" if options.quick else "bench")
    records.check_writable(folder)
    devices.use_all_cores()
    load = round(os.getloadavg()[0], 2)  # before anything of ours
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        peer = stack.enter_context(_peer(options, say)) if options.peers else None
        common = _common(options, peer, load)
        for finding in _findings(options, QUICK if options.quick else FULL, peer, scratch):
            say(finding.line())
            records.append(folder / "ours.jsonl", [finding.record() | common])
    found = records.read(folder / "ours.jsonl", say, fields=FIELDS)
    page.write([r for r in found if r["date"] == found[-1]["date"]], folder)
    say(f"written: {folder}/ours.jsonl, README.md, bench.png, bench.svg")


def _peer(options: Options, say: Callable[[str], object]) -> Peer:
    return environment.fastest(environment.make(options.environment, say), devices.cores())


def _common(options: Options, peer: Peer | None, load: float) -> dict[str, Any]:
    """What all records of a run share; `date` also tells runs apart."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"quick": options.quick, "date": now, "load": load, "peers": peer and peer.versions, **records.origin()}


def _findings(options: Options, plan: Plan, peer: Peer | None, scratch: Path) -> Iterator[Finding]:
    parts: dict[str, Callable[[], Iterator[Finding]]] = {
        "start": lambda: _start(options.quick),
        "gradients": lambda: steps.gradients(plan.batches, peer, scratch, plan.step),
        "convolutions": lambda: convolutions.convolutions(
            plan.batches, peer, scratch, plan.step, deep=not options.quick
        ),
        "steps": lambda: steps.steps(plan.batches, plan.settings, peer, scratch, plan.step, plan.n_steps),
        "memory": lambda: rules.memory(plan.shapes[:1]),
        "attacks": lambda: rules.attacks(plan.shapes, plan.rule),
        "rules": lambda: rules.rules(plan.shapes, peer, scratch, plan.rule, plan.limit),
    }
    for name in PARTS:
        if not options.only or name in options.only:
            yield from parts[name]()


def _start(quick: bool) -> Iterator[Finding]:
    yield from start.start(1 if quick else 5)
    if not quick:
        yield from start.cache()
