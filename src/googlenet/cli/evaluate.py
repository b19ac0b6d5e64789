"""``googlenet evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from googlenet.cli.data_options import FollowLinks, LabelColumn, MultiLabel, PathColumn
from googlenet.cli.devices import PredictIn, PredictOn
from googlenet.cli.limits import MaxMegapixels

if TYPE_CHECKING:
    from googlenet.card import ModelCard
    from googlenet.data.source import DataSource
    from googlenet.evaluation.evaluate import Evaluation
    from googlenet.evaluation.suspects import Suspects
    from googlenet.preprocessing import Preprocessing


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", short_help="Measure a classifier on labelled images.")(evaluate)


def evaluate(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN… [DATA]",
            help="A run of `googlenet train`, or a bundle; several are measured together. Then labelled images, as "
            "`googlenet train` takes them; by default, those that the first RUN was trained on.",
        ),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            help="val, calibrate, test (the roles of images held out in training), train or all; by default, images "
            "that had no part in training."
        ),
    ] = None,
    precision: PredictIn = None,
    device: PredictOn = "cpu",
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
    suspects: Annotated[
        Path | None,
        typer.Option(
            help="CSV file for all images of DATA, those whose labels are in doubt first, and thumbnails of these "
            "beside it: correct its labels and train on it."
        ),
    ] = None,
    crops: Annotated[
        str,
        typer.Option(
            help="Parts of each image to answer from: 1, 10, 144, or auto, which takes more only while the answer is "
            "unsure. Several are compared: 1,10,144,auto."
        ),
    ] = "1",
    sets: Annotated[
        float | None,
        typer.Option(metavar="LEVEL", help="Also measure sets of classes at this level, such as 0.9, for each class."),
    ] = None,
    set_score: Annotated[Literal["lac", "aps"], typer.Option(help="How sets are made, as in `predict`.")] = "lac",
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

    Wrong labels: googlenet evaluate runs/flowers photos/ --suspects suspects.csv

    Accuracy and cost of more crops and networks: googlenet evaluate runs/a runs/b photos/ --crops 1,10,144,auto

    If images may have several labels: mean average precision, and precision, recall and F1 of each label.
    """
    from googlenet.cli import look

    files = {"--mistakes": mistakes, "--answers": answers, "--sheet": sheet, "--suspects": suspects, "--report": report}
    _check_files(plot, files)
    runs, data = _runs_and_data(paths)
    run, counts = runs[0], crops.split(",")
    asked = {**files, "--against": against, "--sets": sets}
    _check_crops(counts, len(runs), [name for name, value in asked.items() if value is not None])
    card = _read(run, [*runs[1:], *([against] if against else [])], sets, set_score)
    from googlenet.cli.evaluation import show
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
    if len(runs) > 1 or len(counts) > 1:
        _compare(runs, source, counts, {"split": split, "precision": precision}, plot, as_json)
        return
    doubts = None if suspects is None else _find_suspects(run, source)  # first: it may be refused
    with stage(f"evaluating {run}"), progress("evaluating") as done:
        from googlenet.evaluation.evaluate import evaluate as evaluate_run

        result = evaluate_run(run, source, split=split, precision=precision, against=against, device=device,
                              crops=crops, progress=done)  # fmt: skip
    for note in (*result.notes, *(f"left out: {reason}" for reason in result.unreadable.values())):
        warn(note)
    with stage("resampling for the intervals"):
        found = result.to_dict()
    coverage = None if sets is None else result.coverage(sets, set_score)
    if as_json:
        show_json({**found, **({"coverage": coverage.to_dict()} if coverage else {}), **_doubts_as_json(doubts)})
    else:
        show(result, coverage)
    _write(result, mistakes, answers, quiet=as_json)
    if sheet is not None:
        _draw_sheet(result, sheet, card.preprocessing, quiet=as_json)
    _report(result, run, report, quiet=as_json)
    _draw(result, plot or run / _name_of_plot(result), plot is not None, quiet=as_json)
    if doubts is not None and suspects is not None:
        _write_suspects(doubts, suspects, card.preprocessing, quiet=as_json)


def _runs_and_data(paths: list[str]) -> tuple[list[Path], str | None]:
    """Tell runs from DATA, which is the last path, if any."""
    from googlenet.bundle import is_here
    from googlenet.text import printable

    first, *others = paths
    data = others.pop() if others and not is_here(others[-1]) else None
    strange = [path for path in others if not is_here(path)]
    if strange:
        raise typer.BadParameter(
            f"{printable(strange[0])} is no run of `googlenet train`: name runs first, and DATA last"
        )
    return [Path(first), *map(Path, others)], data


def _check_crops(counts: list[str], runs: int, asked: list[str]) -> None:
    """Raise unless the numbers of crops are known, and fit what is asked for."""
    from googlenet.inference.origin import check_crops

    for count in counts:
        check_crops(count)
    if asked and (runs > 1 or len(counts) > 1):
        several = "several runs" if runs > 1 else "several --crops"
        raise typer.BadParameter(f"{asked[0]} and {several} exclude each other: name one")
    if "--sets" in asked and counts != ["1"]:
        raise typer.BadParameter("--sets and --crops exclude each other: sets are calibrated by answers from one crop")


def _compare(
    runs: list[Path],
    source: DataSource | None,
    counts: list[str],
    how: dict[str, Any],
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure several runs together, or several numbers of crops."""
    from googlenet.cli.evaluation import show_costs
    from googlenet.cli.look import plot as draw_plot
    from googlenet.cli.output import progress, say, show_json, warn
    from googlenet.stages import stage

    with stage("evaluating"), progress("evaluating") as report:
        from googlenet.evaluation.ensembles import compare_crops

        found = compare_crops(runs, source, crops=counts, progress=report, **how)
    for note in found.notes:
        warn(note)
    if as_json:
        show_json(found.to_dict())
    else:
        show_costs(found)
    path = plot or runs[0] / "crops.png"

    def draw() -> None:
        from googlenet.evaluation.plots import draw_costs

        rows = []
        for each in found.rows:
            first = next(iter(each.evaluation.intervals.values()))
            rows.append((each.networks, each.crops, each.passes, first))
        draw_costs(rows, found.rows[0].evaluation.metrics.described()[0].rsplit(" ", 1)[0], path)

    if draw_plot(draw, path, plot is not None) and not as_json:
        say(f"accuracy and cost: {path}")


def _read(run: Path, others: list[Path], sets: float | None, set_score: str) -> ModelCard:
    """Read the card of a run. Raises if there is no such run, or what is asked for cannot be had of it."""
    from googlenet import bundle

    for other in others:
        bundle.read(other)
    found = bundle.read(run)
    if sets is not None:
        from googlenet.inference.certainty import check_sets

        check_sets(found, sets, set_score)
    return found.card


def _check_files(plot: Path | None, files: dict[str, Path | None]) -> None:
    """Raise where a file cannot be written."""
    from googlenet.cli import look

    look.check_plot(plot)
    look.check_plot(files["--sheet"], "--sheet")
    for option, path in files.items():
        if option == "--report" and path is not None:
            from googlenet.reporting.report import check_report_path

            check_report_path(path)
        elif option != "--sheet" and path is not None:
            from googlenet.evaluation.answers import SUFFIXES, check_table

            check_table(option, path, SUFFIXES if option == "--answers" else (".csv",))


def _find_suspects(run: Path, source: DataSource | None) -> Suspects:
    from googlenet.cli.output import progress, warn
    from googlenet.stages import stage

    with stage("looking for labels in doubt"), progress("looking for labels in doubt") as report:
        from googlenet.evaluation.suspects import find_suspects

        found = find_suspects(run, source, progress=report)
    for note in found.notes:
        warn(note)
    return found


def _doubts_as_json(found: Suspects | None) -> dict[str, Any]:
    return {} if found is None else {"suspects": found.to_dict()["suspects"]}


def _write_suspects(found: Suspects, path: Path, preprocessing: Preprocessing, quiet: bool) -> None:
    from googlenet.cli.evaluation import show_suspects
    from googlenet.cli.look import plot
    from googlenet.cli.output import say

    found.write(path)
    sheet = path.with_suffix(".png")

    def draw() -> None:
        from googlenet.evaluation.sheet import draw_suspects

        draw_suspects(found, sheet, preprocessing)

    drawn = bool(found.items) and plot(draw, sheet, asked=False)
    if not quiet:
        show_suspects(found)
        say(f"all images, those in doubt first: {path}" + (f"   thumbnails: {sheet}" if drawn else ""))


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


def _report(result: Evaluation, run: Path, path: Path | None, quiet: bool) -> None:
    if path is None:
        return
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
