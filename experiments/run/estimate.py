"""How long a table will still take, from the time it has taken so far."""

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
    """Time left = (programs not begun x mean compile seconds + runs left x mean run seconds) / lanes.

    Each lane works through parts, such as an epoch of a few runs. The first part of a program includes its compilation;
    the later parts give the time of running alone.
    """

    programs: int
    """programs that have not begun"""
    lanes: int = 1
    """parts that are worked on side by side"""
    clock: Callable[[], float] = time.monotonic
    first: _Spent = dataclasses.field(default_factory=_Spent)
    later: _Spent = dataclasses.field(default_factory=_Spent)

    def left(self, runs: float) -> float | None:
        """Seconds for so many runs and for all programs that have not begun. None: nothing is known yet."""
        if self.later.parts:
            seconds = self.later.seconds / self.later.runs
            compiling = max(0.0, self.first.seconds - seconds * self.first.runs) / max(1, self.first.parts)
            return (self.programs * compiling + runs * seconds) / self.lanes
        if self.first.parts > 1:  # programs of one part each: every part includes a compilation
            return runs * self.first.seconds / self.first.runs / self.lanes
        return None

    def text(self, runs: float) -> str:
        """`left` as printed; "" where nothing is known or left."""
        left = self.left(runs) if runs > 0 else None
        if left is None:
            return ""
        return f"about {left / 60:.0f} min left" if left >= 60 else "less than a minute left"


@dataclasses.dataclass
class Timer:
    """The parts of one lane."""

    estimate: Estimate
    compiles: bool = True
    """whether the next part includes a compilation"""
    since: float = 0.0

    def program(self) -> None:
        """Another program begins in this lane."""
        self.compiles = True

    def start(self) -> None:
        """Work begins; the time before does not count."""
        self.since = self.estimate.clock()

    def done(self, runs: float) -> None:
        """A part is done, as much work as `runs` whole runs."""
        now, spent = self.estimate.clock(), self.estimate.first if self.compiles else self.estimate.later
        spent.parts, spent.seconds, spent.runs = spent.parts + 1, spent.seconds + now - self.since, spent.runs + runs
        self.since, self.compiles = now, False
