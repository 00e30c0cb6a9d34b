"""Which runs of one program are next, together or individually, as batches end and fail: no JAX, file or clock."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence


@dataclasses.dataclass
class Schedule:
    """The pending runs of one program, by their identifiers, and how many run at once."""

    pending: list[str]
    at_once: int
    """runs in a batch, each on devices of its own"""
    runs_per_device: int | None = None
    """runs on each device at once, under vmap; None: one after another"""
    n_halvings: int = 0
    """how often runs_per_device was halved because memory ran out"""
    run_individually: set[str] = dataclasses.field(default_factory=set)
    """runs that failed in a batch with other runs"""
    running: set[str] = dataclasses.field(default_factory=set)
    """runs of batches that have begun; other lanes leave them alone"""

    @property
    def waiting(self) -> list[str]:
        """The pending runs that nobody is working on."""
        return [run for run in self.pending if run not in self.running]

    def next_batch(self, epochs: Mapping[str, int]) -> list[str]:
        """The next waiting runs: those at the most advanced checkpointed epoch, so an interrupted batch forms again.

        Args:
            epochs: the epoch of each run's checkpoint, for the runs that have one.
        """
        furthest = max(epochs.get(run, 0) for run in self.waiting)
        level = [run for run in self.waiting if epochs.get(run, 0) == furthest]
        if level[0] in self.run_individually:
            batch = level[:1]
        else:
            together = [run for run in level if run not in self.run_individually]
            batch = together[: self.at_once * (self.runs_per_device or 1)]
        self.running |= {*batch}
        return batch

    def finish(self, batch: Collection[str]) -> None:
        """Remove the runs of a batch, which are recorded as results or as failures."""
        self.pending = [run for run in self.pending if run not in batch]
        self.running -= {*batch}

    def retry(self, batch: Sequence[str], reason: str, *, out_of_memory: bool) -> str:
        """Plan how a failed batch is tried again and describe it; "" if nothing is left to try.

        Where memory ran out, half as many runs at once; otherwise each run individually, so that one failing run does
        not cost the other runs their results.
        """
        self.running -= {*batch}
        if out_of_memory and self.runs_per_device and self.runs_per_device > 1:
            self.runs_per_device, self.n_halvings = self.runs_per_device // 2, self.n_halvings + 1
            return f"out of memory: from now on each device runs {self.runs_per_device} at once"
        if len(batch) > 1:
            self.run_individually |= {*batch}
            return f"a batch of {len(batch)} runs failed; each run is tried individually: {reason}"
        return ""
