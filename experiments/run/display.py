"""What a run says as runs end: a line for each, and a bar with the time left where somebody is watching."""

import dataclasses
import sys
from collections.abc import Callable

from byzsim import RunConfig
from byzsim.experiments.run import hosts
from byzsim.experiments.run.estimate import Estimate
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@dataclasses.dataclass
class Display:
    """Of so many runs in so many programs; to be entered, as the bar is drawn until it is left."""

    total: int
    estimate: Estimate
    say: Callable[[str], object]
    finished: int = 0
    """runs, failed ones among them"""

    def __enter__(self) -> "Display":
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
            disable=not (sys.stderr.isatty() and hosts.first()),
        )
        self.bar.start()
        self.task = self.bar.add_task("runs", total=self.total, left="")
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def trained(self, runs: int, epochs: int, done: int) -> None:
        """So many runs side by side have done an epoch, as many of `epochs` as `done`."""
        self.estimate.done(runs / epochs)
        self.show(self.finished + runs * done / epochs)

    def line(self, run_config: RunConfig, result: str) -> None:
        """A run has come to its end."""
        self.finished += 1
        left = self.show(self.finished)
        self.say("; ".join(filter(None, [f"[{self.finished}/{self.total}] {in_words(run_config)}: {result}", left])))

    def show(self, done: float) -> str:
        """On the bar, with the time left, which is returned as printed."""
        left = self.estimate.words(self.total - done)
        self.bar.update(self.task, completed=done, left=left)
        return left


def in_words(run_config: RunConfig) -> str:
    """A run as printed."""
    return f"{run_config.rule}, {run_config.attack}, alpha {run_config.alpha:g}, seed {run_config.seed}"
