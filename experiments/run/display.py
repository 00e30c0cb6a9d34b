"""What a run prints: a line for each finished run, and on a terminal a progress bar with the time left."""

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from byzsim import RunConfig
from byzsim.experiments import records
from byzsim.experiments.run.estimate import Estimate, Timer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


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
    under_way: dict[int, float] = dataclasses.field(default_factory=dict)
    """how much of whole runs each lane has done of its batch"""

    def __enter__(self) -> "Display":
        self.bar: Progress | NotebookBar = NotebookBar() if self.bar_wanted and _in_notebook() else _terminal_bar(self)
        self.bar.start()
        self.task = self.bar.add_task("runs", total=self.total, left="")
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def epoch_done(self, timer: Timer, runs: int, epochs: int, done: int) -> None:
        """A batch of `runs` has finished another epoch, `done` of `epochs`; the timer is that of its lane."""
        timer.done(runs / epochs)
        self.under_way[id(timer)] = runs * done / epochs
        self.show(self.finished + sum(self.under_way.values()))

    def batch_done(self, timer: Timer) -> None:
        """The lane of this timer has nothing under way."""
        self.under_way.pop(id(timer), None)

    def log_result(self, run_config: RunConfig, result: str) -> None:
        """Print that a run has finished, with its result and the time left."""
        self.finished += 1
        left = self.show(self.finished + sum(self.under_way.values()))
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


def _terminal_bar(display: Display) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=Console(stderr=True),
        disable=not (display.bar_wanted and sys.stderr.isatty()),
    )


class NotebookBar:
    """The bar of a notebook, with the methods of `Progress` that are used here. Rich's own needs ipywidgets there."""

    total: float = 0
    last: float = -1.0
    """when it was drawn, in seconds"""

    def start(self) -> None:
        """Put it where the output of the cell is."""
        from IPython.display import display

        self.handle: Any = display({"text/plain": ""}, raw=True, display_id=True)

    def add_task(self, description: str, *, total: float, left: str) -> TaskID:
        """Begin; there is one task."""
        self.total = total
        self.update(TaskID(0), completed=0, left=left)
        return TaskID(0)

    def update(self, task: TaskID, *, completed: float, left: str) -> None:
        """Draw it, at most five times a second; and the end in any case."""
        now = time.monotonic()
        if now - self.last < 0.2 and completed < self.total:
            return
        self.last = now
        text = f"{completed:.1f}".removesuffix(".0") + f" of {self.total:g} runs" + (f", {left}" if left else "")
        html = f'<progress max="{self.total}" value="{completed}" style="width: 20em"></progress> {text}'
        self.handle.update({"text/plain": text, "text/html": html}, raw=True)

    def stop(self) -> None:
        """The last state stays."""


def _in_notebook() -> bool:
    """Whether the shell is that of a Jupyter kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def describe(run_config: RunConfig, further: Sequence[str] = ()) -> str:
    """A run as printed; `further` are fields that tell it from others, beside rule, attack, alpha and seed."""
    known = run_config.as_dict()
    return records.label(records.key_of(known, further), further)
