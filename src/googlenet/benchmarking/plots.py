"""Plots of ``benchmark`` and ``compare``: throughput, latency, share of the peak; networks by cost. Image files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from googlenet.errors import MissingExtraError

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatterSciNotation
    from matplotlib.transforms import BboxBase

    from googlenet.evaluation.plot_text import Labels, shown
    from googlenet.evaluation.plots import BLUE, GREEN, MAX_LABEL_WIDTH, ORANGE, RED, figure_at
except ImportError as error:
    raise MissingExtraError("train", "matplotlib") from error

if TYPE_CHECKING:
    from googlenet.benchmarking.measure import Benchmark, Measured

PRECISIONS = {"fp32": BLUE, "bf16": ORANGE, "int8": GREEN}
MIN_MARKER_AREA, MARKER_AREA_RANGE = 15, 1500  # points² of the smallest marker, and how much larger the largest is
NAME_OFFSETS = ((0, 10), (0, -10), (9, 0), (-9, 0), (9, 12), (-9, 12), (9, -12), (-9, -12), (0, 22), (0, -22))  # points


@dataclass(frozen=True)
class Point:
    """A network in a plot of accuracy or latency against cost. The marker's area is proportional to ``area``."""

    name: str
    x: float
    y: float
    area: float | None = None


def draw_trade_off(points: Sequence[Point], labels: tuple[str, str], title: str, path: Path) -> None:
    """Draw networks by cost, on a logarithmic scale, and accuracy or latency. ``labels`` are those of x and y."""
    names = Labels([point.name for point in points], MAX_LABEL_WIDTH)
    areas = [point.area for point in points if point.area is not None]
    sizes = [
        MIN_MARKER_AREA + MARKER_AREA_RANGE * point.area / max(areas) if point.area else 2 * MIN_MARKER_AREA
        for point in points
    ]
    x, y = [point.x for point in points], [point.y for point in points]
    with figure_at(path, [*names, title], names, figsize=(10, 6.5)) as figure:
        axes = figure.subplots()
        axes.scatter(x, y, s=sizes, color=BLUE, alpha=0.45)
        axes.set(xscale="log", xlabel=labels[0], ylabel=labels[1], title=shown(title) + names.note(path))
        axes.xaxis.set_major_formatter(_Powers())
        axes.xaxis.set_minor_formatter(_Powers())
        axes.margins(0.12)
        axes.grid(alpha=0.25, which="both")
        figure.draw_without_rendering()  # the positions of the points are known only now
        _name_points(axes, [replace(point, name=names[point.name]) for point in points])


class _Powers(LogFormatterSciNotation):
    """Powers of ten in plain letters, such as 2·10⁹, where matplotlib writes mathematics."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        found = re.search(r"(?:([\d.]+)\\times)?10\^\{(-?\d+)\}", super().__call__(x, pos))
        if found is None:
            return ""
        power = f"10{found[2].translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
        return f"{found[1]}·{power}" if found[1] else power


def _name_points(axes: Axes, points: Sequence[Point]) -> None:
    """Write each name beside its point, at the first offset where it covers no name written before."""
    taken: list[BboxBase] = []
    for point in sorted(points, key=lambda point: -point.y):
        for across, up in NAME_OFFSETS:
            name = axes.annotate(
                point.name, (point.x, point.y), (across, up), textcoords="offset points", fontsize=8,
                ha="center" if not across else "left" if across > 0 else "right", va="center",
            )  # fmt: skip
            box = name.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
            if (across, up) != NAME_OFFSETS[-1]:
                name.remove()
        taken.append(box)


def draw_benchmark(result: Benchmark, path: Path) -> None:
    """Draw throughput by batch size, the latency of one image, and the share of the processor's peak."""
    on = f"{result.machine['processor']}, {result.machine['cores']} cores"
    title = f"{shown(result.network)} at {result.size}×{result.size} on {shown(on)}"
    with figure_at(path, [title], figsize=(13, 4.2)) as figure:
        figure.suptitle(title)
        _draw_precisions(figure, result)


def _draw_precisions(figure: Figure, result: Benchmark) -> None:
    many, one, share = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    _draw_throughput(many, result.precisions)
    for place, row in enumerate(result.precisions):
        _draw_latency(one, place, row)
        _draw_share(share, place, row)
    one.set(title="one image", xlabel="milliseconds: p50, p95, p99")
    slowest = max(row.latency_ms.p99 for row in result.precisions)
    one.set_xlim(-0.07 * slowest, 1.07 * slowest)  # room for the figures of the fastest
    share.axvline(100, color=RED, linestyle="--", linewidth=1)
    share.set(title="share of the measured peak", xlabel="%, and 10⁹ operations a second", xlim=(0, 140))
    share.set_xticks(range(0, 101, 20))
    names = [row.precision for row in result.precisions]
    for axes in (one, share):
        axes.set(ylim=(len(names) - 0.5, -0.5))
        axes.set_yticks(range(len(names)), names)
        axes.grid(alpha=0.25, axis="x")
        axes.set_axisbelow(True)


def _draw_throughput(axes: Axes, rows: Sequence[Measured]) -> None:
    sizes = [each.batch_size for each in rows[0].throughput]
    width = 0.8 / len(rows)
    for number, row in enumerate(rows):
        places = np.arange(len(sizes)) + (number - (len(rows) - 1) / 2) * width
        speeds = [each.images_per_second for each in row.throughput]
        bars = axes.bar(places, speeds, 0.92 * width, color=PRECISIONS[row.precision], label=row.precision)
        axes.bar_label(bars, [f"{speed:,.0f}" for speed in speeds], padding=2, fontsize=8)
    axes.set(title="many images", xlabel="batch size, a batch on each core", ylabel="images per second")
    axes.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
    axes.margins(y=0.22)  # room for the legend
    axes.grid(alpha=0.25, axis="y")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, ncols=len(rows), loc="upper center")


def _draw_latency(axes: Axes, place: int, row: Measured) -> None:
    colour, taken = PRECISIONS[row.precision], row.latency_ms
    axes.plot((taken.p50, taken.p99), (place, place), color=colour, linewidth=2, alpha=0.6, solid_capstyle="butt")
    axes.plot(taken.p50, place, "o", color=colour, markersize=9)
    axes.plot((taken.p95, taken.p99), (place, place), "|", color=colour, markersize=13, markeredgewidth=2)
    axes.annotate(f"{taken.p50:,.1f}", (taken.p50, place), (0, 9), textcoords="offset points", fontsize=8, ha="center")


def _draw_share(axes: Axes, place: int, row: Measured) -> None:
    bars = axes.barh(place, 100 * row.best.share, 0.5, color=PRECISIONS[row.precision])
    label = f"{row.best.share:.0%}\n{row.best.gops:,.0f} of {row.peak.gops:,.0f}"
    axes.bar_label(bars, [label], padding=4, fontsize=8)
