"""What a run prints: a line for each finished run, and on a terminal a progress bar with the time left."""

import dataclasses
import sys
from collections.abc import Callable, Sequence

from byzsim import RunConfig
from byzsim.experiments import records
from byzsim.experiments.run.estimate import Estimate
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@dataclasses.dataclass
class Display:
    """The progress of `total` runs. A context manager: the bar is drawn within it."""

    total: int
    estimate: Estimate
    log: Callable[[str], object]
    bar_wanted: bool = True
    further: Sequence[str] = ()
    """fields that tell runs apart, beside rule, attack, alpha and seed"""
    finished: int = 0
    """runs, failed ones included"""

    def __enter__(self) -> "Display":
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
            disable=not (self.bar_wanted and sys.stderr.isatty()),
        )
        self.bar.start()
        self.task = self.bar.add_task("runs", total=self.total, left="")
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def epoch_done(self, runs: int, epochs: int, done: int) -> None:
        """A batch of `runs` has finished another epoch, `done` of `epochs`."""
        self.estimate.done(runs / epochs)
        self.show(self.finished + runs * done / epochs)

    def log_result(self, run_config: RunConfig, result: str) -> None:
        """Print that a run has finished, with its result and the time left."""
        self.finished += 1
        left = self.show(self.finished)
        self.log(
            "; ".join(
                filter(None, [f"[{self.finished}/{self.total}] {describe(run_config, self.further)}: {result}", left])
            )
        )

    def show(self, done: float) -> str:
        """Move the bar to `done` runs; return the time left as printed."""
        left = self.estimate.text(self.total - done)
        self.bar.update(self.task, completed=done, left=left)
        return left


def describe(run_config: RunConfig, further: Sequence[str] = ()) -> str:
    """A run as printed; `further` are fields that tell it from others, beside rule, attack, alpha and seed."""
    known = run_config.as_dict()
    return records.label(records.key_of(known, further), further)
