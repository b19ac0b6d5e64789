"""``googlenet predict``."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("predict", short_help="Say what is in pictures, without PyTorch.")(predict)


def predict(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    paths: Annotated[
        list[str],
        typer.Argument(help="Pictures, folders of pictures, or globs such as 'new/*.jpg'.", metavar="PATH…"),
    ],
    top: Annotated[int, typer.Option(min=1, help="How many classes to name for each picture.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a row per picture and class named.")] = False,
) -> None:
    """Example: googlenet predict runs/flowers daisy.jpg holiday/ 'new/*.png' --top 3

    Say what is in pictures. PyTorch is not needed.

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
                named = [{"class": name, "probability": round(p, 6)} for name, p in answer.top(top)]
                rows.append({"path": str(file), "predictions": named})
            report(done, len(files))
    _show(rows, top, as_json, as_csv)
    if any("error" in row for row in rows):
        raise typer.Exit(1)


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


def _show(rows: list[dict[str, Any]], top: int, as_json: bool, as_csv: bool) -> None:
    from googlenet.cli.output import show_csv, show_json, show_table, warn

    if as_json:
        show_json(rows)
        return
    if as_csv:
        show_csv([line for row in rows for line in _csv_lines(row)])
    else:
        columns = [
            ("picture", "left"),
            *(pair for _ in range(top) for pair in (("class", "left"), ("", "right"))),
        ]
        cells = (
            [
                row["path"],
                *(cell for p in row["predictions"] for cell in (p["class"], f"{p['probability']:.1%}")),
            ]
            for row in rows
            if "predictions" in row
        )
        if any("predictions" in row for row in rows):
            show_table("", columns, cells)
    for row in rows:
        if "error" in row:
            warn(f"not read: {row['error']}")


def _csv_lines(row: dict[str, Any]) -> list[dict[str, Any]]:
    if "error" in row:
        return [{"path": row["path"], "rank": "", "class": "", "probability": "", "error": row["error"]}]
    return [
        {"path": row["path"], "rank": rank, "class": p["class"], "probability": p["probability"], "error": ""}
        for rank, p in enumerate(row["predictions"], start=1)
    ]
