"""``googlenet evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from googlenet.cli.data_options import FollowLinks, LabelColumn, MultiLabel, PathColumn
from googlenet.cli.limits import MaxMegapixels

if TYPE_CHECKING:
    from googlenet.evaluation.evaluate import Evaluation
    from googlenet.evaluation.metrics import Metrics, MultiLabelMetrics

MATRIX_UP_TO = 16  # classes whose confusion matrix still fits on a terminal


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("evaluate", short_help="Measure a classifier on labelled images.")(evaluate)


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    data: Annotated[str, typer.Argument(help="Labelled images, as `googlenet train` takes them.")],
    split: Annotated[
        str | None,
        typer.Option(
            help="val (held out in training), test, train or all; unless told, what the run did not learn from."
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16", "int8"] | None,
        typer.Option(help="What to compute in; unless told, the fastest that was measured to be as right as fp32."),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch DATA, a named set or an address, first.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Where to draw the confusion matrix (or bars); unless told, into RUN.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    follow_links: FollowLinks = False,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    multi_label: MultiLabel = False,
    max_megapixels: MaxMegapixels = None,
) -> None:
    """Example: googlenet evaluate runs/flowers photos/

    Measure a classifier on labelled images: top-1, top-5, every class, the confusion matrix.

    Where images may have several labels: mean average precision, and precision, recall and F1 of every label.
    """
    from googlenet import bundle
    from googlenet.cli import look

    look.check_plot(plot)
    preprocessing = bundle.read(run).card.preprocessing
    import googlenet
    from googlenet.cli.output import progress, show_json, warn, warn_of_range
    from googlenet.data.addresses import is_url
    from googlenet.stages import stage

    if download and not is_url(data):
        look.fetch(data)
    warn_of_range(preprocessing)
    source = googlenet.DataSource(
        data, follow_links=follow_links, path_column=path_column, label_column=label_column, multi_label=multi_label,
        download=download,
    )  # fmt: skip
    with stage(f"evaluating {run}"), progress("evaluating") as report:
        result = googlenet.evaluate(run, source, split=split, precision=precision, progress=report)
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
        from googlenet.evaluation.report import draw_average_precisions, draw_confusion

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
    if len(classes) <= MATRIX_UP_TO:
        counts = [[f"{n:,}" if n else "·" for n in row] for row in metrics.confusion]
        show_matrix("true \\ predicted", [c.name for c in classes], counts)
    mistakes = ", ".join(f"{true} called {called} ({n:,})" for true, called, n in metrics.most_confused())
    say(f"most frequent mistakes: {mistakes or 'none'}")
    say(f"top-1 {metrics.top1:.2%}   top-5 {metrics.top5:.2%}   {where}")


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
    say(
        f"mAP {metrics.map:.2%}   micro F1 {metrics.micro_f1:.2%}   macro F1 {metrics.macro_f1:.2%}   "
        f"all labels right {metrics.exact:.2%}   {where}"
    )
