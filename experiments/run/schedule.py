"""Which runs of a program are run next, side by side or alone, as batches end and fail: no JAX, file or clock."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence


@dataclasses.dataclass
class Schedule:
    """What is left of the runs of one program, by their identifiers, and how many are run at once."""

    left: list[str]
    lanes: int
    """runs that the devices run side by side, each on its own devices"""
    runs_per_device: int | None = None
    """runs at once in each lane, under vmap; None: one after another"""
    halved: int = 0
    """how often runs_per_device was, since memory ran out"""
    alone: set[str] = dataclasses.field(default_factory=set)
    """runs that failed beside others"""

    def batch(self, epochs: Mapping[str, int]) -> list[str]:
        """The next runs, of those that stand at one epoch the furthest: so a killed batch is put together as it was.

        Args:
            epochs: after how many each run has a checkpoint, where it has one.
        """
        furthest = max(epochs.get(run_id, 0) for run_id in self.left)
        level = [run_id for run_id in self.left if epochs.get(run_id, 0) == furthest]
        if level[0] in self.alone:
            return level[:1]
        return [run_id for run_id in level if run_id not in self.alone][: self.lanes * (self.runs_per_device or 1)]

    def ended(self, batch: Collection[str]) -> None:
        """These runs are recorded, with what came of them or as failed."""
        self.left = [run_id for run_id in self.left if run_id not in batch]

    def again(self, batch: Sequence[str], why: str, *, out_of_memory: bool) -> str:
        """How the runs of a batch that failed are tried again, in words; "" if no other way is left.

        Where memory ran out, half as many runs at once; else each run alone, so that one costs no other its result.
        """
        if out_of_memory and self.runs_per_device and self.runs_per_device > 1:
            self.runs_per_device, self.halved = self.runs_per_device // 2, self.halved + 1
            return f"out of memory: from here on {self.runs_per_device} runs at once on each device"
        if len(batch) > 1:
            self.alone |= {*batch}
            return f"{len(batch)} runs failed together, each is tried alone: {why}"
        return ""
