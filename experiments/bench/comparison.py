"""One comparison: ours against another on the same work, with its target."""

import dataclasses
from typing import Any, Literal

from byzsim.experiments.bench.timing import Timing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What was measured. At least one of the two sides may be a time."""

    part: str
    """steps, gradients, rules, attacks, memory, start"""
    what: str
    shape: str
    sense: Literal[">=", "<="]
    """">=": ratio = other's time / ours, the larger the better; "<=": ratio = ours / other's"""
    other: str
    """what ours is compared with"""
    ours: Timing | None = None
    theirs: Timing | None = None
    measured: float | None = None
    """the ratio where it does not come from two times"""
    target: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        if self.measured is not None or self.ours is None or self.theirs is None:
            return self.measured
        quick, slow = (self.ours, self.theirs) if self.sense == ">=" else (self.theirs, self.ours)
        return slow.ms / quick.ms

    @property
    def met(self) -> bool | None:
        """None without a target, or where nothing could be measured."""
        if self.target is None or self.ratio is None:
            return None
        return self.ratio >= self.target if self.sense == ">=" else self.ratio <= self.target

    def record(self) -> dict[str, Any]:
        """As plain JSON values; times in milliseconds, spreads as a fraction of the median."""
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
            "spread": _rounded(max((side.spread for side in (self.ours, self.theirs) if side), default=None)),
            "n": min((side.n for side in (self.ours, self.theirs) if side), default=None),
            "note": self.note,
        }

    def line(self) -> str:
        """For the terminal."""
        ratio = "-" if self.ratio is None else f"{self.ratio:.3g}"
        aim = "" if self.target is None else f" (target {self.sense} {self.target:g})"
        word = {None: "", True: "", False: " MISSED"}[self.met]
        times = "" if self.ours is None else f"{self.ours.ms:.3g} ms"
        theirs = "" if self.theirs is None else f", {self.other} {self.theirs.ms:.3g} ms"
        return f"{self.part}: {self.what}, {self.shape}: {times}{theirs}; ratio {ratio}{aim}{word} {self.note}".rstrip()


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
