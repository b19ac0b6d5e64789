"""What ``googlenet evaluate`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from googlenet.evaluation.coverage import Coverage
    from googlenet.evaluation.ensembles import Costs
    from googlenet.evaluation.evaluate import Against, Evaluation
    from googlenet.evaluation.intervals import Interval
    from googlenet.evaluation.metrics import Metrics, MultiLabelMetrics
    from googlenet.evaluation.suspects import Suspects

MAX_MATRIX_CLASSES = 16  # whose confusion matrix is printed
MAX_IMAGES = 10  # that are printed, wrong or in doubt


def show(result: Evaluation, coverage: Coverage | None = None) -> None:
    """Print an evaluation as tables, with the sets of classes that were measured."""
    from googlenet.cli.output import say
    from googlenet.evaluation.certainty import described
    from googlenet.evaluation.metrics import Metrics

    recalls = [_ends(each) for each in result.recall_intervals]
    if isinstance(result.metrics, Metrics):
        _show_classes(result.metrics, recalls)
    else:
        _show_labels(result.metrics, recalls)
    _show_mistakes(result)
    if coverage is not None:
        _show_coverage(coverage)
    where = f"on {len(result.answers):,} images ({result.split} of {result.data}, {result.precision})"
    known = any(each.low is not None for each in result.intervals.values())
    for line in result.described():
        say(line)
    say(where + (", with 95 % intervals" if known else ""))
    for line in (described(result.card), *result.reliability.described()):
        say(line)
    if coverage is not None:
        held = coverage.held
        ends = "" if held.low is None else f" [{held.low:.1%}, {held.high:.1%}]"
        say(f"sets at {100 * coverage.level:.4g} % hold the true class in {held.value:.1%}{ends} of images: "
            f"{coverage.size:.3g} classes on average, {coverage.empty:.1%} empty")  # fmt: skip
    if result.against is not None:
        _show_against(result.against)


def _ends(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return "–"
    return f"{interval.low:.0%} to {interval.high:.0%}"


def _shares(images: int, *values: float) -> list[str]:
    """Return shares as people read them: of a class without images nothing is known."""
    return [f"{value:.1%}" if images else "–" for value in values]


def _show_classes(metrics: Metrics, recalls: list[str]) -> None:
    from googlenet.cli.output import say, show_matrix, show_table

    classes = metrics.classes
    show_table(
        "",
        [
            ("class", "left"),
            ("images", "right"),
            ("precision", "right"),
            ("recall", "right"),
            ("95 % interval", "right"),
            ("F1", "right"),
        ],
        [
            (c.name, f"{c.images:,}", *_shares(c.images, c.precision, c.recall), ends, *_shares(c.images, c.f1))
            for c, ends in zip(classes, recalls, strict=True)
        ],
    )
    if len(classes) <= MAX_MATRIX_CLASSES:
        counts = [[f"{n:,}" if n else "·" for n in row] for row in metrics.confusion]
        show_matrix("true \\ predicted", [c.name for c in classes], counts)
    mistakes = ", ".join(f"{true} called {called} ({n:,})" for true, called, n in metrics.most_confused())
    say(f"most frequent mistakes: {mistakes or 'none'}")
    say()


def _show_labels(metrics: MultiLabelMetrics, recalls: list[str]) -> None:
    from googlenet.cli.output import show_table

    columns = ("images", "average precision", "precision", "recall", "95 % interval", "F1", "threshold")
    show_table(
        "",
        [("label", "left"), *((name, "right") for name in columns)],
        [
            (
                label.name,
                f"{label.positives:,}",
                "–" if label.average_precision is None else f"{label.average_precision:.1%}",
                *_shares(label.positives, label.precision, label.recall),
                ends,
                *_shares(label.positives, label.f1),
                f"{label.threshold:.1%}",
            )
            for label, ends in zip(metrics.labels, recalls, strict=True)
        ],
    )


def _show_mistakes(result: Evaluation) -> None:
    """Print the first ten wrong images, the highest loss first."""
    from googlenet.cli.output import show_table

    wrong = result.mistakes
    if not wrong:
        return
    few = f"the first {MAX_IMAGES} of " if len(wrong) > MAX_IMAGES else ""
    show_table(
        f"{few}{len(wrong):,} wrong of {len(result.answers):,} images, the highest loss first",
        [("image", "left"), ("true", "left"), ("predicted", "left"), ("probability", "right"), ("loss", "right")],
        [
            (
                each.image.name,
                ", ".join(each.true) or "no label",
                ", ".join(each.predicted) or "no label",
                f"{each.probability:.0%}",
                f"{each.loss:.2f}",
            )
            for each in wrong[:MAX_IMAGES]
        ],
    )


def _show_coverage(coverage: Coverage) -> None:
    """Print how often the sets of each class hold it, the least first."""
    from googlenet.cli.output import show_table

    measured = [(each.held, each) for each in coverage.classes if each.held is not None]
    show_table(
        f"sets of classes at {100 * coverage.level:.4g} % ({coverage.score})",
        [("class", "left"), ("images", "right"), ("held", "right"), ("95 % interval", "right"), ("size", "right")],
        [
            (each.name, f"{held.n:,}", f"{held.value:.1%}", _ends(held), f"{each.size:.3g}")
            for held, each in sorted(measured, key=lambda pair: pair[0].value)
        ],
    )


def _show_against(against: Against) -> None:
    from googlenet.cli.output import say, show_table

    found = against.comparison
    show_table(
        "",
        [(f"compared with {against.other}", "left"), ("images", "right")],
        [
            ("both right", f"{found.both_right:,}"),
            ("only this one right", f"{found.only_first:,}"),
            ("only the other right", f"{found.only_second:,}"),
            ("both wrong", f"{found.both_wrong:,}"),
        ],
    )
    change = found.difference
    ends = "" if change.low is None or change.high is None else (
        f" [{100 * change.low:+.1f}, {100 * change.high:+.1f}]")  # fmt: skip
    verdict = {"better": "this one is better", "worse": "the other is better"}.get(found.verdict, "no difference shown")
    say(
        f"{verdict}: {100 * change.value:+.1f} points of accuracy{ends}, p = {found.p_value:.2g} on {change.n:,} images"
    )
    if found.detectable is not None:
        say(f"so many images show a difference of {100 * found.detectable:.1f} points or more in 80 % of cases")


def show_suspects(suspects: Suspects) -> None:
    """Print the first ten labels in doubt, the most doubtful first."""
    from googlenet.cli.output import say, show_table

    found = suspects.items
    order = ", the most doubtful first" if found else ""
    say(f"{len(found):,} of {len(suspects.images):,} labels are in doubt{order}")
    if found:
        show_table(
            "",
            [("image", "left"), ("label", "left"), ("rather", "left"), ("probability", "right")],
            [(each.image.name, each.label, each.suggested, f"{each.probability:.0%}") for each in found[:MAX_IMAGES]],
        )


def show_costs(costs: Costs) -> None:
    """Print what crops and networks gain and cost, a row each."""
    from googlenet.cli.output import say, show_table
    from googlenet.metrics import METRICS

    main, *others = costs.rows[0].evaluation.metrics.shown  # the plot shows the main one
    names = [main, *(n for n in others if METRICS[n].over == "images" and METRICS[n].unit == "fraction")]
    columns = [("networks", "right"), ("crops", "right"), ("passes", "right")]
    columns += [(METRICS[name].title, "right") for name in names]
    rows = []
    for each in costs.rows:
        intervals = each.evaluation.intervals
        figures = [METRICS[name].format(intervals[name].value) for name in names]
        rows.append((str(each.networks), each.crops, f"{each.passes:.3g}", *figures, _ends(intervals[names[0]]),
                     f"{each.images_per_second:,.1f}"))  # fmt: skip
    show_table("", [*columns, ("95 % interval", "right"), ("images/s", "right")], rows)
    say(f"on {costs.images:,} images ({costs.split} of {costs.data}); passes: of a network for each image")
