"""Pictures of the pages as SVG that follows the page's colours, light or dark."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from byzsim.experiments.site.facts import Facts, time_text
from byzsim.experiments.site.markup import esc

LEFT, RIGHT, ABOVE, BELOW = 58, 14, 12, 42
LETTER, LINE = 7.2, 12.0  # about the size of a letter of a name
Point = tuple[float, float]


class Mark(NamedTuple):
    """A point with a name."""

    name: str
    x: float
    y: float
    text: str
    """on hover"""
    address: str = ""
    """where it leads"""


class Axis(NamedTuple):
    """The scale of one side of a picture."""

    label: str
    low: float
    high: float
    log: bool = False
    step: int = 20
    """between the ticks of a scale that is not logarithmic"""

    def share(self, value: float) -> float:
        """Where a value stands, from 0 to 1."""
        ends = [math.log10(each) if self.log else each for each in (self.low, self.high, value)]
        return (ends[2] - ends[0]) / ((ends[1] - ends[0]) or 1.0)

    def ticks(self) -> list[float]:
        """Powers of ten, with 2 and 5 times them if they are few; or multiples of the step."""
        if self.log:
            steps = (1, 2, 5) if self.high < 300 * self.low else (1,)
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            every = [step * 10.0**power for power in powers for step in steps]
        else:
            every = [float(tick) for tick in range(-100, 101) if tick % self.step == 0]
        return [tick for tick in every if self.low <= tick * (1 + 1e-9) and tick <= self.high * (1 + 1e-9)]


class Frame(NamedTuple):
    """Two axes and the size of the picture."""

    x: Axis
    y: Axis
    width: int = 360
    height: int = 250

    def place(self, point: Point) -> Point:
        """Where a point stands in the picture."""
        across, up = self.x.share(point[0]), self.y.share(point[1])
        return (
            LEFT + across * (self.width - LEFT - RIGHT),
            self.height - BELOW - up * (self.height - ABOVE - BELOW),
        )

    def svg(self, inside: Iterable[str], title: str) -> str:
        """The picture with its grid."""
        low, right, parts = self.height - BELOW, self.width - RIGHT, []
        for tick in self.x.ticks():
            at, _ = self.place((tick, self.y.low))
            parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{ABOVE}" y2="{low}"/>')
            parts.append(f'<text class="tick" x="{at:.1f}" y="{low + 15}" text-anchor="middle">{_tick(tick)}</text>')
        for tick in self.y.ticks():
            _, up = self.place((self.x.low, tick))
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{up:.1f}" y2="{up:.1f}"/>')
            parts.append(f'<text class="tick" x="{LEFT - 5}" y="{up + 4:.1f}" text-anchor="end">{_tick(tick)}</text>')
        across, middle = (self.width + LEFT) / 2, (low + ABOVE) / 2
        label = '<text class="label" text-anchor="middle"'
        parts.append(f'{label} x="{across}" y="{self.height - 6}">{esc(self.x.label)}</text>')
        parts.append(f'{label} x="13" y="{middle}" transform="rotate(-90 13 {middle})">{esc(self.y.label)}</text>')
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{esc(title)}">'
            f"<title>{esc(title)}</title>{''.join(parts)}{''.join(inside)}</svg>"
        )


def _tick(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e4 else f"{value:g}"


def growth(facts: Facts, name: str) -> str:
    """Time against m and against d, double logarithmic: this rule among all others; empty without measurements."""
    panels = []
    for along, words in (("m", "workers m"), ("d", "coordinates d")):
        lines = {rule: _points(facts, rule, along) for rule in facts.growth["rule"].unique()}
        if not lines.get(name):
            return ""
        every = [point for points in lines.values() for point in points]
        frame = Frame(
            Axis(words, min(x for x, _ in every), max(x for x, _ in every), log=True),
            Axis("milliseconds", min(y for _, y in every), max(y for _, y in every), log=True),
        )
        drawn = [_line(frame, points, "other", rule) for rule, points in lines.items() if points and rule != name]
        panels.append(frame.svg([*drawn, _line(frame, lines[name], "own", name)], f"{name}: time against {words}"))
    return (
        f'<div class="charts">{"".join(panels)}</div>\n\n*Coloured: {name}; grey: all other rules, by name on hover.*'
    )


def _points(facts: Facts, rule: str, along: str) -> list[Point]:
    line = facts.line(rule, along)
    return [(float(a), float(b)) for a, b in zip(line[along], line["ms"], strict=True) if b > 0]


def _line(frame: Frame, points: Sequence[Point], kind: str, name: str) -> str:
    path = " ".join("{:.1f},{:.1f}".format(*frame.place(point)) for point in points)
    text = f"{name}: at most {time_text(points[-1][1])}"
    return f'<polyline class="{kind}" points="{path}"><title>{esc(text)}</title></polyline>'


def scatter(marks: Sequence[Mark], x: Axis, y: Axis, title: str) -> str:
    """Named points that lead somewhere."""
    frame = Frame(x, y, 720, 420)
    return f'<div class="charts wide">{frame.svg(_named(frame, marks), title)}</div>'


def plane(rows: Sequence[Point], results: Mapping[str, Point], title: str) -> str:
    """Rows of two coordinates, and by name what is made of them."""
    every = [*rows, *results.values()]
    axes = [
        Axis(words, math.floor(min(p[i] for p in every)) - 1, math.ceil(max(p[i] for p in every)) + 1, step=5)
        for i, words in enumerate(("first coordinate", "second coordinate"))
    ]
    frame = Frame(*axes, width=560, height=330)
    places: dict[Point, list[str]] = {}
    for name, at in results.items():
        places.setdefault(at, []).append(name)
    marks = [Mark(", ".join(names), *at, f"{', '.join(names)}: {at}") for at, names in places.items()]
    dots = ['<circle class="row" cx="{:.1f}" cy="{:.1f}" r="6"/>'.format(*frame.place(row)) for row in rows]
    return f'<div class="charts">{frame.svg([*dots, *_named(frame, marks)], title)}</div>'


def _named(frame: Frame, marks: Sequence[Mark]) -> Iterable[str]:
    """Points with their names, each where it covers no other name, if there is such a place."""
    places = [frame.place((mark.x, mark.y)) for mark in marks]
    taken = [(at - 5, up + 5, at + 5, up - 5) for at, up in places]
    for mark, (at, up) in zip(marks, places, strict=True):
        long = LETTER * len(mark.name)
        sides = [(at + 7, up + 4), (at - 7 - long, up + 4)]
        tries = [(a, b + shift * LINE) for shift in (0, -1, 1, -2, 2) for a, b in sides]
        inside = [(a, b) for a, b in tries if a >= LEFT and a + long <= frame.width] or tries
        left, low = next((each for each in inside if not _covers(each, long, taken)), inside[0])
        taken.append((left, low, left + long, low - LINE))
        shown = (
            f'<circle cx="{at:.1f}" cy="{up:.1f}" r="4.5"><title>{esc(mark.text)}</title></circle>'
            f'<text class="name" x="{left:.1f}" y="{low:.1f}">{esc(mark.name)}</text>'
        )
        yield f'<a href="{esc(mark.address)}">{shown}</a>' if mark.address else shown


def _covers(place: Point, long: float, taken: Iterable[tuple[float, float, float, float]]) -> bool:
    left, low = place
    return any(
        left < end and start < left + long and low > high and low - LINE < foot for start, foot, end, high in taken
    )
