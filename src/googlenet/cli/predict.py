"""``googlenet predict``."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from googlenet.inference.classifier import Prediction


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("predict", short_help="Say what is in pictures, without PyTorch.")(predict)


def predict(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    paths: Annotated[
        list[str],
        typer.Argument(help="Pictures, folders of pictures, or globs such as 'new/*.jpg'.", metavar="PATH…"),
    ],
    top: Annotated[
        int | None,
        typer.Option(min=1, help="How many classes to name for each picture; unless told, its class or its labels."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a row per picture and class named.")] = False,
) -> None:
    """Example: googlenet predict runs/flowers daisy.jpg holiday/ 'new/*.png' --top 3

    Say what is in pictures. PyTorch is not needed.

    Where a picture may have several labels, those whose probability is at least their threshold are named, or none.

    A picture that cannot be read is reported, the others are delivered, and the exit code is 1.
    """
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other: choose one")
    from googlenet.cli.output import progress
    from googlenet.errors import ImageError
    from googlenet.inference.classifier import load

    classifier = load(run)
    files = _expand(paths, classifier.card.preprocessing.channels)
    rows: list[dict[str, Any]] = []
    with progress("predicting", len(files)) as report:
        for done, (file, answer) in enumerate(zip(files, classifier.predict_many(files), strict=True), start=1):
            if isinstance(answer, ImageError):
                rows.append({"path": str(file), "error": str(answer)})
            else:
                named = [{"class": name, "probability": round(p, 6)} for name, p in _named(answer, top)]
                rows.append({"path": str(file), "predictions": named})
            report(done, len(files))
    if as_json or as_csv:
        _show_for_programs(rows, as_json)
    else:
        _show(rows, top or 1, any_number=classifier.card.multi_label and top is None)
    if any("error" in row for row in rows):
        raise typer.Exit(1)


def _named(answer: Prediction, top: int | None) -> list[tuple[str, float]]:
    """Give the likeliest ``top`` classes, or those that the classifier says the picture is of."""
    if top:
        return answer.top(top)
    labels = answer.labels
    return [(name, probability) for name, probability in answer.top(len(answer.class_names)) if name in labels]


def _expand(paths: list[str], channels: int) -> list[Path]:
    """Turn files, folders and globs into pictures, each once, in the order given."""
    from googlenet.data.pictures import find_pictures
    from googlenet.errors import DataError

    found: list[Path] = []
    for path in paths:
        if Path(path).is_dir():
            here = find_pictures(Path(path), channels)
            if not here:
                raise DataError(f"{path} holds no pictures")
        elif Path(path).exists() or not glob.has_magic(path):
            here = [Path(path)]
        else:
            here = [Path(match) for match in sorted(glob.glob(path, recursive=True)) if not Path(match).is_dir()]
            if not here:
                raise DataError(f"{path} matches no file")
        found += here
    return list(dict.fromkeys(found))


def _show(rows: list[dict[str, Any]], top: int, any_number: bool) -> None:
    """Print a table: ``top`` classes side by side, or any number of labels in one cell."""
    from googlenet.cli.output import show_table

    pairs = {
        row["path"]: [(p["class"], f"{p['probability']:.1%}") for p in row["predictions"]]
        for row in rows
        if "predictions" in row
    }
    if any_number:
        columns = [("picture", "left"), ("labels", "left")]
        cells = [[path, ", ".join(map(" ".join, named)) or "none"] for path, named in pairs.items()]
    else:
        columns = [("picture", "left"), *(top * [("class", "left"), ("", "right")])]
        cells = [[path, *(cell for pair in named for cell in pair)] for path, named in pairs.items()]
    if pairs:
        show_table("", columns, cells)
    _warn_of_unread(rows)


def _show_for_programs(rows: list[dict[str, Any]], as_json: bool) -> None:
    from googlenet.cli.output import show_csv, show_json

    if as_json:
        show_json(rows)
        return
    show_csv([line for row in rows for line in _csv_lines(row)])
    _warn_of_unread(rows)


def _warn_of_unread(rows: list[dict[str, Any]]) -> None:
    from googlenet.cli.output import warn

    for row in rows:
        if "error" in row:
            warn(f"not read: {row['error']}")


def _csv_lines(row: dict[str, Any]) -> list[dict[str, Any]]:
    if not row.get("predictions"):  # it could not be read, or has no label
        return [{"path": row["path"], "rank": "", "class": "", "probability": "", "error": row.get("error", "")}]
    return [
        {"path": row["path"], "rank": rank, "class": p["class"], "probability": p["probability"], "error": ""}
        for rank, p in enumerate(row["predictions"], start=1)
    ]
