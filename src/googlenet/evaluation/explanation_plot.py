"""A plot of what a check of explanations found: how much better each method is than maps that know nothing."""

from __future__ import annotations

from pathlib import Path

from googlenet.card import FAILS, PASSES
from googlenet.evaluation.intervals import Interval
from googlenet.evaluation.plots import BLUE, GREEN, ORANGE, RED, figure_at
from googlenet.evaluation.verdicts import ExplanationCheck

ROW, TOP = 0.62, 1.5  # inches: of a method, and of what is above and below them
APART = 0.16  # of a row: the two comparisons of a method
TITLES = {"deletion": "deletion", "insertion": "insertion", "road": "ROAD", "pointing": "pointing"}


def draw_check(found: ExplanationCheck, path: Path) -> None:
    """Draw for each measure how much better every method is than a random map and than the centre, with intervals."""
    measures = list(dict.fromkeys(gain.measure for each in found.methods for gain in each.gains))
    methods = found.methods
    with figure_at(path, figsize=(2.6 + 2.2 * len(measures), TOP + ROW * len(methods))) as figure:
        for column, axes in enumerate(figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]):
            axes.axvline(0, color="0.6", linewidth=1)
            for row, each in enumerate(methods):
                for gain in each.gains:
                    if gain.measure == measures[column]:
                        _mark(axes, gain.over_random, row - APART, BLUE, "o")
                        _mark(axes, gain.over_centre, row + APART, ORANGE, "s")
            axes.set_title(TITLES.get(measures[column], measures[column]), fontsize=11)
            axes.set(yticks=range(len(methods)), yticklabels=[each.method for each in methods],
                     ylim=(len(methods) - 0.5, -0.5))  # fmt: skip
            axes.grid(axis="x", alpha=0.25)
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.tick_params(left=False)
        for label, each in zip(figure.axes[0].get_yticklabels(), methods, strict=True):
            label.set_color({PASSES: GREEN, FAILS: RED}.get(each.verdict, "0.3"))
        handles = [
            figure.axes[0].plot([], [], mark, color=colour, label=label)[0]
            for mark, colour, label in (("o", BLUE, "than a random map"), ("s", ORANGE, "than the centre"))
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=10)
        figure.supxlabel(f"points better, with 95 % intervals, on {found.images:,} images", fontsize=10)


def _mark(axes: object, found: Interval, at: float, colour: str, mark: str) -> None:
    plot = axes.plot  # type: ignore[attr-defined]
    if found.low is not None and found.high is not None:
        plot([100 * found.low, 100 * found.high], [at, at], color=colour, linewidth=2.2, solid_capstyle="round")
    plot([100 * found.value], [at], mark, color=colour, markersize=6)
