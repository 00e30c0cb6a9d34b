"""The results and failures of runs, appended to runs.jsonl and failures.jsonl, batch by batch."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from byzsim import History, grid
from byzsim.experiments import records
from byzsim.experiments.datasets import Dataset
from byzsim.experiments.errors import Incomplete
from byzsim.experiments.records import traces
from byzsim.experiments.run.display import describe
from byzsim.experiments.run.schedule import Schedule

WRITE_RETRY_SECONDS = 60.0  # how long a failed write is retried: a full disk or a lost folder may come back


@dataclasses.dataclass
class Recorder:
    """What a record holds beside the run and its history; it is the same for all runs of one start."""

    folder: Path
    table: str
    quick: bool
    data_name: str
    data: Dataset
    origin: records.Record
    devices_per_run: int
    writes: bool
    """whether this process writes: the primary does"""
    log: Callable[[str], object]
    failures: list[records.Record] = dataclasses.field(default_factory=list)

    def id(self, run: grid.Run) -> str:
        """The identifier of this run's record."""
        return records.identifier(self.identity(run))

    def identity(self, run: grid.Run) -> records.Record:
        """Everything that decides the run's result."""
        return records.identity(run.config, self.data_name, self.data)

    def results(
        self, runs: Sequence[grid.Run], histories: Sequence[History], seconds: Sequence[float], schedule: Schedule
    ) -> None:
        """Record a batch that has finished."""
        common: dict[str, Any] = {"table": self.table, "quick": self.quick, **self._circumstances(schedule)}
        new = [
            records.record(run, history, decides=self.identity(run), seconds=spent, **common)
            for run, history, spent in zip(runs, histories, seconds, strict=True)
        ]
        self._write_with_retry(lambda: self._write(runs, histories, new), runs)

    def failed(self, runs: Sequence[grid.Run], error: Exception, schedule: Schedule) -> None:
        """Record a batch that has failed."""
        new = [records.failure(self.identity(run), error, **self._circumstances(schedule)) for run in runs]
        self._write_with_retry(lambda: records.append(self.folder / "failures.jsonl", new), runs)
        self.failures += new

    def _circumstances(self, schedule: Schedule) -> dict[str, Any]:
        how = {
            "runs_per_device": schedule.runs_per_device,
            "n_halvings": schedule.n_halvings,
            "devices_per_run": self.devices_per_run,
        }
        return {"origin": self.origin, **how}

    def _write(self, runs: Sequence[grid.Run], histories: Sequence[History], new: Sequence[records.Record]) -> None:
        """The traces first, so that every record with a trace has its file."""
        try:
            for run, history, each in zip(runs, histories, new, strict=True):
                if history.trace is not None:
                    traces.write(self.folder, each["id"], history.trace, run.config.byzantine or ())
        except OSError as error:
            raise Incomplete(f"cannot write {self.folder / traces.FOLDER}: {error.strerror}") from None
        records.append(self.folder / "runs.jsonl", new)

    def _write_with_retry(self, write: Callable[[], None], runs: Sequence[grid.Run]) -> None:
        if not self.writes:
            return None
        began, announced = time.monotonic(), False
        while True:
            try:
                return write()
            except Incomplete as error:
                if time.monotonic() - began >= WRITE_RETRY_SECONDS:
                    lost = "; ".join(describe(run.config) for run in runs)
                    raise Incomplete(
                        f"{error}. Finished but not recorded: {lost}. Earlier records are unchanged. When the folder "
                        "can be written again, the same command continues from the last checkpoints."
                    ) from None
                if not announced:
                    self.log(f"{error}: retrying for {WRITE_RETRY_SECONDS:.0f} seconds")
                announced = True
            time.sleep(0.5)
