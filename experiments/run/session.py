"""From a table to its records: what is missing is run, in batches of runs, and recorded as soon as it is done."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from byzsim import History, RunConfig, engine, grid
from byzsim.experiments import records
from byzsim.experiments.datasets import load
from byzsim.experiments.plan import Config, Table, runs
from byzsim.experiments.run import hosts, interrupt, preflight, slow_rules
from byzsim.experiments.run.checkpoints import Checkpoints, Saved, megabytes
from byzsim.experiments.run.display import Display, in_words
from byzsim.experiments.run.estimate import Estimate
from byzsim.experiments.run.executor import Executor, Job
from byzsim.experiments.run.recorder import Recorder
from byzsim.experiments.run.schedule import Schedule


def run(
    table: Table,
    config: Config,
    folder: Path,
    *,
    only: Sequence[str] = (),
    quick: bool = False,
    data_dir: Path | None = None,
    checkpoint: float = 60.0,
    devices_per_run: int = 1,
    strict: bool = False,
    these: Sequence[RunConfig] | None = None,
    begin: Callable[[], object] = lambda: None,
    say: Callable[[str], object] = print,
) -> list[records.Record]:
    """Carry out every run that `folder` has no record of, and record it there; what a killed run had begun is resumed.

    Of several processes (`hosts.session`) all do the same on their own devices, and only the first one uses `folder`.

    Args:
        checkpoint: seconds between the checkpoints of runs in progress; 0: after every epoch.
        devices_per_run: devices that share one run.
        strict: refuse runs beyond their rule's bound; else a warning names them.
        these: run these runs of the table; default: those that `only` leaves.
        begin: called by the process that uses `folder`, when all is checked and before anything is run.
    Returns:
        The runs that failed, as in failures.jsonl.
    Raises:
        UserError: for anything that cannot be run or written, before anything is compiled.
        Incomplete: a finished run cannot be recorded.
        KeyboardInterrupt: with what is recorded and what is saved.
    """
    with contextlib.ExitStack() as held:

        def prepare() -> tuple[Sequence[RunConfig], Recorder, Checkpoints, set[str], int]:
            wanted, done = runs(config, only) if these is None else these, set()
            preflight.devices(wanted, devices_per_run)
            preflight.bounds(wanted, strict, say)
            origin = records.origin()
            made_by = {**origin["versions"], "device": origin["device"], "devices per run": str(devices_per_run)}
            checkpoints = Checkpoints(folder / "checkpoints", made_by, say, checkpoint)
            if hosts.first():
                records.check_writable(folder)
                held.enter_context(records.exclusive(folder))
                done = {record["id"] for record in records.read(folder / "runs.jsonl", say)}
                checkpoints.drop(done)
            data = load(config.data, data_dir=data_dir, say=say)
            d = preflight.fit(wanted, data)
            if hosts.first():
                begin()
            recorder = Recorder(folder, table.name, quick, config.data, data, origin, devices_per_run, say)
            return wanted, recorder, checkpoints, done, d

        wanted, recorder, checkpoints, here, d = hosts.on_all(prepare)
        ids = {recorder.id(run_config): run_config for run_config in wanted}
        versions = repr(recorder.origin["versions"])
        hosts.agree(command=repr((list(ids), devices_per_run)), code=records.code(), versions=versions)
        done = set(hosts.told(lambda: sorted(here)))
        missing = {id: run_config for id, run_config in ids.items() if id not in done}
        say(f"{table.name}: {len(wanted)} runs, {len(wanted) - len(missing)} recorded before, {len(missing)} to run")
        if hosts.first():
            _say_saved(checkpoints, missing, say)
            slow_rules.warn(missing.values(), d, say)
        if missing:
            groups = grid.plan(list(missing.values()), recorder.data.n_classes)
            executor = Executor(recorder.data, devices_per_run, checkpoints)
            display = Display(len(missing), Estimate(programs=len(groups)), say)
            _Session(missing, groups, executor, recorder, checkpoints, display).run()
        return recorder.failures


@dataclasses.dataclass
class _Session:
    """One start of a table: batches of one program after another, each run, resumed or tried again, and recorded."""

    missing: Mapping[str, RunConfig]
    groups: Sequence[grid.Group]
    executor: Executor
    recorder: Recorder
    checkpoints: Checkpoints
    display: Display

    def run(self) -> None:
        """A line for each run, and a bar where somebody is watching."""
        try:
            with interrupt.at_once(self._stopped), self.display:
                for group in self.groups:
                    self.display.estimate.program()
                    self._run_group(group)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._stopped()) from None
        if self.checkpoints.largest:
            self.display.say(f"checkpoints took up to {megabytes(self.checkpoints.largest)} of disk")

    def _run_group(self, group: grid.Group) -> None:
        pairs = zip(group.runs, group.dynamic, strict=True)
        jobs = {
            id: Job(id, run_config, dynamic) for run_config, dynamic in pairs for id in [self.recorder.id(run_config)]
        }
        schedule = Schedule([*jobs], self.executor.lanes())
        try:
            schedule.runs_per_device = self.executor.runs_per_device(group)
        except Exception as error:
            if hosts.lost(error):
                raise
            return self._fail([*jobs.values()], error, schedule)
        while schedule.left:
            batch, saved = self.executor.next(group.static, [jobs[id] for id in schedule.left], schedule.batch)
            try:
                ended = self._train(group.static, batch, saved, schedule.runs_per_device)
            except Exception as error:
                if hosts.lost(error):
                    raise
                if self._again(batch, error, schedule):
                    continue
                self._fail(batch, error, schedule)
            else:
                self._record(batch, *ended, schedule)
            schedule.ended([job.id for job in batch])

    def _train(
        self, static: engine.StaticConfig, batch: Sequence[Job], saved: Sequence[Saved], runs_per_device: int | None
    ) -> tuple[list[History], list[float]]:
        epochs = batch[0].run_config.epochs
        self.display.estimate.start()
        return self.executor.train_batch(
            static, batch, saved, runs_per_device, lambda done: self.display.trained(len(batch), epochs, done)
        )

    def _again(self, batch: Sequence[Job], error: Exception, schedule: Schedule) -> bool:
        halved = schedule.halved
        words = schedule.again([job.id for job in batch], records.reason(error), out_of_memory=_out_of_memory(error))
        if words:
            self.display.say(words)
        self.display.estimate.compiles |= schedule.halved > halved
        return bool(words)

    def _record(
        self, batch: Sequence[Job], histories: Sequence[History], seconds: Sequence[float], schedule: Schedule
    ) -> None:
        self.recorder.results([job.run_config for job in batch], histories, seconds, schedule)
        if hosts.first():
            self.checkpoints.drop({job.id for job in batch})
        for job, history in zip(batch, histories, strict=True):
            diverged = f"diverged in epoch {history.diverged_epoch}"
            self.display.line(job.run_config, diverged if history.diverged else f"{100 * history.accuracy[-1]:.2f} %")

    def _fail(self, batch: Sequence[Job], error: Exception, schedule: Schedule) -> None:
        self.recorder.failed([job.run_config for job in batch], error, schedule)
        for job in batch:
            self.display.line(job.run_config, f"FAILED, {records.reason(error)}")

    def _stopped(self) -> str:
        if not hosts.first():
            return interrupt.WORDS
        saved = _saved(self.checkpoints, self.missing) or "nothing of the runs that were running"
        return (
            f"Stopped. Recorded: {self.display.finished - len(self.recorder.failures)} of {self.display.total} runs. "
            f"Saved: {saved}. The same command goes on from there."
        )


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


NAMED = 4  # runs, in one line


def _saved(checkpoints: Checkpoints, missing: Mapping[str, RunConfig]) -> str:
    """Which of these runs have a checkpoint, after which epoch, and what they take of the disk."""
    epochs = {id: epoch for id, epoch in checkpoints.epochs().items() if id in missing}
    if not epochs:
        return ""
    named = [f"{in_words(missing[id])} after epoch {epoch} of {missing[id].epochs}" for id, epoch in epochs.items()]
    more = f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
    size = megabytes(checkpoints.size(epochs))
    return f"{'; '.join(named[:NAMED])}{more} ({size} in {checkpoints.folder})"


def _say_saved(checkpoints: Checkpoints, missing: Mapping[str, RunConfig], say: Callable[[str], object]) -> None:
    """What is gone on with, and which checkpoints are of other runs."""
    if saved := _saved(checkpoints, missing):
        say(f"going on with {saved}")
    if others := checkpoints.epochs().keys() - missing.keys():
        say(
            f"{checkpoints.folder} also has checkpoints of {len(others)} other runs "
            f"({megabytes(checkpoints.size(others))}), of other seeds, parts or versions: delete what is not wanted"
        )
