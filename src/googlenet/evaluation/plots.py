"""Plots of a classifier: learning curve, confusion matrix, average precisions, sheets of images. Image files."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from googlenet.errors import MissingExtraError
from googlenet.evaluation.intervals import Interval
from googlenet.evaluation.metrics import Metrics, MultiLabelMetrics
from googlenet.files import replace_file
from googlenet.images.pixels import Pixels, as_shown
from googlenet.metrics import METRICS

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    from googlenet.evaluation.plot_text import Labels, list_beside, plain_text, shown, width, write_list
except ImportError as error:
    raise MissingExtraError("train", "matplotlib") from error

BLUE, ORANGE, GREEN, RED = "#1f5fa8", "#d9822b", "#2f8f4e", "#b3302a"
CURVE_MARGINS = {"left": 0.085, "right": 0.985, "bottom": 0.125, "top": 0.97, "wspace": 0.22}  # of 10 × 4 inches
STYLES = (("-", "."), ("--", "x"), (":", "+"), ("-.", "1"))  # of the main output, then each auxiliary head
MAX_CAPTION_WIDTH, MAX_CAPTION_LINES = 32, 3  # letters and lines that fit above an image
MAX_LABEL_WIDTH = 40  # letters of a name on an axis
MAX_NAMED_CLASSES = 40  # whose names fit on the axes of a confusion matrix
MAX_NAMED_BARS = 120  # labels whose names fit beside their bars
CLOSE = 1.6  # ratio of costs whose labels would overlap
MAX_MARKED_EPOCHS = 30  # of a learning curve: which were measured; a single one is no line


def draw_learning_curve(history: Sequence[dict[str, Any]], path: Path, metric: str = "top1") -> None:
    """Draw the loss of each head and ``metric`` by epoch: on held-out images, and on training images if known."""
    measured, train, val = METRICS[metric], f"train_{metric}", f"val_{metric}"
    scale, unit = (100, ", %") if measured.unit == "fraction" else (1, "")
    with figure_at(path, layout=None, figsize=(10, 4)) as figure:  # drawn once: laying it out takes twice as long
        losses, scores = figure.subplots(1, 2, gridspec_kw=CURVE_MARGINS)
        epochs, marker = [row["epoch"] for row in history], "." if len(history) <= MAX_MARKED_EPOCHS else ""
        for head, values in enumerate(zip(*(row["head_losses"] for row in history), strict=True)):
            name = f"training, auxiliary head {head}" if head else "training, main output"
            style, own = STYLES[head % len(STYLES)]
            losses.plot(epochs, values, style, marker=marker and own, label=name, color=ORANGE)
        val_losses = [row["val_loss"] for row in history]
        losses.plot(epochs, val_losses, marker=marker, label="validation, main output", color=BLUE)
        if train in history[0]:
            learnt = [scale * row[train] for row in history]
            scores.plot(epochs, learnt, marker=marker, label="training (augmented)", color=ORANGE)
        best = max(history, key=lambda row: (measured.key(row[val]), row["epoch"]))
        label = f"validation, best {measured.format(best[val])}"
        scores.plot(epochs, [scale * row[val] for row in history], marker=marker, label=label, color=BLUE)
        scores.plot(best["epoch"], scale * best[val], "o", color=BLUE)
        for axes, label in ((losses, "cross-entropy"), (scores, measured.title + unit)):
            axes.set(xlabel="epoch", ylabel=label, xlim=(min(epochs) - 0.3, max(epochs) + 0.3))
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            axes.grid(alpha=0.25)
            axes.legend(frameon=False)


def draw_lr_range(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float | None, path: Path
) -> None:
    """Draw the loss of a range test by learning rate, and the rate that it suggests, if it does."""
    with figure_at(path, figsize=(6, 4)) as figure:
        axes = figure.subplots()
        axes.plot(rates, losses, color=ORANGE, alpha=0.5, label="loss of each step")
        axes.plot(rates, smoothed, color=BLUE, label="smoothed")
        if suggestion is not None:
            axes.axvline(suggestion, color=GREEN, linestyle="--", label=f"suggested: {suggestion:g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(None, 1.5 * max(smoothed[0], losses[0])))
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")  # powers of ten need mathtext, which is off
        axes.xaxis.set_minor_formatter("")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)


def draw_confusion(metrics: Metrics, path: Path) -> None:
    """Draw the confusion matrix: a row for each true class, a column for each predicted class.

    Many classes, and names that no font can show, are numbered, and listed in a text file beside the plot.
    """
    names = [c.name for c in metrics.classes]
    labels, count = Labels(names, MAX_LABEL_WIDTH), len(names)
    listed = count > MAX_NAMED_CLASSES
    longest = 0 if listed else max(map(width, labels))
    side = float(np.clip(2.2 + 0.45 * count, 4.5, 16)) + 0.07 * max(0, longest - 10)
    with figure_at(path, labels, figsize=(side + 0.8, side)) as figure:
        axes = figure.subplots()
        shares = metrics.confusion / np.maximum(metrics.confusion.sum(axis=1, keepdims=True), 1)
        edges = (0.5, count + 0.5)  # the first class is number 1
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, extent=(*edges, *edges[::-1]))
        figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
        note = f"\nclasses by number: see {shown(list_beside(path).name, 60)}" if listed else labels.note(path)
        axes.set(
            xlabel="predicted",
            ylabel="true",
            title=f"{metrics.described()[0]} of {metrics.confusion.sum():,} images{note}",
        )
        if not listed:
            places = range(1, count + 1)
            short = longest < 4
            axes.set_xticks(places, labels, rotation=0 if short else 60, ha="center" if short else "right")
            axes.set_yticks(places, labels)
        if count <= MAX_NAMED_CLASSES // 2:
            _write_counts(axes, metrics.confusion, shares)
    if listed:
        write_list(path, enumerate(names, start=1))


def draw_average_precisions(metrics: MultiLabelMetrics, path: Path) -> None:
    """Draw a bar for each label that any image has, the best on top.

    Many labels, and names that no font can show, are listed in a text file beside the plot.
    """
    found = sorted(
        (label.average_precision, label.name, label.positives)
        for label in metrics.labels
        if label.average_precision is not None
    )
    listed = len(found) > MAX_NAMED_BARS
    labels, places = Labels([name for _, name, _ in found], MAX_LABEL_WIDTH), range(1, len(found) + 1)
    height = float(np.clip(1.6 + 0.22 * len(found), 2.5, 24))
    with figure_at(path, labels, figsize=(8, height)) as figure:
        axes = figure.subplots()
        bars = axes.barh(places, [100 * precision for precision, _, _ in found], color=BLUE)
        axes.axvline(100 * metrics.map, color=ORANGE, linestyle="--", label=f"mean {metrics.map:.2%}")
        note = f"\nlabels by number: see {shown(list_beside(path).name, 60)}" if listed else labels.note(path)
        axes.set(
            xlabel="average precision, %",
            xlim=(0, 108),
            ylim=(0.3, len(found) + 0.7),
            title=f"{metrics.described()[0]} on {metrics.images:,} images{note}",
        )
        if not listed:
            axes.set_yticks(places, [f"{labels[name]} ({count:,})" for _, name, count in found])
            axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
        axes.grid(alpha=0.25, axis="x")
        figure.legend(loc="outside lower right", frameon=False)
    if listed:
        write_list(path, enumerate((name for _, name, _ in found), start=1))


def draw_predictions(
    sheet: Sequence[tuple[Pixels, str, float, str]],
    path: Path,
    columns: int = 8,
    title: str = "",
    before_true: str = "is",
) -> None:
    """Draw images with their predicted classes. Each is (pixels (H, W, 3), predicted, probability, true class)."""
    rows = -(-len(sheet) // columns)
    labels = Labels(sorted({name for _, predicted, _, true in sheet for name in (predicted, true)}), MAX_CAPTION_WIDTH)
    with figure_at(path, labels, figsize=(1.5 * columns, 1.9 * rows)) as figure:
        every = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in every:
            axes.axis("off")
        for axes, (pixels, predicted, probability, true) in zip(every, sheet, strict=False):
            axes.imshow(pixels, interpolation="nearest" if pixels.shape[0] < 64 else None)
            right = predicted == true
            caption = [f"{labels[predicted]} {probability:.0%}", *([] if right else [f"{before_true} {labels[true]}"])]
            text = "\n".join(line for each in caption for line in _lines(each, MAX_CAPTION_WIDTH // 2))
            axes.set_title(text, fontsize=9, color=GREEN if right else RED)
        if title:
            figure.suptitle(title, fontsize=11)
        if labels.numbered:
            figure.supxlabel(labels.note(path).strip(), fontsize=9)


def draw_pairs(pairs: Sequence[tuple[str, Sequence[tuple[str, Pixels]]]], path: Path, columns: int = 3) -> None:
    """Draw similar images side by side. Each pair is (title, two of (name, pixels (H, W, 3)))."""
    rows = -(-len(pairs) // columns)
    labels = Labels([name for _, images in pairs for name, _ in images], MAX_CAPTION_LINES * MAX_CAPTION_WIDTH)
    titles = ["\n".join(shown(line, 70) for line in title.split("\n")) for title, _ in pairs]
    with figure_at(path, [*labels, *titles], labels, figsize=(4.6 * columns, 2.9 * rows)) as figure:
        places = figure.subfigures(rows, columns, squeeze=False).ravel()
        for place, title, (_, images) in zip(places, titles, pairs, strict=False):
            place.suptitle(title, fontsize=9, color=RED)
            for axes, (name, pixels) in zip(place.subplots(1, 2), images, strict=True):
                axes.imshow(pixels, interpolation="nearest" if pixels.shape[0] < 64 else None)
                axes.set_title("\n".join(_lines(labels[name], MAX_CAPTION_WIDTH)), fontsize=7)
                axes.axis("off")
        if labels.numbered:
            figure.supxlabel(labels.note(path).strip(), fontsize=7)


def draw_augmented(
    rows: Sequence[tuple[str, Pixels, Sequence[Pixels]]],
    headings: Sequence[str],
    mixed: Sequence[tuple[Pixels, dict[str, float]]],
    settings: str,
    path: Path,
) -> None:
    """Draw what a network sees of images in training.

    A row is (label, original, a view for each heading); below are ``mixed`` images with the share of each label, as
    many as fit into a row.
    """
    columns, below = 1 + len(headings), min(1, len(mixed))
    mixed = mixed[:columns]
    names = [name for name, _, _ in rows] + [name for _, shares in mixed for name in shares]
    labels = Labels(names, MAX_CAPTION_WIDTH)
    title = "\n".join(textwrap.wrap(f"augmentation: {settings}", 17 * columns))
    heights = [1.32] * len(rows) + [1.62] * below
    size = (1.32 * columns + 0.9, sum(heights) + 0.5 + 0.2 * title.count("\n"))
    with figure_at(path, labels, figsize=size) as figure:
        grid = figure.subplots(len(rows) + below, columns, squeeze=False, gridspec_kw={"height_ratios": heights})
        for axes in grid.ravel():
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        for line, (name, original, views) in zip(grid, rows, strict=False):
            line[0].set_ylabel("\n".join(_lines(labels[name], MAX_CAPTION_WIDTH // 2)), fontsize=9)
            for axes, pixels in zip(line, (original, *views), strict=True):
                _show_channels(axes, pixels)
        for axes, heading in zip(grid[0], ("original", *headings), strict=True):
            axes.set_title(heading, fontsize=9, color=BLUE if heading == "original" else "black")
        for axes, (pixels, shares) in zip(grid[len(rows) :].ravel(), mixed, strict=False):
            _show_channels(axes, pixels)
            largest = sorted(shares.items(), key=lambda share: -share[1])[:MAX_CAPTION_LINES]
            axes.set_title(
                "\n".join(f"{share:.0%} {labels[name]}" for name, share in largest), fontsize=8, color=ORANGE
            )
        if mixed:
            grid[len(rows)][0].set_ylabel("mixed", fontsize=9, color=ORANGE)
        figure.suptitle(title, fontsize=9, x=0.01, ha="left")
        if labels.numbered:
            figure.supxlabel(labels.note(path).strip(), fontsize=9)


def draw_costs(rows: Sequence[tuple[int, str, float, Interval]], metric: str, path: Path) -> None:
    """Draw ``metric`` over the cost of an image. A row is (networks, crops, passes of a network, metric)."""
    with figure_at(path, figsize=(6.5, 4.5)) as figure:
        axes = figure.subplots()
        for networks, colour in zip(dict.fromkeys(row[0] for row in rows), (BLUE, ORANGE, GREEN, RED), strict=False):
            own = sorted((row for row in rows if row[0] == networks), key=lambda row: row[2])
            name = f"{networks} networks" if networks > 1 else "1 network"
            axes.plot([row[2] for row in own], [100 * row[3].value for row in own], "o-", color=colour, label=name)
            following = [*(row[2] for row in own[1:]), np.inf]
            for (_, crops, passes, found), after in zip(own, following, strict=True):
                ends = [100 * (found.value if end is None else end) for end in (found.low, found.high)]
                axes.plot([passes, passes], ends, color=colour, alpha=0.3, linewidth=4)
                side, place = ("right", (-8, 5)) if after < CLOSE * passes else ("left", (8, 5))
                axes.annotate(
                    crops, (passes, 100 * found.value), place, textcoords="offset points", ha=side, fontsize=9
                )
        axes.set(
            xlabel="passes of a network for each image (marked: crops)",
            ylabel=f"{metric}, % (bars: 95 % intervals)",
            xscale="log",
        )
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda passes, _: f"{passes:g}")  # powers of ten need mathtext, which is off
        axes.xaxis.set_minor_formatter("")
        axes.margins(0.08, 0.15)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, loc="lower right")


def _show_channels(axes: Axes, pixels: Pixels) -> None:
    """Show the first three channels as colours, or one channel as grey."""
    shown = as_shown(pixels)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if shown.shape[0] < 64 else None)


def _lines(text: str, letters: int) -> Iterator[str]:
    """Break a text into lines of at most ``letters`` letters, between words where it has some.

    >>> list(_lines("labelled automobile", 16)), list(_lines("Brachypelmahamorii", 16))
    (['labelled', 'automobile'], ['Brachypelmahamor', 'ii'])
    """
    while width(text) > letters:
        end = letters
        while width(text[:end]) > letters:
            end -= 1
        space = text.rfind(" ", 1, end + 1)
        yield text[: space if space > 0 else end]
        text = text[space + 1 if space > 0 else end :]
    yield text


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column + 1, row + 1, str(count), ha="center", va="center", fontsize=8, color=colour)


@contextmanager
def figure_at(
    path: Path,
    texts: Iterable[str] = (),
    labels: Labels | None = None,
    layout: Literal["constrained"] | None = "constrained",
    **size: Any,
) -> Iterator[Figure]:
    """Return a figure to draw on; on leaving it is written to ``path``, with a list of the names that it numbers.

    ``texts`` are names of users that it shows, as plain text. Raises :class:`OSError`.
    """
    named = texts if isinstance(texts, Labels) else labels
    with plain_text(texts):
        figure = Figure(layout=layout, **size)
        FigureCanvasAgg(figure)
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda fresh: figure.savefig(fresh, format=path.suffix[1:].lower()))
    if named is not None:
        named.write_beside(path)
