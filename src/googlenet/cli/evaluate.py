"""``googlenet evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from googlenet.cli.data_options import FollowLinks, LabelColumn, MultiLabel, PathColumn
from googlenet.cli.limits import MaxMegapixels

if TYPE_CHECKING:
    from googlenet.evaluation.evaluate import Evaluation
    from googlenet.evaluation.metrics import Metrics, MultiLabelMetrics

MAX_MATRIX_CLASSES = 16  # whose confusion matrix is printed


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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    follow_links: FollowLinks = False,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    multi_label: MultiLabel = False,
    max_megapixels: MaxMegapixels = None,
) -> None:
    """Example: googlenet evaluate runs/flowers photos/

    Measure a classifier on labelled images: top-1 and top-5 accuracy, each class, the confusion matrix.

    If images may have several labels: mean average precision, and precision, recall and F1 of each label.
    """
    from googlenet import bundle
    from googlenet.cli import look

    look.check_plot(plot)
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
    with stage(f"evaluating {run}"), progress("evaluating") as report:
        from googlenet.evaluation.evaluate import evaluate as evaluate_run

        result = evaluate_run(run, source, split=split, precision=precision, progress=report)
    for note in result.notes:
        warn(note)
    for reason in result.unreadable.values():
        warn(f"left out: {reason}")
    if as_json:
        show_json(result.to_dict())
    else:
        show(result)
    _draw(result, plot or run / _name_of_plot(result), plot is not None, quiet=as_json)


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
    from googlenet.evaluation.metrics import Metrics

    measured = result.images - len(result.unreadable)
    where = f"on {measured:,} images ({result.split} of {result.data}, {result.precision})"
    if isinstance(result.metrics, Metrics):
        _show_classes(result.metrics, where)
    else:
        _show_labels(result.metrics, where)


def _show_classes(metrics: Metrics, where: str) -> None:
    from googlenet.cli.output import say, show_matrix, show_table

    classes = metrics.classes
    show_table(
        "",
        [
            ("class", "left"),
            ("images", "right"),
            ("precision", "right"),
            ("recall", "right"),
            ("F1", "right"),
        ],
        [(c.name, f"{c.images:,}", f"{c.precision:.1%}", f"{c.recall:.1%}", f"{c.f1:.1%}") for c in classes],
    )
    if len(classes) <= MAX_MATRIX_CLASSES:
        counts = [[f"{n:,}" if n else "·" for n in row] for row in metrics.confusion]
        show_matrix("true \\ predicted", [c.name for c in classes], counts)
    mistakes = ", ".join(f"{true} called {called} ({n:,})" for true, called, n in metrics.most_confused())
    say(f"most frequent mistakes: {mistakes or 'none'}")
    say("   ".join([*metrics.described(), where]))


def _show_labels(metrics: MultiLabelMetrics, where: str) -> None:
    from googlenet.cli.output import say, show_table

    columns = ("images", "average precision", "precision", "recall", "F1", "threshold")
    show_table(
        "",
        [("label", "left"), *((name, "right") for name in columns)],
        [
            (
                label.name,
                f"{label.positives:,}",
                "–" if label.average_precision is None else f"{label.average_precision:.1%}",
                *(f"{share:.1%}" for share in (label.precision, label.recall, label.f1, label.threshold)),
            )
            for label in metrics.labels
        ],
    )
    say("   ".join([*metrics.described(), where]))
