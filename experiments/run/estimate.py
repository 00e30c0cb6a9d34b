"""How long a run will still take, from what it took so far."""

import dataclasses
import time
from collections.abc import Callable


@dataclasses.dataclass
class _Spent:
    parts: int = 0
    seconds: float = 0.0
    runs: float = 0.0


@dataclasses.dataclass
class Estimate:
    """Time left = programs not begun x mean seconds of compiling + runs left x mean seconds of running.

    Work comes in parts, such as an epoch of a few runs. The first part of a program takes its compiling with it; from
    all other parts follows what running takes.
    """

    programs: int
    """not begun"""
    clock: Callable[[], float] = time.monotonic
    first: _Spent = dataclasses.field(default_factory=_Spent)
    later: _Spent = dataclasses.field(default_factory=_Spent)
    compiles: bool = True
    """the next part compiles"""
    since: float = 0.0

    def program(self) -> None:
        """Another one begins."""
        self.programs, self.compiles = self.programs - 1, True

    def start(self) -> None:
        """Of work; what went before does not count."""
        self.since = self.clock()

    def done(self, runs: float) -> None:
        """A part is done, as much work as so many whole runs."""
        now, spent = self.clock(), self.first if self.compiles else self.later
        spent.parts, spent.seconds, spent.runs = spent.parts + 1, spent.seconds + now - self.since, spent.runs + runs
        self.since, self.compiles = now, False

    def left(self, runs: float) -> float | None:
        """Seconds for so many runs and all programs not begun. None: nothing is known yet."""
        if self.later.parts:
            run = self.later.seconds / self.later.runs
            compiling = max(0.0, self.first.seconds - run * self.first.runs) / max(1, self.first.parts)
            return self.programs * compiling + runs * run
        if self.first.parts > 1:  # programs of a single part each: compiling is in every one
            return runs * self.first.seconds / self.first.runs
        return None

    def words(self, runs: float) -> str:
        """`left`, as printed; "" where there is nothing to say."""
        left = self.left(runs) if runs > 0 else None
        if left is None:
            return ""
        return f"about {left / 60:.0f} min left" if left >= 60 else "less than a minute left"
