"""``googlenet evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from googlenet.cli.data_options import FollowLinks, LabelColumn, MultiLabel, PathColumn
from googlenet.cli.limits import MaxMegapixels

if TYPE_CHECKING:
    from googlenet.evaluation.evaluate import Against, Evaluation
    from googlenet.evaluation.intervals import Interval
    from googlenet.evaluation.metrics import Metrics, MultiLabelMetrics
    from googlenet.preprocessing import Preprocessing

MAX_MATRIX_CLASSES = 16  # whose confusion matrix is printed
MAX_MISTAKES = 10  # that are printed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", short_help="Measure a classifier on labelled images.")(evaluate)


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    data: Annotated[
        str | None,
        typer.Argument(
            help="Labelled images, as `googlenet train` takes them; by default, those that RUN was trained on."
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="val, calibrate, test (the roles of images held out in training), train or all; by default, images "
            "that had no part in training."
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16", "int8"] | None,
        typer.Option(help="What to compute in. By default the fastest that was measured to be as accurate as fp32."),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="First download DATA: a named set or a URL.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="File for the confusion matrix, or average precisions; by default, in RUN."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Another run or bundle of the same classes: compare both on images neither was trained on."),
    ] = None,
    mistakes: Annotated[
        Path | None,
        typer.Option(help="CSV file for the wrong images, worst first: correct its labels and train on it."),
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="File for thumbnails of the worst wrong images.")] = None,
    answers: Annotated[Path | None, typer.Option(help="File for the answer to every image, .csv or .parquet.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="File for a page that shows all of it, .html: one file, to send to a colleague.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    follow_links: FollowLinks = False,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    multi_label: MultiLabel = False,
    max_megapixels: MaxMegapixels = None,
) -> None:
    """Example: googlenet evaluate runs/flowers photos/

    Measure a classifier on labelled images: accuracy with its 95 % interval, each class, the confusion matrix, and
    which images are wrong.

    If images may have several labels: mean average precision, and precision, recall and F1 of each label.
    """
    from googlenet import bundle
    from googlenet.cli import look

    look.check_plot(plot)
    look.check_plot(sheet, "--sheet")
    _check_files(mistakes, answers, report)
    if against is not None:
        bundle.read(against)
    card = bundle.read(run).card
    from googlenet.cli.output import progress, show_json, warn, warn_of_range
    from googlenet.data.addresses import is_url
    from googlenet.data.source import DataSource
    from googlenet.stages import stage

    reading: dict[str, Any] = {"follow_links": follow_links, "path_column": path_column, "label_column": label_column,
                               "multi_label": multi_label, "download": download}  # fmt: skip
    source = DataSource(data or card.data.get("name", ""), **reading) if data or any(reading.values()) else None
    if download and source and not is_url(str(source)):
        look.fetch(str(source))
    warn_of_range(card.preprocessing)
    with stage(f"evaluating {run}"), progress("evaluating") as done:
        from googlenet.evaluation.evaluate import evaluate as evaluate_run

        result = evaluate_run(run, source, split=split, precision=precision, against=against, progress=done)
    for note in result.notes:
        warn(note)
    for reason in result.unreadable.values():
        warn(f"left out: {reason}")
    with stage("resampling for the intervals"):
        found = result.to_dict()
    if as_json:
        show_json(found)
    else:
        show(result)
    _write(result, mistakes, answers, quiet=as_json)
    if sheet is not None:
        _draw_sheet(result, sheet, card.preprocessing, quiet=as_json)
    if report is not None:
        _report(result, run, report, quiet=as_json)
    _draw(result, plot or run / _name_of_plot(result), plot is not None, quiet=as_json)


def _check_files(mistakes: Path | None, answers: Path | None, report: Path | None) -> None:
    if mistakes is not None or answers is not None:
        from googlenet.evaluation.answers import check_table

        check_table("--mistakes", mistakes, (".csv",))
        check_table("--answers", answers)
    if report is not None:
        from googlenet.reporting.report import check_report_path

        check_report_path(report)


def _write(result: Evaluation, mistakes: Path | None, answers: Path | None, quiet: bool) -> None:
    from googlenet.cli.output import say
    from googlenet.evaluation.against import paired_rows
    from googlenet.evaluation.answers import COLUMNS, write_mistakes, write_rows

    if mistakes is not None and result.against is not None:
        write_rows(paired_rows(result, result.against), mistakes, (*COLUMNS, "predicted_against", "wrong"))
    elif mistakes is not None:
        write_mistakes(result.mistakes, mistakes)
    if answers is not None:
        result.answers.write(answers)
    for what, path in (("wrong images", mistakes), ("answers", answers)):
        if path is not None and not quiet:
            say(f"{what}: {path}")


def _report(result: Evaluation, run: Path, path: Path, quiet: bool) -> None:
    from googlenet.cli.output import say
    from googlenet.stages import stage

    with stage(f"writing {path}"):
        from googlenet.reporting.report import write_report

        write_report(run, result, path)
    if not quiet:
        say(f"report: {path}")


def _draw_sheet(result: Evaluation, path: Path, preprocessing: Preprocessing, quiet: bool) -> None:
    from googlenet.cli.look import plot
    from googlenet.cli.output import say, warn

    if not result.mistakes:
        warn(f"no image was answered wrong: {path} was not written")
        return

    def draw() -> None:
        from googlenet.evaluation.sheet import draw_mistakes

        draw_mistakes(result.mistakes, path, preprocessing, len(result.answers))

    if plot(draw, path, asked=True) and not quiet:
        say(f"wrong images: {path}")


def _name_of_plot(result: Evaluation) -> str:
    from googlenet.evaluation.metrics import Metrics

    return "confusion.png" if isinstance(result.metrics, Metrics) else "average_precision.png"


def _draw(result: Evaluation, path: Path, asked: bool, quiet: bool) -> None:
    from googlenet.cli.look import plot
    from googlenet.cli.output import say
    from googlenet.evaluation.metrics import Metrics

    metrics = result.metrics

    def draw() -> None:
        from googlenet.evaluation.plots import draw_average_precisions, draw_confusion

        draw_confusion(metrics, path) if isinstance(metrics, Metrics) else draw_average_precisions(metrics, path)

    what = "confusion matrix" if isinstance(metrics, Metrics) else "average precisions"
    if plot(draw, path, asked) and not quiet:
        say(f"{what}: {path}")


def show(result: Evaluation) -> None:
    """Print an evaluation as tables."""
    from googlenet.cli.output import say
    from googlenet.evaluation.metrics import Metrics

    recalls = [_ends(each) for each in result.recall_intervals]
    if isinstance(result.metrics, Metrics):
        _show_classes(result.metrics, recalls)
    else:
        _show_labels(result.metrics, recalls)
    _show_mistakes(result)
    where = f"on {len(result.answers):,} images ({result.split} of {result.data}, {result.precision})"
    known = any(each.low is not None for each in result.intervals.values())
    for line in result.described():
        say(line)
    say(where + (", with 95 % intervals" if known else ""))
    if result.against is not None:
        _show_against(result.against)


def _ends(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return "–"
    return f"{interval.low:.0%} to {interval.high:.0%}"


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
            (c.name, f"{c.images:,}", f"{c.precision:.1%}", f"{c.recall:.1%}", ends, f"{c.f1:.1%}")
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
                f"{label.precision:.1%}",
                f"{label.recall:.1%}",
                ends,
                f"{label.f1:.1%}",
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
    few = f"the first {MAX_MISTAKES} of " if len(wrong) > MAX_MISTAKES else ""
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
            for each in wrong[:MAX_MISTAKES]
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
