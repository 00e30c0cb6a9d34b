"""What a run says as cells end: a line for each, and a bar with the time left where somebody is watching."""

import dataclasses
import sys
from collections.abc import Callable

from byzsim import Cell
from byzsim.experiments.run import hosts
from byzsim.experiments.run.estimate import Estimate
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@dataclasses.dataclass
class Display:
    """Of so many cells in so many programs; to be entered, as the bar is drawn until it is left."""

    total: int
    estimate: Estimate
    say: Callable[[str], object]
    finished: int = 0
    """cells, failed ones among them"""

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
        self.task = self.bar.add_task("cells", total=self.total, left="")
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def trained(self, cells: int, epochs: int, done: int) -> None:
        """So many cells side by side have done an epoch, as many of `epochs` as `done`."""
        self.estimate.done(cells / epochs)
        self.show(self.finished + cells * done / epochs)

    def line(self, cell: Cell, result: str) -> None:
        """A cell has come to its end."""
        self.finished += 1
        left = self.show(self.finished)
        self.say("; ".join(filter(None, [f"[{self.finished}/{self.total}] {in_words(cell)}: {result}", left])))

    def show(self, done: float) -> str:
        """On the bar, with the time left, which is returned as printed."""
        left = self.estimate.words(self.total - done)
        self.bar.update(self.task, completed=done, left=left)
        return left


def in_words(cell: Cell) -> str:
    """A cell as printed."""
    return f"{cell.rule}, {cell.attack}, alpha {cell.alpha:g}, seed {cell.seed}"
