"""Interleaved timing of candidates, and the comparison of two of them.

Candidates take turns, so that a busy minute of the machine affects all of them.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

Candidate = Callable[[int], float]
"""number of calls -> their seconds"""


class Timing(NamedTuple):
    """A candidate's time for one call."""

    ms: float
    """median over the samples"""
    spread: float
    """interquartile range over the median; 0 for a single sample"""
    n: int
    """samples"""


class Failed(Exception):
    """Raised when a candidate cannot run; the message is the candidate's own error."""


class Budget(NamedTuple):
    """How long to measure."""

    samples: int = 15
    """of each candidate, at most"""
    seconds: float = 6.0
    """for all samples of one comparison, roughly; each candidate gets at least one sample"""
    min_sample: float = 0.02
    """seconds that a sample lasts at least; a short call is repeated within the sample"""


def local(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> Candidate:
    """A candidate in this process. A first call compiles it; every call is waited for."""
    jax.block_until_ready(call())

    def seconds(n: int) -> float:
        start = clock()
        for _ in range(n):
            jax.block_until_ready(call())
        return clock() - start

    return seconds


def interleaved(candidates: Mapping[str, Candidate], budget: Budget) -> tuple[dict[str, Timing], dict[str, str]]:
    """Return (time of one call of each candidate, reasons of those that failed). First calls do not count.

    A candidate whose call takes more than its part of `budget.seconds` is measured by that one call.
    """
    part = budget.seconds / len(candidates)
    first, failures = _first_calls(candidates, part)
    repeat = {name: int(np.clip(np.ceil(budget.min_sample / max(t, 1e-9)), 1, 1000)) for name, t in first.items()}
    rounds = {name: int(np.clip(part / (t * repeat[name]), 0, budget.samples)) for name, t in first.items()}
    taken: dict[str, list[float]] = {name: [] for name in first}
    for i in range(max(rounds.values(), default=0)):
        for name in first:
            if i < rounds[name]:
                taken[name].append(candidates[name](repeat[name]) / repeat[name])
    return {name: _timing(taken[name] or [first[name]]) for name in first}, failures


def _first_calls(candidates: Mapping[str, Candidate], part: float) -> tuple[dict[str, float], dict[str, str]]:
    """(seconds of one call, of the second call if the first was short enough; reasons of failures)"""
    first: dict[str, float] = {}
    failures: dict[str, str] = {}
    for name, candidate in candidates.items():
        try:
            cold = candidate(1)
            first[name] = cold if cold > part else candidate(1)
        except Failed as reason:
            failures[name] = str(reason)
    return first, failures


def _timing(seconds: list[float]) -> Timing:
    low, middle, high = np.percentile(seconds, [25, 50, 75])
    return Timing(1000 * float(middle), float((high - low) / middle), len(seconds))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Our time compared with another time for the same work, with its target."""

    part: str
    """steps, gradients, lanes, rules"""
    what: str
    shape: str
    sense: Literal[">=", "<="]
    """">=": ratio = other time / ours, larger is better; "<=": ratio = ours / other time, smaller is better"""
    other: str
    """name of the other candidate"""
    ours: Timing | None = None
    theirs: Timing | None = None
    target: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """None where one of the times is missing."""
        if self.ours is None or self.theirs is None:
            return None
        quick, slow = (self.ours, self.theirs) if self.sense == ">=" else (self.theirs, self.ours)
        return slow.ms / quick.ms

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or a ratio."""
        if self.target is None or self.ratio is None:
            return None
        return self.ratio >= self.target if self.sense == ">=" else self.ratio <= self.target

    def record(self) -> dict[str, Any]:
        """JSON values; times in milliseconds, spreads as a fraction of the median."""
        return {
            "part": self.part,
            "what": self.what,
            "shape": self.shape,
            "ours_ms": _rounded(self.ours and self.ours.ms),
            "other": self.other,
            "other_ms": _rounded(self.theirs and self.theirs.ms),
            "ratio": _rounded(self.ratio),
            "sense": self.sense,
            "target": self.target,
            "met": self.met,
            "spread": _rounded(max((each.spread for each in (self.ours, self.theirs) if each), default=None)),
            "n": min((each.n for each in (self.ours, self.theirs) if each), default=None),
            "note": self.note,
        }

    def line(self) -> str:
        """One line for the terminal."""
        ratio = "-" if self.ratio is None else f"{self.ratio:.3g}"
        aim = "" if self.target is None else f" (target {self.sense} {self.target:g})"
        word = {None: "", True: "", False: " MISSED"}[self.met]
        times = "" if self.ours is None else f"{self.ours.ms:.3g} ms"
        theirs = "" if self.theirs is None else f", {self.other} {self.theirs.ms:.3g} ms"
        return f"{self.part}: {self.what}, {self.shape}: {times}{theirs}; ratio {ratio}{aim}{word} {self.note}".rstrip()


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
