"""``googlenet predict``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from googlenet.cli.data_options import FollowLinks
from googlenet.cli.devices import PredictIn, PredictOn
from googlenet.cli.limits import MaxMegapixels

if TYPE_CHECKING:
    from googlenet.bulk.job import Job
    from googlenet.bulk.report import BulkReport
    from googlenet.bulk.rows import Row
    from googlenet.data.source import DataSource

CLASSES_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict", short_help="Classify images (no PyTorch needed).")(predict)


def predict(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Images, folders, globs such as 'new/*.jpg', photos.zip, s3://bucket/folder, - for paths on stdin; "
            "list.csv or table.parquet with --column.",
            metavar="PATH…",
        ),
    ],
    top: Annotated[
        int | None,
        typer.Option(min=1, help="How many classes to name for each image. By default its class, or its labels."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of what --out FILE.jsonl has.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with the columns of --out FILE.csv.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Write one row per image to a .csv, .jsonl or .parquet file; with --engine ray, to a folder of parts.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the file (or folder) of --out.")] = False,
    column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column of a list or .parquet file that names (or holds) the images."),
    ] = None,
    follow_links: FollowLinks = False,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch images and archives that are given by their https addresses.")
    ] = False,
    sort_into: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy each image into DIR/CLASS/.")] = None,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="P", help="Below this probability: into DIR/unsure/ instead.")
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Hard-link instead of copying.")] = False,
    sets: Annotated[
        float | None,
        typer.Option(metavar="LEVEL", help="Also name a set of classes that holds the true one in this share: 0.9."),
    ] = None,
    set_score: Annotated[
        Literal["lac", "aps"],
        typer.Option(
            help="How --sets are made: lac makes the smallest sets, aps larger ones that fit hard images better."
        ),
    ] = "lac",
    unknown: Annotated[
        float | None,
        typer.Option(
            metavar="RATE", help="Also say which images are unlike those it knows, at this rate of false alarms: 0.05."
        ),
    ] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Write feature embeddings instead of class probabilities.")
    ] = False,
    precision: PredictIn = None,
    device: PredictOn = "cpu",
    crops: Annotated[
        Literal["1", "10", "144", "auto"],
        typer.Option(help="Parts of each image to answer from; auto takes more only while the answer is unsure."),
    ] = "1",
    exit: Annotated[
        Literal["off", "auto", "always"],
        typer.Option(
            help="Let an auxiliary head answer easy images: auto where that was measured to be 10 % faster or more. "
            "Needs `googlenet early-exit RUN`."
        ),
    ] = "off",
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="This process, or every core of a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="The cluster. By default RAY_ADDRESS, or one that is started here."),
    ] = None,
    max_megapixels: MaxMegapixels = None,
) -> None:
    """Example: googlenet predict runs/flowers daisy.jpg holiday/ 'new/*.png' --top 3

    Classify images. PyTorch is not needed.

    If an image may have several labels, all labels with a probability above their threshold are named, or none.

    An image that cannot be read is reported, the others are still classified, and the exit code is 1.

    Very many images: googlenet predict runs/flowers archive/ --out results.csv

    Stop or kill it at any time: the same command with --resume continues, and the file has each image once.

    On many machines: googlenet predict runs/flowers s3://bucket/archive --out results/ --engine ray
    """
    on_ray = engine == "ray"
    _refuse_contradictions(
        {"--json": as_json, "--csv": as_csv, "--out": out, "--resume": resume, "--sort-into": sort_into,
         "--min-confidence": min_confidence is not None, "--link": link, "--embeddings": embeddings, "--top": top,
         "--engine ray": on_ray, "--device": device != "cpu", "--address": address, "--sets": sets,
         "--unknown": unknown, "--set-score": set_score != "lac", "--crops": crops != "1",
         "--exit": exit != "off"}
    )  # fmt: skip
    inputs = _inputs(paths, column, follow_links, download)
    if on_ray and out is not None:
        from googlenet.bulk.cluster import check_cluster

        check_cluster(out, inputs, address)
    elif out is not None:
        from googlenet.bulk.formats import check_results_path

        check_results_path(out, resume=resume)
    if sort_into is not None:
        from googlenet.bulk.sorting import check_sorting

        check_sorting(sort_into, inputs)
    from googlenet.bulk.job import make_job
    from googlenet.cli.output import warn, warn_of_range

    job = make_job(run, inputs, precision=precision, device=device, crops=crops, exit=exit, tell=warn, top=top,
                   embeddings=embeddings, sets=sets, set_score=set_score, unknown=unknown)  # fmt: skip
    warn_of_range(job.classifier.card.preprocessing)
    if sort_into is not None:
        from googlenet.bulk.sorting import sorter_for

        job.sorter = sorter_for(job, sort_into, min_confidence or 0.0, link)
    unreadable = _print(job, as_json, as_csv) if out is None else _write(job, out, resume, on_ray, address)
    if unreadable:
        raise typer.Exit(1)


def _refuse_contradictions(given: dict[str, Any]) -> None:
    """Raise if options exclude each other, or one lacks another that it needs."""
    for one, other in (("--json", "--csv"), ("--out", "--json"), ("--out", "--csv"), ("--embeddings", "--top"),
                       ("--embeddings", "--sort-into"), ("--embeddings", "--sets"), ("--embeddings", "--unknown"),
                       ("--crops", "--sets"), ("--crops", "--unknown"), ("--crops", "--embeddings"),
                       ("--exit", "--crops"), ("--exit", "--sets"), ("--exit", "--unknown"), ("--exit", "--embeddings"),
                       ("--exit", "--device"), ("--exit", "--engine ray"),
                       ("--engine ray", "--json"), ("--engine ray", "--csv"),
                       ("--engine ray", "--sort-into"), ("--engine ray", "--device")):  # fmt: skip
        if given[one] and given[other]:
            raise typer.BadParameter(f"{one} and {other} exclude each other: choose one")
    for one, needed in (("--resume", "--out"), ("--embeddings", "--out"), ("--min-confidence", "--sort-into"),
                        ("--link", "--sort-into"), ("--engine ray", "--out"),
                        ("--address", "--engine ray"), ("--set-score", "--sets")):  # fmt: skip
        if given[one] and not given[needed]:
            raise typer.BadParameter(f"{one} needs {needed}: give it, or leave {one} out")


def _inputs(paths: list[str], column: str | None, follow_links: bool, download: bool) -> list[DataSource]:
    """Say of each path how it is read: the column is that of every list and table."""
    from googlenet.data.inputs import has_columns
    from googlenet.data.source import DataSource
    from googlenet.errors import DataError

    if column is not None and not any(map(has_columns, paths)):
        raise DataError(
            f"--column {column} names a column of a .csv, .tsv or .parquet file, and none is given: leave it out"
        )
    return [
        DataSource(path, path_column=column if has_columns(path) else None, follow_links=follow_links,
                   download=download)
        for path in paths
    ]  # fmt: skip


# Into a file.


def _write(job: Job, out: Path, resume: bool, on_ray: bool, address: str | None) -> int:
    """Write the results and say what is in them. Return how many images could not be read."""
    from googlenet.cli.output import progress

    with progress("predicting") as job.progress:
        if on_ray:
            from googlenet.bulk.cluster import write_parts

            report = write_parts(job, out, resume=resume, address=address)
        else:
            from googlenet.bulk.predicting import write_results

            report = write_results(job, out, resume=resume)
    _show_report(report)
    return report.unreadable


def _show_report(report: BulkReport) -> None:
    """Say what is in results, how many rows are new and how fast these came, and how many images each class has."""
    from googlenet.cli.output import is_closed, say, show_table

    if is_closed():
        return
    parts = f" ({report.parts:,} parts)" if report.parts else ""
    once = ", each there once" if report.parts else ""
    earlier = f", {report.images - report.new:,} of them from before" if report.images > report.new else ""
    speed = f"; {report.images_per_second:,.0f} images/s" if report.new else ""
    counts = f"{report.images:,} images{once}{earlier}, {report.unreadable:,} could not be read{speed}"
    say(f"{report.path}{parts}: {counts}")
    shown = list(report.counts.items())[:CLASSES_SHOWN]
    rows = [(name, f"{count:,}") for name, count in shown]
    if len(report.counts) > len(shown):
        left = sum(report.counts.values()) - sum(count for _, count in shown)
        rows.append((f"{len(report.counts) - len(shown)} more classes", f"{left:,}"))
    if rows:
        show_table("", [("class", "left"), ("images", "right")], rows)


# On stdout.


def _print(job: Job, as_json: bool, as_csv: bool) -> int:
    """Print the rows. Return how many images could not be read."""
    from googlenet.cli.output import progress, warn

    show = _show_json if as_json else _show_csv if as_csv else _show_table
    streamed = (as_json or as_csv) and not sys.stdout.isatty()  # on a terminal the bar ends first
    unreadable: list[str] = []
    with progress("predicting") as job.progress:
        rows = _noting_errors(job.rows(), unreadable)
        if streamed:
            show(job, rows)
        else:
            there = list(rows)
    if not streamed:
        show(job, there)
    for error in () if as_json else unreadable:
        warn(f"not read: {error}")
    return len(unreadable)


def _noting_errors(rows: Iterable[Row], errors: list[str]) -> Iterator[Row]:
    for row in rows:
        if row["error"]:
            errors.append(row["error"])
        yield row


def _show_csv(job: Job, rows: Iterable[Row]) -> None:
    """Print what a .csv file has, each row as it comes; on a terminal, which would obey control characters, escaped."""
    from googlenet.bulk.rows import CSVFormat
    from googlenet.text import csv_line, printable

    form, stdout = CSVFormat(job.schema), sys.stdout  # now: once a bar is shown, sys.stdout is the bar's
    stdout.write(form.header)
    for row in rows:
        if stdout.isatty():
            stdout.write(csv_line(printable("" if cell is None else str(cell)) for cell in form.cells(row)))
        else:
            stdout.write(form.line(row))


def _show_json(job: Job, rows: Iterable[Row]) -> None:
    """Print an array of the objects that a .jsonl file has; in ASCII if stdout cannot encode other letters."""
    from googlenet.bulk.rows import JSONLFormat

    form, stdout = JSONLFormat(job.schema), sys.stdout  # now: as above
    is_utf = (stdout.encoding or "").lower().startswith("utf")
    stdout.write("[")
    for number, row in enumerate(rows):
        line = form.line(row).rstrip("\n")
        stdout.write((",\n" if number else "\n") + (line if is_utf else json.dumps(json.loads(line))))
    stdout.write("\n]\n")


def _show_table(job: Job, rows: Iterable[Row]) -> None:
    """Print a table: the most probable classes side by side, or any number of labels in one cell."""
    from googlenet.bulk.rows import SET, UNKNOWN
    from googlenet.cli.output import show_table

    read = [row for row in rows if not row["error"]]
    if not read:
        return
    extra = [name for name in job.schema.columns if name.startswith((SET, UNKNOWN))]
    titles = [("unknown" if name.startswith(UNKNOWN) else name.replace("_", " "), "left") for name in extra]
    ends = [[_certainty(row[name]) for name in extra] for row in read]
    if "labels" in job.schema.columns:
        columns = [("image", "left"), ("labels", "left"), *titles]
        show_table("", columns, [(row["path"], _labels(row), *end) for row, end in zip(read, ends, strict=True)])
        return
    groups = (len(job.schema.columns) - len(extra)) // 2
    columns = [("image", "left"), *(groups * [("class", "left"), ("", "right")]), *titles]
    shown = [
        [
            row["path"],
            *(f"{cell:.1%}" if isinstance(cell, float) else cell for cell in list(row.values())[2 : 2 + 2 * groups]),
            *end,
        ]
        for row, end in zip(read, ends, strict=True)
    ]
    show_table("", columns, shown, 1 if extra else groups)


def _certainty(cell: list[str] | bool) -> str:
    if isinstance(cell, bool):
        return "unknown" if cell else ""
    return ", ".join(cell) or "none"


def _labels(row: Row) -> str:
    pairs = zip(row["labels"], row["probabilities"], strict=True)
    return ", ".join(f"{name} {probability:.1%}" for name, probability in pairs) or "none"
