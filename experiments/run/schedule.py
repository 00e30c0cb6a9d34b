"""Which cells of a program are run next, side by side or alone, as batches end and fail: no JAX, file or clock."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence


@dataclasses.dataclass
class Schedule:
    """What is left of the cells of one program, by their identifiers, and how many are run at once."""

    left: list[str]
    lanes: int
    """cells that the devices run side by side, each on its own devices"""
    chunk: int | None = None
    """cells at once in each lane, under vmap; None: one after another"""
    halved: int = 0
    """how often the chunk was, since memory ran out"""
    alone: set[str] = dataclasses.field(default_factory=set)
    """cells that failed beside others"""

    def batch(self, epochs: Mapping[str, int]) -> list[str]:
        """The next cells, of those that stand at one epoch the furthest: so a killed batch is put together as it was.

        Args:
            epochs: after how many each cell has a checkpoint, where it has one.
        """
        furthest = max(epochs.get(cell, 0) for cell in self.left)
        level = [cell for cell in self.left if epochs.get(cell, 0) == furthest]
        if level[0] in self.alone:
            return level[:1]
        return [cell for cell in level if cell not in self.alone][: self.lanes * (self.chunk or 1)]

    def ended(self, batch: Collection[str]) -> None:
        """These cells are recorded, with what came of them or as failed."""
        self.left = [cell for cell in self.left if cell not in batch]

    def again(self, batch: Sequence[str], why: str, *, out_of_memory: bool) -> str:
        """How the cells of a batch that failed are tried again, in words; "" if no other way is left.

        Where memory ran out, half as many cells at once; else each cell alone, so that one costs no other its result.
        """
        if out_of_memory and self.chunk and self.chunk > 1:
            self.chunk, self.halved = self.chunk // 2, self.halved + 1
            return f"out of memory: from here on {self.chunk} cells at once on each device"
        if len(batch) > 1:
            self.alone |= {*batch}
            return f"{len(batch)} cells failed together, each is tried alone: {why}"
        return ""
