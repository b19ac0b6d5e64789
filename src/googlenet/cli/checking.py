"""``googlenet explain RUN DATA --check``: what was found of each method, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from googlenet.card import FAILS, PASSES

if TYPE_CHECKING:
    from googlenet.data.source import DataSource
    from googlenet.evaluation.intervals import Interval
    from googlenet.evaluation.verdicts import ExplanationCheck, MethodCheck

PLOT = "explanations.png"  # in RUN, or in --out


def check(
    run: Path,
    data: Sequence[DataSource],
    methods: Sequence[str],
    images: int,
    boxes: Path | None,
    precision: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Check explanations, print what was found, and draw it."""
    if len(data) != 1:
        raise typer.BadParameter(f"--check takes one DATA, labelled images as for `evaluate`, got {len(data)}")
    from googlenet import bundle
    from googlenet.cli.output import progress, say, show_json, warn
    from googlenet.extras import require
    from googlenet.stages import stage

    bundle.read(run)
    require("train", "scipy")
    with stage(f"looking at {data[0]}"):
        from googlenet.evaluation.explanations import SHUFFLES, plan_check

        plan = plan_check(run, data[0], methods=methods, images=images, boxes=boxes, precision=precision)
    for note in plan.notes:
        warn(note)
    total = len(plan.selection.images)
    if len(plan.items) < total:
        warn(f"checked are {len(plan.items):,} of {total:,} images, evenly over the classes: --images sets how many")
    warn(f"{plan.runs:,} runs of the network, among them those with weights shuffled {SHUFFLES} times")
    with stage(f"checking explanations of {run}"), progress("checking") as report:
        found = plan.run(report)
    for note in found.notes[len(plan.notes) :]:
        warn(note)
    if as_json:
        show_json(found.to_dict())
    else:
        _show(found)
        for line in _said(found):
            say(line)
    _draw(found, (out or run) / PLOT, asked=out is not None, quiet=as_json)


def _draw(found: ExplanationCheck, path: Path, asked: bool, quiet: bool) -> None:
    from googlenet.cli.look import plot
    from googlenet.cli.output import say

    def draw() -> None:
        from googlenet.evaluation.explanation_plot import draw_check

        draw_check(found, path)

    if plot(draw, path, asked) and not quiet:
        say(f"plot: {path}")


def _show(found: ExplanationCheck) -> None:
    from googlenet.cli.output import show_table

    columns = [("method", "left"), ("measure", "left"), ("", "right"), ("better than random", "right"),
               ("than the centre", "right")]  # fmt: skip
    rows = [row for each in found.methods for row in _rows(each)]
    title = f"{found.images:,} images of {found.split}, {found.precision}; differences with 95 % intervals, in points"
    show_table(title, columns, rows)


def _rows(each: MethodCheck) -> Iterable[tuple[str, ...]]:
    for number, gain in enumerate(each.gains):
        yield (each.method if not number else "", gain.measure, _points(gain.value), _interval(gain.over_random),
               _interval(gain.over_centre))  # fmt: skip


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(found: Interval) -> str:
    """Return a difference in percentage points with its interval.

    >>> from googlenet.evaluation.intervals import Interval
    >>> _interval(Interval(0.123, 0.1, 0.15, 40)), _interval(Interval(-0.1, None, None, 2))
    ('+12.3 [10.0, 15.0]', '-10.0')
    """
    ends = "" if found.low is None or found.high is None else f" [{_points(found.low)}, {_points(found.high)}]"
    return f"{100 * found.value:+.1f}{ends}"


def _said(found: ExplanationCheck) -> Iterable[str]:
    for each in found.methods:
        alike = f"{each.rank_correlation.value:.2f}"
        if each.verdict == PASSES:
            yield f"{each.method} passes; its maps with shuffled weights correlate by {alike} (below 0.3)"
        else:
            yield f"{each.method}: {each.verdict}: {'; '.join(each.reasons)}"
    failed = [each.method for each in found.methods if each.verdict == FAILS]
    if failed:
        yield f"not used by default: {', '.join(failed)}"
    for carried in found.carried:
        yield carried.sentence()
