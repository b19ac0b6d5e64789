"""Charts as SVG, drawn in Python. Colours and fonts come from the page's style, so that they follow its theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from googlenet.reporting.blocks import Inline
from googlenet.reporting.inline import svg_text

WIDE, HIGH = 360, 220  # units of a chart, which is drawn at about this many pixels on any screen
LEFT, RIGHT, TOP, BOTTOM = 42, 12, 14, 34
MAX_POINTS = 400  # of a line
LABEL_GAP = 13  # between the labels of lines


@dataclass(frozen=True)
class Line:
    """A line of a chart; ``style`` is a class of the style sheet: accent, muted or dashed."""

    label: Inline
    points: Sequence[tuple[float, float]]
    style: str = "accent"


@dataclass(frozen=True)
class Scale:
    """A linear axis from values to units of the drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        span = self.high - self.low
        return self.start + (self.end - self.start) * ((value - self.low) / span if span else 0.5)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round values between two others, about ``count`` of them.

    >>> ticks(0, 1), ticks(0.13, 0.87)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.2, 0.4, 0.6, 0.8])
    """
    raw = (high - low) / max(count, 1)
    if not raw > 0 or not math.isfinite(raw):
        return [low]
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.7)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def line_chart(lines: Sequence[Line], x_title: Inline, *, percent: bool = False, from_zero: bool = False) -> str:
    """Draw lines over the same axis, each labelled at its end. Points that are not finite are left out.

    ``from_zero``: the axis begins at 0, where what matters is whether values are near it.
    """
    cleaned = [Line(each.label, _thinned(each.points), each.style) for each in lines]
    values = [point for each in cleaned for point in each.points]
    if not values:
        return _svg("")
    xs, ys = [x for x, _ in values], [y for _, y in values]
    margin = 0.06 * (max(ys) - min(ys)) or 0.05 * abs(max(ys)) or 0.5
    low, high = min(ys) - margin, max(ys) + margin
    low, high = (max(low, 0.0), min(high, 1.0)) if percent else (max(low, 0.0) if min(ys) >= 0 else low, high)
    low = min(low, 0.0) if from_zero else low
    right = WIDE - 84
    x, y = Scale(min(xs), max(xs), LEFT, right), Scale(low, high, HIGH - BOTTOM, TOP)
    parts = [_y_axis(y, right, percent), _x_axis(x, x_title, whole=True)]
    parts += [_path(each, x, y) for each in cleaned if each.points]
    parts += _end_labels([each for each in cleaned if each.points], x, y)
    return _svg("".join(parts))


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    finite = [point for point in points if all(map(math.isfinite, point))]
    step = max(1, -(-len(finite) // MAX_POINTS))
    return finite if step == 1 else [*finite[:-1:step], finite[-1]]


def _path(line: Line, x: Scale, y: Scale) -> str:
    if len(line.points) == 1:
        ((at, value),) = line.points
        return f'<circle class="dot {line.style}" cx="{x(at):.1f}" cy="{y(value):.1f}" r="3"/>'
    places = "L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in line.points)
    return f'<path class="line {line.style}" d="M{places}"/>'


def _end_labels(lines: Sequence[Line], x: Scale, y: Scale) -> list[str]:
    """Place the labels of lines right of their ends, moved apart where they would overlap."""
    order = sorted(lines, key=lambda each: y(each.points[-1][1]))
    places: list[float] = []
    for each in order:
        wanted = y(each.points[-1][1]) + 4
        places.append(max(wanted, places[-1] + LABEL_GAP) if places else wanted)
    over = max(0.0, places[-1] - (HIGH - BOTTOM + 4))
    end = max(x(each.points[-1][0]) for each in order)
    return [
        svg_text(each.label, end + 6, place - over, "label " + each.style)
        for each, place in zip(order, places, strict=True)
    ]


def _y_axis(y: Scale, right: float, percent: bool) -> str:
    parts = []
    for tick in ticks(y.low, y.high):
        place = y(tick)
        shown = f"{tick:.0%}" if percent and round(100 * tick, 6).is_integer() else f"{tick:.1%}" if percent else (
            f"{tick:g}")  # fmt: skip
        parts.append(f'<path class="grid" d="M{LEFT} {place:.1f}H{right:.1f}"/>')
        parts.append(svg_text(shown, LEFT - 6, place + 4, "tick end"))
    return "".join(parts)


def _x_axis(x: Scale, title: Inline, *, whole: bool = False, percent: bool = False) -> str:
    places = ticks(x.low, x.high) if x.high > x.low else [x.low]
    shown = [tick for tick in places if not whole or float(tick).is_integer()]
    base = HIGH - BOTTOM
    parts = [f'<path class="axis" d="M{LEFT} {base}H{x.end:.1f}"/>']
    parts += [svg_text(f"{t:.0%}" if percent else f"{t:g}", x(t), base + 15, "tick middle") for t in shown]
    return "".join([*parts, svg_text(title, (x.start + x.end) / 2, HIGH - 4, "tick middle")])


@dataclass(frozen=True)
class Bar:
    """A horizontal bar with its label and what is written behind it. ``share`` of the longest bar, 0 to 1."""

    label: Inline
    share: float
    shown: str
    style: str = "accent"


def bars(rows: Sequence[Bar]) -> str:
    """Draw horizontal bars, one below the other."""
    step, left = 22, 112
    room = WIDE - left - 52
    parts = []
    for number, row in enumerate(rows):
        top = number * step + 4
        width = max(room * row.share, 1.0)
        parts.append(svg_text(row.label, left - 8, top + 12, "tick end"))
        parts.append(f'<rect class="bar {row.style}" x="{left}" y="{top}" width="{width:.1f}" height="14" rx="2"/>')
        parts.append(svg_text(row.shown, left + width + 6, top + 12, "tick"))
    return _svg("".join(parts), height=len(rows) * step + 6)


@dataclass(frozen=True)
class Whisker:
    """A value with the ends of its interval (or none), 0 to 1."""

    label: Inline
    value: float
    low: float | None
    high: float | None


def whiskers(rows: Sequence[Whisker]) -> str:
    """Draw values with their intervals over one axis from 0 to 100 %."""
    step, left = 30, 124
    x = Scale(0.0, 1.0, left, WIDE - 28)  # room for half of "100.0%"
    height = len(rows) * step + 26
    parts = [f'<path class="grid" d="M{x(t):.1f} 4V{height - 22}"/>' for t in (0, 0.25, 0.5, 0.75, 1)]
    parts += [svg_text(f"{t:.0%}", x(t), height - 6, "tick middle") for t in (0, 0.5, 1)]
    for number, row in enumerate(rows):
        middle = number * step + 18
        parts.append(svg_text(row.label, left - 12, middle + 4, "tick end"))
        if row.low is not None and row.high is not None:
            parts.append(f'<path class="whisker" d="M{x(row.low):.1f} {middle}H{x(row.high):.1f}"/>')
        parts.append(f'<circle class="dot accent" cx="{x(row.value):.1f}" cy="{middle}" r="4"/>')
        parts.append(svg_text(f"{row.value:.1%}", x(row.value), middle - 8, "tick middle strong"))
    return _svg("".join(parts), height=height)


@dataclass(frozen=True)
class Bin:
    """Answers of about the same stated probability: its mean, the share that is right, and between which shares a
    perfect model of so many images stays in 95 % of cases.
    """

    stated: float
    right: float
    low: float
    high: float
    count: int


def reliability(bins: Sequence[Bin], x_title: Inline, y_title: Inline, band: Inline) -> str:
    """Draw the share of right answers over the stated probability, with the band of a perfect model."""
    high = 300
    x, y = Scale(0.0, 1.0, LEFT + 8, WIDE - RIGHT), Scale(0.0, 1.0, high - BOTTOM, TOP)
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<path class="grid" d="M{x.start} {y(tick):.1f}H{x.end}"/>')
        parts.append(svg_text(f"{tick:.0%}", x.start - 6, y(tick) + 4, "tick end"))
        parts.append(svg_text(f"{tick:.0%}", x(tick), high - BOTTOM + 15, "tick middle"))
    upper = [f"{x(each.stated):.1f} {y(each.high):.1f}" for each in bins]
    lower = [f"{x(each.stated):.1f} {y(each.low):.1f}" for each in reversed(bins)]
    if len(bins) > 1:
        parts.append(f'<path class="band" d="M{"L".join([*upper, *lower])}Z"/>')
    parts.append(f'<path class="line dashed" d="M{x(0):.1f} {y(0):.1f}L{x(1):.1f} {y(1):.1f}"/>')
    places = [(x(each.stated), y(each.right)) for each in bins]
    parts.append(f'<path class="line accent" d="M{"L".join(f"{a:.1f} {b:.1f}" for a, b in places)}"/>')
    parts += [f'<circle class="dot accent" cx="{a:.1f}" cy="{b:.1f}" r="3.5"/>' for a, b in places]
    parts.append(svg_text(x_title, (x.start + x.end) / 2, high - 3, "tick middle"))
    parts.append(svg_text(y_title, x.start + 4, TOP + 8, "tick"))
    parts.append(svg_text(band, x.end - 4, high - BOTTOM - 10, "tick end"))
    return _svg("".join(parts), height=high)


def _svg(content: str, height: float = HIGH) -> str:
    return f'<svg viewBox="0 0 {WIDE} {height:g}" aria-hidden="true" focusable="false">{content}</svg>'
