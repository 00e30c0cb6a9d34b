"""What came of runs, into runs.jsonl or failures.jsonl: a batch whole, by the first of several processes."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from byzsim import History, RunConfig
from byzsim.experiments import records
from byzsim.experiments.datasets import Dataset
from byzsim.experiments.errors import Incomplete
from byzsim.experiments.run import hosts
from byzsim.experiments.run.display import in_words
from byzsim.experiments.run.schedule import Schedule

PATIENCE = 60.0  # seconds that finished runs wait for a disk or a folder to be written again


@dataclasses.dataclass
class Recorder:
    """Of one start of a table: all that a record says beside the run and its curve."""

    folder: Path
    table: str
    quick: bool
    data_name: str
    data: Dataset
    origin: records.Record
    devices_per_run: int
    say: Callable[[str], object]
    failures: list[records.Record] = dataclasses.field(default_factory=list)

    def id(self, run_config: RunConfig) -> str:
        """What a record of this run is found by."""
        return records.identifier(self.decides(run_config))

    def decides(self, run_config: RunConfig) -> records.Record:
        """All that decides the run's result."""
        return records.identity(run_config, self.data_name, self.data)

    def results(
        self, runs: Sequence[RunConfig], histories: Sequence[History], seconds: Sequence[float], how: Schedule
    ) -> None:
        """Record a batch that has ended."""
        common: dict[str, Any] = {"table": self.table, "quick": self.quick, **self._circumstances(how)}
        new = [
            records.record(run_config, history, decides=self.decides(run_config), seconds=spent, **common)
            for run_config, history, spent in zip(runs, histories, seconds, strict=True)
        ]
        self._keep("runs.jsonl", runs, new)

    def failed(self, runs: Sequence[RunConfig], error: Exception, how: Schedule) -> None:
        """Record a batch that has failed."""
        new = [records.failure(self.decides(run_config), error, **self._circumstances(how)) for run_config in runs]
        self._keep("failures.jsonl", runs, new)
        self.failures += new

    def _circumstances(self, how: Schedule) -> dict[str, Any]:
        return {
            "origin": self.origin,
            "runs_per_device": how.runs_per_device,
            "halved": how.halved,
            "devices_per_run": self.devices_per_run,
        }

    def _keep(self, name: str, runs: Sequence[RunConfig], new: Sequence[records.Record]) -> None:
        """Append records; where that cannot be done, again for `PATIENCE` seconds: disks and folders come back."""
        if not hosts.first():
            return None
        began, said = time.monotonic(), False
        while True:
            try:
                return records.append(self.folder / name, new)
            except Incomplete as error:
                if time.monotonic() - began >= PATIENCE:
                    lost = "; ".join(map(in_words, runs))
                    raise Incomplete(
                        f"{error}. Finished but not recorded: {lost}. What was recorded before is as it was. When the "
                        "folder can be written again, the same command goes on from the last checkpoints."
                    ) from None
                if not said:
                    self.say(f"{error}: trying again for {PATIENCE:.0f} seconds")
                said = True
            time.sleep(0.5)
