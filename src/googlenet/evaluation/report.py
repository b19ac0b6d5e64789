"""What people look at: learning curve, confusion matrix, average precisions, a sheet of predictions. PNG files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from googlenet.errors import MissingExtraError
from googlenet.evaluation.metrics import Metrics, MultiLabelMetrics
from googlenet.files import replace_file
from googlenet.images.decode import Pixels

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatterSciNotation
    from matplotlib.transforms import BboxBase

    from googlenet.evaluation.plain import Labels, list_beside, plain_text, shown, width, write_list
except ImportError as error:
    raise MissingExtraError("train", "matplotlib") from error

if TYPE_CHECKING:
    from googlenet.benchmarking.measure import Benchmark, Measured

BLUE, ORANGE, GREEN, RED = "#1f5fa8", "#d9822b", "#2f8f4e", "#b3302a"
STYLES = ("-", "--", ":", "-.")  # the main output, then each auxiliary head
PRECISIONS = {"fp32": BLUE, "bf16": ORANGE, "int8": GREEN}
SMALL, LARGE = 15, 1500  # points² of the smallest marker, and what the largest has more
PLACES = ((0, 10), (0, -10), (9, 0), (-9, 0), (9, 12), (-9, 12), (9, -12), (-9, -12), (0, 22), (0, -22))
LETTERS_ABOVE, LINES_ABOVE = 32, 3  # that fit above an image
LONGEST_LABEL = 40  # letters of a name on an axis
LABELS_UP_TO = 40  # classes whose names still fit on the axes of a confusion matrix
BARS_UP_TO = 120  # labels whose names still fit beside their bars
CURVES = {"top1": "top-1 accuracy, %", "map": "mean average precision, %"}  # by which the best epoch is chosen


def draw_learning_curve(history: Sequence[dict[str, Any]], path: Path, metric: str = "top1") -> None:
    """Draw the losses, each head on its own, and ``metric`` over the epochs, in training too where it is known."""
    with _plot(path, figsize=(10, 4)) as figure:
        losses, accuracy = figure.subplots(1, 2)
        epochs = [row["epoch"] for row in history]
        for head, values in enumerate(zip(*(row["head_losses"] for row in history), strict=True)):
            name = f"training, auxiliary head {head}" if head else "training, main output"
            losses.plot(epochs, values, STYLES[head % len(STYLES)], label=name, color=ORANGE)
        losses.plot(epochs, [row["val_loss"] for row in history], label="validation, main output", color=BLUE)
        train, val = f"train_{metric}", f"val_{metric}"
        if train in history[0]:
            accuracy.plot(epochs, [100 * row[train] for row in history], label="training (augmented)", color=ORANGE)
        best = max(history, key=lambda row: (row[val], row["epoch"]))
        label = f"validation, best {best[val]:.1%}"
        accuracy.plot(epochs, [100 * row[val] for row in history], label=label, color=BLUE)
        accuracy.plot(best["epoch"], 100 * best[val], "o", color=BLUE)
        for axes, label in ((losses, "cross-entropy"), (accuracy, CURVES[metric])):
            axes.set(xlabel="epoch", ylabel=label, xlim=(min(epochs) - 0.3, max(epochs) + 0.3))
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.25)
            axes.legend(frameon=False)


def draw_confusion(metrics: Metrics, path: Path) -> None:
    """Draw the confusion matrix: rows are true classes, columns what they were called.

    Where classes are many, or their names cannot be shown, they are numbered, and listed in a text file beside it.
    """
    names = [c.name for c in metrics.classes]
    labels, count = Labels(names, LONGEST_LABEL), len(names)
    listed = count > LABELS_UP_TO
    longest = 0 if listed else max(map(width, labels))
    side = float(np.clip(2.2 + 0.45 * count, 4.5, 16)) + 0.07 * max(0, longest - 10)
    with _plot(path, labels, figsize=(side + 0.8, side)) as figure:
        axes = figure.subplots()
        shares = metrics.confusion / np.maximum(metrics.confusion.sum(axis=1, keepdims=True), 1)
        edges = (0.5, count + 0.5)  # the first class is number 1
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, extent=(*edges, *edges[::-1]))
        figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
        note = f"\nclasses by number: see {shown(list_beside(path).name, 60)}" if listed else labels.note(path)
        axes.set(
            xlabel="predicted",
            ylabel="true",
            title=f"top-1 {metrics.top1:.2%} of {metrics.confusion.sum():,} images{note}",
        )
        if not listed:
            places = range(1, count + 1)
            short = longest < 4
            axes.set_xticks(places, labels, rotation=0 if short else 60, ha="center" if short else "right")
            axes.set_yticks(places, labels)
        if count <= LABELS_UP_TO // 2:
            _write_counts(axes, metrics.confusion, shares)
    if listed:
        write_list(path, enumerate(names, start=1))


def draw_average_precisions(metrics: MultiLabelMetrics, path: Path) -> None:
    """Draw a bar for each label, the best on top; those that no image has are left out.

    Where labels are many, or their names cannot be shown, they are listed in a text file beside it.
    """
    found = sorted(
        (label.average_precision, label.name, label.positives)
        for label in metrics.labels
        if label.average_precision is not None
    )
    listed = len(found) > BARS_UP_TO
    labels, places = Labels([name for _, name, _ in found], LONGEST_LABEL), range(1, len(found) + 1)
    height = float(np.clip(1.6 + 0.22 * len(found), 2.5, 24))
    with _plot(path, labels, figsize=(8, height)) as figure:
        axes = figure.subplots()
        bars = axes.barh(places, [100 * precision for precision, _, _ in found], color=BLUE)
        axes.axvline(100 * metrics.map, color=ORANGE, linestyle="--", label=f"mean {metrics.map:.2%}")
        note = f"\nlabels by number: see {shown(list_beside(path).name, 60)}" if listed else labels.note(path)
        axes.set(
            xlabel="average precision, %",
            xlim=(0, 108),
            ylim=(0.3, len(found) + 0.7),
            title=f"mAP {metrics.map:.2%} on {metrics.images:,} images{note}",
        )
        if not listed:
            axes.set_yticks(places, [f"{labels[name]} ({count:,})" for _, name, count in found])
            axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
        axes.grid(alpha=0.25, axis="x")
        figure.legend(loc="outside lower right", frameon=False)
    if listed:
        write_list(path, enumerate((name for _, name, _ in found), start=1))


def draw_predictions(sheet: Sequence[tuple[Pixels, str, float, str]], path: Path, columns: int = 8) -> None:
    """Draw images with what they were called. Each is (pixels, predicted, probability, true class)."""
    rows = -(-len(sheet) // columns)
    labels = Labels(sorted({name for _, predicted, _, true in sheet for name in (predicted, true)}), LETTERS_ABOVE)
    with _plot(path, labels, figsize=(1.5 * columns, 1.9 * rows)) as figure:
        every = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in every:
            axes.axis("off")
        for axes, (pixels, predicted, probability, true) in zip(every, sheet, strict=False):
            axes.imshow(pixels, interpolation="nearest" if pixels.shape[0] < 64 else None)
            right = predicted == true
            said = [f"{labels[predicted]} {probability:.0%}", *([] if right else [f"is {labels[true]}"])]
            title = "\n".join(line for each in said for line in _lines(each, LETTERS_ABOVE // 2))
            axes.set_title(title, fontsize=9, color=GREEN if right else RED)
        if labels.numbered:
            figure.supxlabel(labels.note(path).strip(), fontsize=9)


def draw_pairs(pairs: Sequence[tuple[str, Sequence[tuple[str, Pixels]]]], path: Path, columns: int = 3) -> None:
    """Draw images side by side that are alike. Each pair is (what they are, two of (name, pixels))."""
    rows = -(-len(pairs) // columns)
    labels = Labels([name for _, images in pairs for name, _ in images], LINES_ABOVE * LETTERS_ABOVE)
    titles = ["\n".join(shown(line, 70) for line in title.split("\n")) for title, _ in pairs]
    with _plot(path, [*labels, *titles], labels, figsize=(4.6 * columns, 2.9 * rows)) as figure:
        places = figure.subfigures(rows, columns, squeeze=False).ravel()
        for place, title, (_, images) in zip(places, titles, pairs, strict=False):
            place.suptitle(title, fontsize=9, color=RED)
            for axes, (name, pixels) in zip(place.subplots(1, 2), images, strict=True):
                axes.imshow(pixels, interpolation="nearest" if pixels.shape[0] < 64 else None)
                axes.set_title("\n".join(_lines(labels[name], LETTERS_ABOVE)), fontsize=7)
                axes.axis("off")
        if labels.numbered:
            figure.supxlabel(labels.note(path).strip(), fontsize=7)


def _lines(text: str, letters: int) -> Iterator[str]:
    """Break a text into lines of so many letters at most."""
    while width(text) > letters:
        end = letters
        while width(text[:end]) > letters:
            end -= 1
        yield text[:end]
        text = text[end:]
    yield text


@dataclass(frozen=True)
class Point:
    """A network on the plot of accuracy or latency against cost. Markers are drawn in proportion to ``area``."""

    name: str
    x: float
    y: float
    area: float | None = None


def draw_trade_off(points: Sequence[Point], labels: tuple[str, str], title: str, path: Path) -> None:
    """Draw networks by what they cost, on a logarithmic scale, against what they give. ``labels`` are of x and y."""
    names = Labels([point.name for point in points], LONGEST_LABEL)
    areas = [point.area for point in points if point.area is not None]
    sizes = [SMALL + LARGE * point.area / max(areas) if point.area else 2 * SMALL for point in points]
    x, y = [point.x for point in points], [point.y for point in points]
    with _plot(path, [*names, title], names, figsize=(10, 6.5)) as figure:
        axes = figure.subplots()
        axes.scatter(x, y, s=sizes, color=BLUE, alpha=0.45)
        axes.set(xscale="log", xlabel=labels[0], ylabel=labels[1], title=shown(title) + names.note(path))
        axes.xaxis.set_major_formatter(_Powers())
        axes.xaxis.set_minor_formatter(_Powers())
        axes.margins(0.12)
        axes.grid(alpha=0.25, which="both")
        figure.draw_without_rendering()  # only now is it known where the points lie
        _name_points(axes, [replace(point, name=names[point.name]) for point in points])


class _Powers(LogFormatterSciNotation):
    """Powers of ten in plain letters: 2·10⁹ for what matplotlib writes as mathematics."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        found = re.search(r"(?:([\d.]+)\\times)?10\^\{(-?\d+)\}", super().__call__(x, pos))
        if found is None:
            return ""
        power = f"10{found[2].translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
        return f"{found[1]}·{power}" if found[1] else power


def _name_points(axes: Axes, points: Sequence[Point]) -> None:
    """Write each name beside its point, at the first place where it is on no name written before."""
    taken: list[BboxBase] = []
    for point in sorted(points, key=lambda point: -point.y):
        for across, up in PLACES:
            name = axes.annotate(
                point.name, (point.x, point.y), (across, up), textcoords="offset points", fontsize=8,
                ha="center" if not across else "left" if across > 0 else "right", va="center",
            )  # fmt: skip
            box = name.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
            if (across, up) != PLACES[-1]:
                name.remove()
        taken.append(box)


def draw_benchmark(result: Benchmark, path: Path) -> None:
    """Draw throughput by batch size, the latency of one image, and the share of the processor's peak."""
    on = f"{result.machine['processor']}, {result.machine['cores']} cores"
    title = f"{shown(result.network)} at {result.size}×{result.size} on {shown(on)}"
    with _plot(path, [title], figsize=(13, 4.2)) as figure:
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


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column + 1, row + 1, str(count), ha="center", va="center", fontsize=8, color=colour)


@contextmanager
def _plot(path: Path, texts: Iterable[str] = (), labels: Labels | None = None, **size: Any) -> Iterator[Figure]:
    """Give a figure, and write it to ``path`` when it is drawn, the names that it numbers beside it.

    ``texts`` are those of users in it; they are plain text. Raises :class:`OSError`.
    """
    named = texts if isinstance(texts, Labels) else labels
    with plain_text(texts):
        figure = Figure(layout="constrained", **size)
        FigureCanvasAgg(figure)
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda fresh: figure.savefig(fresh, format=path.suffix[1:].lower()))
    if named is not None:
        named.write_beside(path)
