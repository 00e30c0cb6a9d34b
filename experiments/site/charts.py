"""Pictures of the pages as SVG that follows the page's colours, light or dark."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from byzsim.experiments.site.facts import Facts, time_text
from byzsim.experiments.site.markup import esc

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, ABOVE, BELOW = 58, 14, 12, 42
Points = Sequence[tuple[float, float]]


class Mark(NamedTuple):
    """A point with a name, and where it leads."""

    name: str
    x: float
    y: float
    address: str
    text: str
    """on hover"""


class Axis(NamedTuple):
    """The scale of one side of a picture."""

    label: str
    low: float
    high: float
    log: bool

    def share(self, value: float) -> float:
        """Where a value stands, from 0 to 1."""
        low, high, value = (
            (math.log10(each) for each in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return (value - low) / ((high - low) or 1.0)

    def ticks(self) -> list[float]:
        """Powers of ten, or steps of 20."""
        if self.log:
            return [
                10.0**k
                for k in range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            ]
        return [float(tick) for tick in range(int(self.low), int(self.high) + 1, 20)]


def growth(facts: Facts, name: str) -> str:
    """Time against m and against d, double logarithmic: this rule among all others."""
    panels = []
    for along in ("m", "d"):
        others = {rule: _points(facts, rule, along) for rule in facts.growth["rule"].unique()}
        every = [point for points in others.values() for point in points]
        if not every or not others.get(name):
            return ""
        x = Axis(f"{'workers m' if along == 'm' else 'coordinates d'}", *_range(p[0] for p in every), True)
        y = Axis("milliseconds", *_range(p[1] for p in every), True)
        lines = [_line(points, x, y, "other", rule) for rule, points in others.items() if rule != name]
        lines.append(_line(others[name], x, y, "own", name))
        panels.append(_svg(x, y, lines, f"time against {along}: {name} among all rules"))
    return (
        f'<div class="charts">{"".join(panels)}</div>\n\n*Coloured: {name}; grey: all other rules, by name on hover.*'
    )


def scatter(marks: Sequence[Mark], x: Axis, y: Axis, title: str) -> str:
    """Named points that lead somewhere."""
    drawn = []
    for mark in marks:
        at, up = _place(mark.x, mark.y, x, y)
        drawn.append(
            f'<a href="{esc(mark.address)}"><circle cx="{at:.1f}" cy="{up:.1f}" r="4.5"><title>{esc(mark.text)}</title>'
            f'</circle><text class="name" x="{at + 6:.1f}" y="{up + 3:.1f}">{esc(mark.name)}</text></a>'
        )
    return f'<div class="charts wide">{_svg(x, y, drawn, title, wide=True)}</div>'


def _points(facts: Facts, rule: str, along: str) -> Points:
    line = facts.line(rule, along)
    return [(float(a), float(b)) for a, b in zip(line[along], line["ms"], strict=True) if b > 0]


def _range(values: Iterable[float]) -> tuple[float, float]:
    found = sorted(values)
    return found[0], found[-1]


WIDE = 2.0


def _place(a: float, b: float, x: Axis, y: Axis, wide: bool = True) -> tuple[float, float]:
    width = WIDTH * (WIDE if wide else 1)
    height = HEIGHT * (1.6 if wide else 1)
    return LEFT + x.share(a) * (width - LEFT - RIGHT), height - BELOW - y.share(b) * (height - ABOVE - BELOW)


def _line(points: Points, x: Axis, y: Axis, kind: str, name: str) -> str:
    path = " ".join("{:.1f},{:.1f}".format(*_place(a, b, x, y, wide=False)) for a, b in points)
    last = f"{name}: {time_text(points[-1][1])}" if points else name
    return f'<polyline class="{kind}" points="{path}"><title>{esc(last)}</title></polyline>'


def _svg(x: Axis, y: Axis, inside: Iterable[str], title: str, *, wide: bool = False) -> str:
    width, height = (WIDTH * WIDE, HEIGHT * 1.6) if wide else (WIDTH, HEIGHT)
    parts = []
    for tick in x.ticks():
        at, _ = _place(tick, y.low, x, y, wide)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{ABOVE}" y2="{height - BELOW}"/>')
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{height - BELOW + 15}" text-anchor="middle">{_tick(tick)}</text>'
        )
    for tick in y.ticks():
        _, up = _place(x.low, tick, x, y, wide)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{up:.1f}" y2="{up:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 5}" y="{up + 4:.1f}" text-anchor="end">{_tick(tick)}</text>')
    middle = (height - BELOW + ABOVE) / 2
    parts.append(
        f'<text class="label" x="{(width + LEFT) / 2}" y="{height - 6}" text-anchor="middle">{esc(x.label)}</text>'
    )
    turned = f'transform="rotate(-90 13 {middle})"'
    parts.append(f'<text class="label" x="13" y="{middle}" text-anchor="middle" {turned}>{esc(y.label)}</text>')
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{esc(title)}">'
        f"<title>{esc(title)}</title>{''.join(parts)}{''.join(inside)}</svg>"
    )


def _tick(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e4 else f"{value:g}"
