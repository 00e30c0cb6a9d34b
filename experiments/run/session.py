"""From a list of runs to their records: the missing runs are trained in batches, and each batch is recorded at once."""

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

from byzsim import History, RunConfig, grid
from byzsim.engine import StaticConfig
from byzsim.experiments import records
from byzsim.experiments.datasets import load
from byzsim.experiments.errors import UserError, counted
from byzsim.experiments.run import interrupt, preflight, slow_rules
from byzsim.experiments.run.checkpoints import Checkpoint, Checkpoints, megabytes
from byzsim.experiments.run.display import Display, describe
from byzsim.experiments.run.distributed import SINGLE, Processes
from byzsim.experiments.run.estimate import Estimate
from byzsim.experiments.run.executor import Executor
from byzsim.experiments.run.recorder import Recorder
from byzsim.experiments.run.schedule import Schedule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How a table's runs are executed and recorded. Only `data` decides results."""

    table: str
    data: str
    quick: bool = False
    data_dir: Path | None = None
    checkpoint: float = 60.0
    """seconds between the checkpoints of unfinished runs; 0: after every epoch"""
    devices_per_run: int = 1
    strict: bool = False
    """refuse runs beyond their rule's bound, instead of a warning that names them"""


def run(
    wanted: Sequence[RunConfig],
    folder: Path,
    settings: Settings,
    *,
    on_start: Callable[[], object] = lambda: None,
    processes: Processes = SINGLE,
    log: Callable[[str], object] = print,
) -> list[records.Record]:
    """Execute every run that `folder` has no record of, and record it there; interrupted runs continue.

    Args:
        on_start: called in the primary process after all checks and before the first run.
        processes: all of them do the same on their own devices; only the primary uses `folder`.
    Returns:
        The records of the runs that failed, as in failures.jsonl.
    Raises:
        UserError: for anything that cannot be executed or written, before anything is compiled; it leaves no folder.
        Incomplete: a finished run cannot be recorded.
        KeyboardInterrupt: with what is recorded and what is saved.
    """
    runs, d, recorder, checkpoints = processes.run_on_all(lambda: _prepare(wanted, folder, settings, processes, log))
    ids = {recorder.id(run): run for run in runs}
    command, versions = repr((list(ids), settings.devices_per_run)), repr(recorder.origin["versions"])
    processes.check_consistent(command=command, code=records.code(), versions=versions)
    with contextlib.ExitStack() as stack:
        opened = _opened(folder, checkpoints, on_start, log) if processes.is_primary else contextlib.nullcontext(set())
        here = processes.run_on_all(lambda: stack.enter_context(opened))
        done = set(processes.broadcast(lambda: sorted(here)))
        missing = {id: run for id, run in ids.items() if id not in done}
        recorded = len(runs) - len(missing)
        log(f"{settings.table}: {counted(len(runs), 'run')}, {recorded} recorded before, {len(missing)} to run")
        if processes.is_primary:
            _log_checkpoints(checkpoints, missing, log)
            slow_rules.warn((run.config for run in missing.values()), d, log)
        if missing:
            groups = grid.grouped(missing.values())
            executor = Executor(recorder.data, settings.devices_per_run, checkpoints, processes)
            display = Display(len(missing), Estimate(programs=len(groups)), log, bar_wanted=processes.is_primary)
            _Session(missing, groups, executor, recorder, checkpoints, display, processes).run()
        return recorder.failures


def _prepare(
    wanted: Sequence[RunConfig], folder: Path, settings: Settings, processes: Processes, log: Callable[[str], object]
) -> tuple[list[grid.Run], int, Recorder, Checkpoints]:
    """Check everything and load the data, without a trace in the file system.

    Returns:
        The resolved runs, their number of parameters, and what records them.
    """
    per_run = settings.devices_per_run
    preflight.check_devices(wanted, per_run)
    preflight.check_bounds(wanted, settings.strict, log)
    origin = records.origin()
    environment = {**origin["versions"], "device": origin["device"], "devices per run": str(per_run)}
    checkpoints = Checkpoints(folder / "checkpoints", environment, log, settings.checkpoint)
    if processes.is_primary:
        records.check_writable(folder)
    data = load(settings.data, data_dir=settings.data_dir, log=log)
    source = grid.Source() if data.train is None else grid.source_of(data.train, data.n_classes)
    runs = _resolved(wanted, source)
    d = preflight.check_fit(runs, data)
    names = settings.table, settings.quick, settings.data
    return runs, d, Recorder(folder, *names, data, origin, per_run, processes.is_primary, log), checkpoints


def _resolved(wanted: Sequence[RunConfig], source: grid.Source) -> list[grid.Run]:
    try:
        return [grid.resolve(config, source) for config in wanted]
    except ValueError as error:
        raise UserError(str(error)) from None


@contextlib.contextmanager
def _opened(
    folder: Path, checkpoints: Checkpoints, on_start: Callable[[], object], log: Callable[[str], object]
) -> Generator[set[str]]:
    """Lock the folder. Yield the identifiers of the recorded runs, whose checkpoints are no longer needed."""
    with records.exclusive(folder):
        done = {record["id"] for record in records.read(folder / "runs.jsonl", log)}
        checkpoints.drop(done)
        on_start()
        yield done


@dataclasses.dataclass
class _Session:
    """One start of a table: the batches of one program after another are trained, retried or resumed, and recorded."""

    missing: Mapping[str, grid.Run]
    groups: Sequence[grid.Group]
    executor: Executor
    recorder: Recorder
    checkpoints: Checkpoints
    display: Display
    processes: Processes

    def run(self) -> None:
        try:
            with interrupt.exit_on_sigint(self._stopped), self.display:
                for group in self.groups:
                    self.display.estimate.program()
                    self._run_group(group)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._stopped()) from None
        if self.checkpoints.peak_bytes:
            self.display.log(f"checkpoints took up to {megabytes(self.checkpoints.peak_bytes)} on disk")

    def _run_group(self, group: grid.Group) -> None:
        runs = {self.recorder.id(run): run for run in group.runs}
        schedule = Schedule([*runs], self.executor.lanes())
        try:
            schedule.runs_per_device = self.executor.runs_per_device(group)
        except Exception as error:
            if self.processes.is_peer_failure(error):
                raise
            return self._record_failure([*runs.values()], error, schedule)
        while schedule.pending:
            pending = {id: runs[id] for id in schedule.pending}
            batch, resume = self.executor.next(group.static, pending, schedule.next_batch)
            try:
                results = self._train(group.static, batch, resume, schedule.runs_per_device)
            except Exception as error:
                if self.processes.is_peer_failure(error):
                    raise
                if self._retry([*batch], error, schedule):
                    continue
                self._record_failure([*batch.values()], error, schedule)
            else:
                self._record(batch, *results, schedule)
            schedule.finish([*batch])

    def _train(
        self,
        static: StaticConfig,
        batch: Mapping[str, grid.Run],
        resume: Sequence[Checkpoint],
        runs_per_device: int | None,
    ) -> tuple[list[History], list[float]]:
        size, epochs = len(batch), next(iter(batch.values())).measurements
        self.display.estimate.start()
        return self.executor.train_batch(
            static, batch, resume, runs_per_device, lambda done: self.display.epoch_done(size, epochs, done)
        )

    def _retry(self, batch: Sequence[str], error: Exception, schedule: Schedule) -> bool:
        before = schedule.n_halvings
        memory = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
        message = schedule.retry(batch, records.reason(error), out_of_memory=memory)
        if message:
            self.display.log(message)
        self.display.estimate.compiles |= schedule.n_halvings > before
        return bool(message)

    def _record(
        self,
        batch: Mapping[str, grid.Run],
        histories: Sequence[History],
        seconds: Sequence[float],
        schedule: Schedule,
    ) -> None:
        self.recorder.results([*batch.values()], histories, seconds, schedule)
        if self.processes.is_primary:
            self.checkpoints.drop(batch.keys())
        for run, history in zip(batch.values(), histories, strict=True):
            diverged = f"diverged in epoch {history.diverged_epoch}"
            self.display.log_result(run.config, diverged if history.diverged else f"{100 * history.accuracy[-1]:.2f} %")

    def _record_failure(self, batch: Sequence[grid.Run], error: Exception, schedule: Schedule) -> None:
        self.recorder.failed(batch, error, schedule)
        for run in batch:
            self.display.log_result(run.config, f"FAILED, {records.reason(error)}")

    def _stopped(self) -> str:
        if not self.processes.is_primary:
            return interrupt.MESSAGE
        saved = _checkpointed(self.checkpoints, self.missing) or "nothing of the unfinished runs"
        return (
            f"Stopped. Recorded: {self.display.finished - len(self.recorder.failures)} of {self.display.total} runs. "
            f"Saved: {saved}. The same command continues from there."
        )


LISTED = 4  # runs that one line names


def _checkpointed(checkpoints: Checkpoints, missing: Mapping[str, grid.Run]) -> str:
    """Which of the missing runs have a checkpoint, after which epoch, and the size of the checkpoints on disk."""
    epochs = {id: epoch for id, epoch in checkpoints.epochs().items() if id in missing}
    if not epochs:
        return ""
    named = [
        f"{describe(missing[id].config)} after epoch {epoch} of {missing[id].measurements}"
        for id, epoch in epochs.items()
    ]
    more = f"; and {len(named) - LISTED} more" if len(named) > LISTED else ""
    size = megabytes(checkpoints.size(epochs))
    return f"{'; '.join(named[:LISTED])}{more} ({size} in {checkpoints.folder})"


def _log_checkpoints(checkpoints: Checkpoints, missing: Mapping[str, grid.Run], log: Callable[[str], object]) -> None:
    if resumed := _checkpointed(checkpoints, missing):
        log(f"continuing with {resumed}")
    if unused := checkpoints.epochs().keys() - missing.keys():
        log(
            f"{checkpoints.folder} also has checkpoints of {counted(len(unused), 'run')} that this command does not "
            f"include ({megabytes(checkpoints.size(unused))}), such as other seeds or versions. Delete them if they "
            "are not needed."
        )
