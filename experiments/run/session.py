"""From a list of runs to their records: the missing runs are trained in batches, and each batch is recorded at once."""

import collections
import contextlib
import dataclasses
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from byzsim import History, RunConfig, grid
from byzsim.engine import StaticConfig
from byzsim.experiments import records
from byzsim.experiments.datasets import load
from byzsim.experiments.errors import UserError, counted
from byzsim.experiments.run import devices, interrupt, preflight, slow_rules
from byzsim.experiments.run.checkpoints import Checkpoint, Checkpoints, megabytes
from byzsim.experiments.run.display import Display, describe
from byzsim.experiments.run.distributed import SINGLE, Processes
from byzsim.experiments.run.estimate import Estimate, Timer
from byzsim.experiments.run.executor import Executor
from byzsim.experiments.run.recorder import Recorder
from byzsim.experiments.run.schedule import Schedule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How a table's runs are executed and recorded; none of it decides results."""

    table: str
    quick: bool = False
    metric: str | None = None
    """which every run has to measure; None: whatever it measures"""
    number: str = "last"
    """of the metric, as in `plan.Table`"""
    further: tuple[str, ...] = ()
    """fields that tell runs apart, beside rule, attack, alpha and seed"""
    data_dir: Path | None = None
    checkpoint: float = 60.0
    """seconds between the checkpoints of unfinished runs; 0: after every epoch"""
    devices_per_run: int = 1
    strict: bool = False
    """refuse runs beyond their rule's bound, instead of a warning that names them"""
    trace: bool = False
    """also record every worker at every step of the runs that are executed"""


class _Part(NamedTuple):
    """The runs on one data set, resolved and checked."""

    runs: list[grid.Run]
    d: int
    """number of parameters, the largest"""
    recorder: Recorder


def run(
    wanted: Sequence[tuple[str, RunConfig]],
    folder: Path,
    settings: Settings,
    *,
    on_start: Callable[[], object] = lambda: None,
    processes: Processes = SINGLE,
    log: Callable[[str], object] = print,
) -> list[records.Record]:
    """Execute every run that `folder` has no record of, and record it there; interrupted runs continue.

    Args:
        wanted: the data set and the configuration of each run.
        on_start: called in the primary process after all checks and before the first run.
        processes: all of them do the same on their own devices; only the primary uses `folder`.
    Returns:
        The records of the runs that failed, as in failures.jsonl.
    Raises:
        UserError: for anything that cannot be executed or written, before anything is compiled; it leaves no folder.
        Incomplete: a finished run cannot be recorded.
        KeyboardInterrupt: with what is recorded and what is saved.
    """
    parts, checkpoints = processes.run_on_all(lambda: _prepare(wanted, folder, settings, processes, log))
    ids = {part.recorder.id(run): run for part in parts for run in part.runs}
    command, versions = repr((list(ids), settings.devices_per_run)), repr(parts[0].recorder.origin["versions"])
    processes.check_consistent(command=command, code=records.code(), versions=versions)
    with contextlib.ExitStack() as stack:
        opened = _opened(folder, checkpoints, on_start, log) if processes.is_primary else contextlib.nullcontext(set())
        here = processes.run_on_all(lambda: stack.enter_context(opened))
        done = set(processes.broadcast(lambda: sorted(here)))
        missing = {id: run for id, run in ids.items() if id not in done}
        recorded = len(ids) - len(missing)
        log(f"{settings.table}: {counted(len(ids), 'run')}, {recorded} recorded before, {len(missing)} to run")
        if settings.trace and recorded:
            log("--trace: runs recorded before stay as they are; with another --results they are run again, traced")
        if processes.is_primary:
            _log_checkpoints(checkpoints, missing, settings.further, log)
        sessions = _sessions(parts, missing, settings, checkpoints, processes, log)
        for each in sessions:
            each.run()
        return [failure for part in parts for failure in part.recorder.failures]


def _sessions(
    parts: Sequence[_Part],
    missing: Mapping[str, grid.Run],
    settings: Settings,
    checkpoints: Checkpoints,
    processes: Processes,
    log: Callable[[str], object],
) -> Iterator["_Session"]:
    """One for each data set of which runs are missing."""
    left = [{id: run for run in part.runs if (id := part.recorder.id(run)) in missing} for part in parts]
    groups = [grid.grouped(each.values()) for each in left]
    its_devices, lanes = devices.lanes(settings.devices_per_run)
    estimate = Estimate(programs=sum(map(len, groups)), lanes=lanes)
    display = Display(len(missing), estimate, log, processes.is_primary, settings.further)
    for part, runs, programs in zip(parts, left, groups, strict=True):
        if runs:
            if processes.is_primary:
                slow_rules.warn((run.config for run in runs.values()), part.d, log)
            executor = Executor(part.recorder.data, its_devices, settings.devices_per_run, checkpoints, processes)
            yield _Session(runs, programs, executor, lanes, part.recorder, checkpoints, display, processes)


def _prepare(
    wanted: Sequence[tuple[str, RunConfig]],
    folder: Path,
    settings: Settings,
    processes: Processes,
    log: Callable[[str], object],
) -> tuple[list[_Part], Checkpoints]:
    """Check everything and load the data, without a trace in the file system."""
    per_run, configs = settings.devices_per_run, [config for _, config in wanted]
    preflight.check_devices(configs, per_run)
    preflight.check_bounds(configs, settings.strict, log)
    origin = records.origin()
    environment = {**origin["versions"], "device": origin["device"], "devices per run": str(per_run)}
    if settings.trace:
        environment |= {"trace": "yes"}  # its checkpoints have traces
    checkpoints = Checkpoints(folder / "checkpoints", environment, log, settings.checkpoint)
    if processes.is_primary:
        records.check_writable(folder)
    parts = []
    for name in dict.fromkeys(name for name, _ in wanted):
        data = load(name, data_dir=settings.data_dir, log=log)
        source = grid.Source() if data.train is None else grid.source_of(data.train, data.n_classes)
        runs = _resolved([config for each, config in wanted if each == name], source)
        runs = [_traced(run) if settings.trace else run for run in runs]
        d = preflight.check_fit(runs, data)
        if settings.metric:
            preflight.check_number(runs, data, settings.metric, settings.number)
        recorder = Recorder(
            folder, settings.table, settings.quick, name, data, origin, per_run, processes.is_primary, log
        )
        parts.append(_Part(runs, d, recorder))
    return parts, checkpoints


def _resolved(wanted: Sequence[RunConfig], source: grid.Source) -> list[grid.Run]:
    try:
        return [grid.resolve(config, source) for config in wanted]
    except ValueError as error:
        raise UserError(str(error)) from None


def _traced(run: grid.Run) -> grid.Run:
    return run._replace(static=dataclasses.replace(run.static, trace=True))


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
class _Program:
    """The runs of one program that have begun, and what is left of them."""

    static: StaticConfig
    runs: Mapping[str, grid.Run]
    schedule: Schedule


@dataclasses.dataclass
class _Session:
    """One start of a table: the batches of all programs are trained, retried or resumed, and recorded.

    Each lane, a thread, works through programs of its own. A lane that finds none helps with the runs of another lane's
    program.
    """

    missing: Mapping[str, grid.Run]
    groups: Sequence[grid.Group]
    executor: Executor
    lanes: int
    recorder: Recorder
    checkpoints: Checkpoints
    display: Display
    processes: Processes
    begun: list[_Program] = dataclasses.field(default_factory=list)
    lock: threading.RLock = dataclasses.field(default_factory=threading.RLock)
    """held where lanes plan, record and print"""

    def run(self) -> None:
        self.left = collections.deque(self.groups)
        try:
            with interrupt.exit_on_sigint(self._stopped), self.display:
                interrupt.in_threads([self._lane] * self.lanes)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._stopped()) from None
        finally:
            with self.lock:  # a lane that still records is waited for
                pass
        if self.checkpoints.peak_bytes:
            self.display.log(f"checkpoints took up to {megabytes(self.checkpoints.peak_bytes)} on disk")

    def _lane(self, check: Callable[[], None]) -> None:
        timer, program = Timer(self.display.estimate), None
        with jax.default_matmul_precision(records.MATMUL):  # an accelerator's default is TF32 or bf16; of each thread
            while program := self._next_program(program, timer):
                self._next_batch(program, timer, check)

    def _next_program(self, last: _Program | None, timer: Timer) -> _Program | None:
        """The last program as long as it has waiting runs, else a new one, else the one with most waiting runs."""
        with self.lock:
            if last and last.schedule.waiting:
                return last
            timer.program()
            while self.left:
                self.display.estimate.programs -= 1
                if program := self._begin(self.left.popleft()):
                    self.begun.append(program)
                    return program
            most = max(self.begun, key=lambda program: len(program.schedule.waiting), default=None)
            return most if most and most.schedule.waiting else None

    def _begin(self, group: grid.Group) -> _Program | None:
        runs = {self.recorder.id(run): run for run in group.runs}
        schedule = Schedule([*runs], self.executor.at_once)
        try:
            schedule.runs_per_device = self.executor.runs_per_device(group)
        except Exception as error:
            if self.processes.is_peer_failure(error):
                raise
            self._record_failure([*runs.values()], error, schedule)
            return None
        return _Program(group.static, runs, schedule)

    def _next_batch(self, program: _Program, timer: Timer, check: Callable[[], None]) -> None:
        schedule = program.schedule
        with self.lock:
            if not schedule.waiting:
                return  # another lane was faster
            waiting = {id: program.runs[id] for id in schedule.waiting}
            batch, resume = self.executor.next(program.static, waiting, schedule.next_batch)
        try:
            results = self._train(program, batch, resume, timer, check)
        except Exception as error:
            if self.processes.is_peer_failure(error):
                raise
            with self.lock:
                check()
                if self._retry([*batch], error, schedule, timer):
                    return
                self._record_failure([*batch.values()], error, schedule)
                schedule.finish([*batch])
        else:
            with self.lock:
                check()
                self.display.batch_done(timer)
                self._record(batch, *results, schedule)
                schedule.finish([*batch])

    def _train(
        self,
        program: _Program,
        batch: Mapping[str, grid.Run],
        resume: Sequence[Checkpoint],
        timer: Timer,
        check: Callable[[], None],
    ) -> tuple[list[History], list[float]]:
        size, epochs = len(batch), next(iter(batch.values())).measurements

        def on_epoch(done: int) -> None:
            with self.lock:
                self.display.epoch_done(timer, size, epochs, done)

        timer.start()
        return self.executor.train_batch(
            program.static, batch, resume, program.schedule.runs_per_device, on_epoch, check
        )

    def _retry(self, batch: Sequence[str], error: Exception, schedule: Schedule, timer: Timer) -> bool:
        before = schedule.n_halvings
        memory = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
        self.display.batch_done(timer)
        message = schedule.retry(batch, records.reason(error), out_of_memory=memory)
        if message:
            self.display.log(message)
        timer.compiles |= schedule.n_halvings > before
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
            self.display.log_result(run.config, diverged if history.diverged else _result(history))

    def _record_failure(self, batch: Sequence[grid.Run], error: Exception, schedule: Schedule) -> None:
        self.recorder.failed(batch, error, schedule)
        for run in batch:
            self.display.log_result(run.config, f"FAILED, {records.reason(error)}")

    def _stopped(self) -> str:
        if not self.processes.is_primary:
            return interrupt.MESSAGE
        saved = _checkpointed(self.checkpoints, self.missing, self.display.further) or "nothing of the unfinished runs"
        return (
            f"Stopped. Recorded: {self.display.finished - len(self.recorder.failures)} of {self.display.total} runs. "
            f"Saved: {saved}. The same command continues from there."
        )


def _result(history: History) -> str:
    """The accuracy at the end, or all metrics of a task without one."""
    if "accuracy" in history.metrics:
        return f"{100 * history.accuracy[-1]:.2f} %"
    return ", ".join(f"{name} {values[-1]:.4g}" for name, values in sorted(history.metrics.items()))


LISTED = 4  # runs that one line names


def _checkpointed(checkpoints: Checkpoints, missing: Mapping[str, grid.Run], further: Sequence[str]) -> str:
    """Which of the missing runs have a checkpoint, after which epoch, and the size of the checkpoints on disk."""
    epochs = {id: epoch for id, epoch in checkpoints.epochs().items() if id in missing}
    if not epochs:
        return ""
    named = [
        f"{describe(missing[id].config, further)} after epoch {epoch} of {missing[id].measurements}"
        for id, epoch in epochs.items()
    ]
    more = f"; and {len(named) - LISTED} more" if len(named) > LISTED else ""
    size = megabytes(checkpoints.size(epochs))
    return f"{'; '.join(named[:LISTED])}{more} ({size} in {checkpoints.folder})"


def _log_checkpoints(
    checkpoints: Checkpoints, missing: Mapping[str, grid.Run], further: Sequence[str], log: Callable[[str], object]
) -> None:
    if resumed := _checkpointed(checkpoints, missing, further):
        log(f"continuing with {resumed}")
    if unused := checkpoints.epochs().keys() - missing.keys():
        log(
            f"{checkpoints.folder} also has checkpoints of {counted(len(unused), 'run')} that this command does not "
            f"include ({megabytes(checkpoints.size(unused))}), such as other seeds or versions. Delete them if they "
            "are not needed."
        )
