"""``googlenet evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from googlenet.evaluation.evaluate import Evaluation

MATRIX_UP_TO = 16  # classes whose confusion matrix still fits on a terminal


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("evaluate", short_help="Measure a classifier on labelled pictures.")(evaluate)


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    data: Annotated[str, typer.Argument(help="Labelled pictures, as `googlenet train` takes them.")],
    split: Annotated[str | None, typer.Option(help="val (held out in training), test, train or all.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch DATA, one of the named sets, first.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Where to draw the confusion matrix; unless told, into RUN.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Example: googlenet evaluate runs/flowers photos/

    Measure a classifier on labelled pictures: top-1, top-5, every class, the confusion matrix.
    """
    import googlenet
    from googlenet.cli.output import progress, say, show_json, warn
    from googlenet.evaluation.report import draw_confusion

    if download:
        with progress(f"fetching {data}") as report:
            googlenet.fetch(data, report)
    with progress("evaluating") as report:
        result = googlenet.evaluate(run, data, split=split, progress=report)
    picture = plot or run / "confusion.png"
    draw_confusion(result.metrics, picture)
    for reason in result.unreadable.values():
        warn(f"left out: {reason}")
    if as_json:
        show_json(
            {
                "data": result.data,
                "split": result.split,
                "unreadable": result.unreadable,
                **result.metrics.to_json(),
            }
        )
        return
    show(result)
    say(f"confusion matrix: {picture}")


def show(result: Evaluation) -> None:
    """Print an evaluation as tables."""
    from googlenet.cli.output import say, show_table

    metrics, classes = result.metrics, result.metrics.classes
    show_table(
        "",
        [
            ("class", "left"),
            ("pictures", "right"),
            ("precision", "right"),
            ("recall", "right"),
            ("F1", "right"),
        ],
        [(c.name, c.pictures, f"{c.precision:.1%}", f"{c.recall:.1%}", f"{c.f1:.1%}") for c in classes],
    )
    if len(classes) <= MATRIX_UP_TO:
        show_table(
            "true \\ predicted",
            [("", "left"), *((c.name, "right") for c in classes)],
            [(c.name, *(n or "·" for n in row)) for c, row in zip(classes, metrics.confusion, strict=True)],
        )
    mistakes = ", ".join(f"{true} called {called} ({n})" for true, called, n in metrics.most_confused())
    say(f"most frequent mistakes: {mistakes or 'none'}")
    read = result.pictures - len(result.unreadable)
    say(f"top-1 {metrics.top1:.2%}   top-5 {metrics.top5:.2%}   on {read:,} pictures ({result.split} of {result.data})")
