"""`byzsim run`: carry out what has no record yet, then make the report."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from byzsim.experiments import records
from byzsim.experiments.cli import options as table_options
from byzsim.experiments.cli import planned
from byzsim.experiments.cli.commands import report
from byzsim.experiments.cli.options import PartOptions, ReportOptions
from byzsim.experiments.cli.output import log
from byzsim.experiments.errors import Incomplete, UserError, counted
from byzsim.experiments.plan.runs import further_fields
from byzsim.experiments.records import folders
from byzsim.experiments.run import devices, interrupt, session
from byzsim.experiments.run.distributed import SINGLE, Processes, join


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(PartOptions, ReportOptions):
    """Carry out every run that has no record yet, then make the report."""

    checkpoint: float = 60.0
    """seconds between checkpoints of unfinished runs, in checkpoints/ of the results folder; 0: after every epoch"""
    strict: bool = False
    """refuse runs with more Byzantine workers than the rule's guarantee covers, instead of a warning"""
    trace: bool = False
    """also record every worker at every step (weight, distance, norm), in a file for each run in traces/: 12 bytes a
    worker and step before compression"""
    devices_per_run: int = 1
    """devices that share one run, for runs too large for one device (floating-point sums are reordered, so results
    differ in the last bits)"""
    distributed: bool = False
    """be one of several processes, each started with this same command: found under SLURM, Kubernetes, Open MPI and on
    TPU pods, otherwise described by the next three options"""
    coordinator: str | None = None
    """HOST:PORT of process 0"""
    num_processes: int | None = None
    """total number of processes"""
    process_id: int | None = None
    """rank of this process, from 0"""


def main(args: list[str]) -> None:
    """Carry out what has no record yet, then make the report."""
    devices.use_all_cores()
    request = table_options.read("run", Run, args)
    captions = report.captions(request)
    devices.keep_compiled()
    with _processes(request.options) as processes:
        failures = carry_out(request, captions, processes, log if processes.is_primary else lambda line: None)
        processes.run_on_all(lambda: _report(request, processes))
    if failures:
        raise Incomplete(failed(request, failures))


def carry_out(
    request: table_options.Request[Run],
    captions: Mapping[str, Any],
    processes: Processes,
    log: Callable[[str], object],
) -> list[records.Record]:
    """Carry out what has no record yet. Return the records of the runs that failed."""
    table, options, folder = request.table, request.options, request.folder
    settings = session.Settings(
        table=table.name,
        quick=options.quick,
        metric=table.metric,
        number=table.number,
        further=further_fields(table),
        data_dir=options.data_dir,
        checkpoint=options.checkpoint,
        devices_per_run=options.devices_per_run,
        strict=options.strict,
        trace=options.trace,
    )
    failures = []
    for part in filter(None, _parts(request, processes)):
        failures += session.run(
            part,
            folder,
            settings,
            on_start=lambda: folders.write(folder, table, quick=options.quick, words=captions),
            processes=processes,
            log=log,
        )
    return failures


def _parts(request: table_options.Request[Run], processes: Processes) -> Iterator[planned.Runs]:
    """The runs; of a table that chooses, first those by which it chooses: the others follow from their records."""
    found: list[records.Record] = []
    if request.table.choose:
        yield processes.run_on_all(lambda: planned.held_out(request))
        found = processes.broadcast(lambda: records.read(request.folder / "runs.jsonl", log))
    yield processes.run_on_all(lambda: planned.main(request, found))


def _report(request: table_options.Request[Run], processes: Processes) -> None:
    if processes.is_primary:
        with interrupt.exit_on_sigint():
            report.write(request, report.recorded(request))


def _processes(options: Run) -> contextlib.AbstractContextManager[Processes]:
    where = (options.coordinator, options.num_processes, options.process_id)
    if options.distributed:
        devices.use_all_cores()
        return join(*where)
    if where != (None, None, None):
        raise UserError("--coordinator, --num-processes and --process-id need --distributed")
    return contextlib.nullcontext(SINGLE)


def failed(request: table_options.Request[Run], failures: Sequence[records.Record]) -> str:
    """Which runs failed, and where to look."""
    folder, further = request.folder, further_fields(request.table)
    names = [records.label(records.key_of(each, further), further) for each in failures]
    lines = "".join(f"\n  {name}: {each['failed']}" for name, each in zip(names, failures, strict=True))
    return (
        f"{counted(len(failures), 'run')} failed; all other runs are recorded. The same command tries again.{lines}\n"
        f"Tracebacks: {folder / 'failures.jsonl'}"
    )
