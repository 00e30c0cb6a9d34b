"""What came of cells, into runs.jsonl or failures.jsonl: a batch whole, by the first of several processes."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from byzsim import Cell, Curve
from byzsim.experiments import records
from byzsim.experiments.datasets import Dataset
from byzsim.experiments.errors import Incomplete
from byzsim.experiments.run import hosts
from byzsim.experiments.run.display import in_words
from byzsim.experiments.run.schedule import Schedule

PATIENCE = 60.0  # seconds that finished cells wait for a disk or a folder to be written again


@dataclasses.dataclass
class Recorder:
    """Of one start of a table: all that a record says beside the cell and its curve."""

    folder: Path
    table: str
    quick: bool
    data_name: str
    data: Dataset
    origin: records.Record
    per_cell: int
    say: Callable[[str], object]
    failures: list[records.Record] = dataclasses.field(default_factory=list)

    def id(self, cell: Cell) -> str:
        """What a record of this cell is found by."""
        return records.identifier(self.decides(cell))

    def decides(self, cell: Cell) -> records.Record:
        """All that decides the cell's result."""
        return records.identity(cell, self.data_name, self.data)

    def results(self, cells: Sequence[Cell], curves: Sequence[Curve], seconds: Sequence[float], how: Schedule) -> None:
        """Record a batch that has ended."""
        common: dict[str, Any] = {"table": self.table, "quick": self.quick, **self._circumstances(how)}
        new = [
            records.record(cell, curve, decides=self.decides(cell), seconds=spent, **common)
            for cell, curve, spent in zip(cells, curves, seconds, strict=True)
        ]
        self._keep("runs.jsonl", cells, new)

    def failed(self, cells: Sequence[Cell], error: Exception, how: Schedule) -> None:
        """Record a batch that has failed."""
        new = [records.failure(self.decides(cell), error, **self._circumstances(how)) for cell in cells]
        self._keep("failures.jsonl", cells, new)
        self.failures += new

    def _circumstances(self, how: Schedule) -> dict[str, Any]:
        return {"origin": self.origin, "chunk": how.chunk, "halved": how.halved, "per_cell": self.per_cell}

    def _keep(self, name: str, cells: Sequence[Cell], new: Sequence[records.Record]) -> None:
        """Append records; where that cannot be done, again for `PATIENCE` seconds: disks and folders come back."""
        if not hosts.first():
            return None
        began, said = time.monotonic(), False
        while True:
            try:
                return records.append(self.folder / name, new)
            except Incomplete as error:
                if time.monotonic() - began >= PATIENCE:
                    lost = "; ".join(map(in_words, cells))
                    raise Incomplete(
                        f"{error}. Finished but not recorded: {lost}. What was recorded before is as it was. When the "
                        "folder can be written again, the same command goes on from the last checkpoints."
                    ) from None
                if not said:
                    self.say(f"{error}: trying again for {PATIENCE:.0f} seconds")
                said = True
            time.sleep(0.5)
