"""Curves over logarithmic axes as SVG, readable on light and dark ground."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 470, 360  # of a panel's frame
LEFT, TOP, GAP, BOTTOM, LEGEND = 62, 44, 96, 56, 26
# Told apart by hue and by their marks; both grounds leave them contrast.
COLOURS = ("#2f7ed8", "#d9822b", "#2ca25f", "#c0392b", "#8e6bbf", "#a0703f", "#d45aa3", "#7f8c8d")
MARKS = ("circle", "square", "diamond", "triangle")
STYLE = """
svg { --ground: #ffffff; --ink: #1f2328; --pale: #d8dde3; font: 12px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { svg { --ground: #0d1117; --ink: #e6edf3; --pale: #30363d; } }
.ground { fill: var(--ground); } text { fill: var(--ink); } .head { font-weight: 600; font-size: 13px; }
.grid { stroke: var(--pale); stroke-width: 1; } .frame { stroke: var(--ink); fill: none; }
.curve { fill: none; stroke-width: 2; }
"""


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of size and value, both above 0, and what to say of their growth."""

    name: str
    points: Sequence[tuple[float, float]]
    exponent: str


class Axis:
    """A logarithmic axis over whole powers of ten, from `first` to `last` in pixels."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = max(self.low + 1, math.ceil(math.log10(max(values))))
        self._first, self._last = first, last

    def place(self, value: float) -> float:
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self._first + part * (self._last - self._first)

    def list_powers(self) -> list[tuple[float, str]]:
        return [(10.0**power, name_power(power)) for power in range(self.low, self.high + 1)]


def name_power(power: int) -> str:
    """Return a power of ten as people write it."""
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:.{-power}f}"


def draw(panels: Mapping[str, Sequence[Curve]], *, across: str) -> str:
    """Return an SVG with a panel for each title, side by side, all over the same sizes `across`."""
    names = [curve.name for curve in next(iter(panels.values()))]
    width = LEFT + len(panels) * (WIDTH + GAP)
    height = TOP + HEIGHT + BOTTOM + LEGEND * math.ceil(len(names) / 4)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(' and '.join(panels))} against size</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{width}" height="{height}"/>',
    ]
    for number, (title, curves) in enumerate(panels.items()):
        parts += draw_panel(title, curves, across, left=LEFT + number * (WIDTH + GAP))
    for number, name in enumerate(names):
        x, y = LEFT + (number % 4) * 265, TOP + HEIGHT + BOTTOM + LEGEND * (number // 4) + 4
        parts += [draw_mark(number, x, y), f'<text x="{x + 12}" y="{y + 4}">{escape(name)}</text>']
    return "\n".join([*parts, "</svg>"]) + "\n"


def draw_panel(title: str, curves: Sequence[Curve], across: str, *, left: float) -> list[str]:
    """Return the elements of one panel."""
    points = [point for curve in curves for point in curve.points]
    x = Axis([size for size, _ in points], left, left + WIDTH)
    y = Axis([value for _, value in points], TOP + HEIGHT, TOP)
    parts = [f'<text class="head" x="{left}" y="{TOP - 16}">{escape(title)}, and exponents</text>']
    for value, name in x.list_powers():
        at = x.place(value)
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{TOP + HEIGHT}"/>')
        parts.append(f'<text x="{at:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{name}</text>')
    for value, name in y.list_powers():
        at = y.place(value)
        parts.append(f'<line class="grid" x1="{left}" y1="{at:.1f}" x2="{left + WIDTH}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{name}</text>')
    parts.append(f'<rect class="frame" x="{left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}"/>')
    middle = left + WIDTH / 2
    parts.append(f'<text x="{middle}" y="{TOP + HEIGHT + 38}" text-anchor="middle">{escape(across)}</text>')
    ends = [(x.place(curve.points[-1][0]), y.place(curve.points[-1][1])) for curve in curves]
    labels = spread_labels(ends)
    for number, curve in enumerate(curves):
        places = [(x.place(size), y.place(value)) for size, value in curve.points]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(f'<polyline class="curve" stroke="{COLOURS[number]}" points="{path}"/>')
        parts += [draw_mark(number, *place) for place in places]
        at = ends[number][0] + 9
        parts.append(f'<text x="{at:.1f}" y="{labels[number] + 4:.1f}">{escape(curve.exponent)}</text>')
    return parts


def spread_labels(
    ends: Sequence[tuple[float, float]], *, apart: float = 13.0, near: float = 40.0
) -> list[float]:
    """Return the heights of labels beside the curves' ends, moved down where one would cover another."""
    heights = [y for _, y in ends]
    for number in sorted(range(len(ends)), key=lambda each: heights[each]):
        for other in sorted(range(len(ends)), key=lambda each: heights[each]):
            above = heights[other] <= heights[number] and other != number
            if above and abs(ends[other][0] - ends[number][0]) < near:
                heights[number] = max(heights[number], heights[other] + apart)
    return heights


def draw_mark(number: int, x: float, y: float) -> str:
    """Return the mark of a curve's points."""
    colour, kind = COLOURS[number], MARKS[number % len(MARKS)]
    if kind == "circle":
        return f'<circle fill="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    shapes = {
        "square": ((-4, -4), (4, -4), (4, 4), (-4, 4)),
        "diamond": ((0, -5), (5, 0), (0, 5), (-5, 0)),
        "triangle": ((0, -5), (5, 4), (-5, 4)),
    }
    path = " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in shapes[kind])
    return f'<polygon fill="{colour}" points="{path}"/>'
