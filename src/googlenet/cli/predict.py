"""``googlenet predict``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from googlenet.cli.data_options import FollowLinks
from googlenet.cli.limits import MaxMegapixels

if TYPE_CHECKING:
    from googlenet.bulk.results import Results
    from googlenet.bulk.rows import Answer, Layout
    from googlenet.bulk.sorting import Sorter
    from googlenet.inference.classifier import Classifier


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("predict", short_help="Say what is in images, without PyTorch.")(predict)


def predict(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Images, folders of them, globs such as 'new/*.jpg', - for paths on stdin, list.csv with --column, "
            "photos.zip.",
            metavar="PATH…",
        ),
    ],
    top: Annotated[
        int | None,
        typer.Option(min=1, help="How many classes to name for each image; unless told, its class or its labels."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a row per image and class named.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Write a row per image to a .csv, .jsonl or .parquet file; with --engine ray, to a folder of parts.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in --out.")] = False,
    column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column of list.csv that names the images; of a .parquet file, too."),
    ] = None,
    follow_links: FollowLinks = False,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch images and archives that are named by their https addresses.")
    ] = False,
    sort_into: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy each image into DIR/CLASS/.")] = None,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="P", help="Below this probability, into DIR/unsure/ instead.")
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Hard-link instead of copying.")] = False,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Write what the network sees in an image, as numbers, not its class.")
    ] = False,
    precision: Annotated[
        Literal["fp32", "bf16", "int8"] | None,
        typer.Option(help="What to compute in; unless told, the fastest that was measured to be as right as fp32."),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="This process, or a Ray cluster: every core of every machine.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="The cluster; unless told, RAY_ADDRESS, or one that is started here."),
    ] = None,
    max_megapixels: MaxMegapixels = None,
) -> None:
    """Example: googlenet predict runs/flowers daisy.jpg holiday/ 'new/*.png' --top 3

    Say what is in images. PyTorch is not needed.

    Where an image may have several labels, those whose probability is at least their threshold are named, or none.

    An image that cannot be read is reported, the others are delivered, and the exit code is 1.

    Very many: googlenet predict runs/flowers archive/ --out results.csv

    Stopped or killed at any moment, the same command with --resume goes on; every image is then in the file once.

    On many machines: googlenet predict runs/flowers s3://bucket/archive --out results/ --engine ray
    """
    _refuse_contradictions(
        {"--json": as_json, "--csv": as_csv, "--out": out, "--resume": resume, "--sort-into": sort_into,
         "--min-confidence": min_confidence is not None, "--link": link, "--embeddings": embeddings, "--top": top,
         "--engine ray": engine == "ray", "--address": address}
    )  # fmt: skip
    _refuse_places(engine, paths, out, sort_into, address, resume)
    from googlenet.cli.output import warn, warn_of_range
    from googlenet.data.sources import find_sources
    from googlenet.inference.classifier import load
    from googlenet.stages import stage

    with stage(f"loading {run}"):
        classifier = load(run, precision)
    warn_of_range(classifier.card.preprocessing)
    top = top and min(top, len(classifier.class_names))  # which is how many columns there are
    channels = classifier.card.preprocessing.channels
    if engine == "ray" and out is not None:
        from googlenet.cli.cluster import write_parts
        from googlenet.data.tables import find_images

        images = find_images(paths, column=column, channels=channels, follow_links=follow_links, tell=warn)
        unread = write_parts(classifier, images, out, _layout(classifier, top, embeddings), resume, address)
    else:
        with stage("looking for images"):
            sources = find_sources(
                paths, column=column, channels=channels, follow_links=follow_links, download=download, tell=warn
            )
        sorter = _sorter(classifier, sort_into, sources, min_confidence or 0.0, link)
        job = Job(classifier, sources, embeddings, sorter, download)
        if out is not None:
            unread = _write(job, out, _layout(classifier, top, embeddings), resume)
        else:
            unread = _print(job, top, as_json, as_csv)
    if unread:
        raise typer.Exit(1)


def _refuse_contradictions(given: dict[str, Any]) -> None:
    """Raise where options exclude each other, or one lacks what it needs."""
    for one, other in (("--json", "--csv"), ("--out", "--json"), ("--out", "--csv"), ("--embeddings", "--top"),
                       ("--embeddings", "--sort-into"), ("--engine ray", "--json"), ("--engine ray", "--csv"),
                       ("--engine ray", "--sort-into")):  # fmt: skip
        if given[one] and given[other]:
            raise typer.BadParameter(f"{one} and {other} exclude each other: choose one")
    for one, needed in (("--resume", "--out"), ("--embeddings", "--out"), ("--min-confidence", "--sort-into"),
                        ("--link", "--sort-into"), ("--engine ray", "--out"),
                        ("--address", "--engine ray")):  # fmt: skip
        if given[one] and not given[needed]:
            raise typer.BadParameter(f"{one} needs {needed}: give it, or leave {one} out")


def _refuse_places(
    engine: str, paths: list[str], out: Path | None, sort_into: Path | None, address: str | None, resume: bool
) -> None:
    """Raise where what is named cannot be read or written, or Ray is not there, before any work is done."""
    from googlenet.data.addresses import is_url
    from googlenet.errors import DataError
    from googlenet.files import check_output_path

    if engine == "ray" and out is not None:
        from googlenet.bulk import parts
        from googlenet.bulk import ray_cluster as cluster

        cluster.require_ray(address)
        parts.check_output_path(out)
        check_output_path(out)
        return
    for path in paths:
        if ("://" in path and not is_url(path)) or path.lower().endswith(".parquet"):
            raise DataError(f"{path}: images in stores and in Parquet files are read with --engine ray alone: add it")
    if out is not None:
        from googlenet.bulk import results

        results.check_output_path(out)
        if out.exists() and not resume:
            raise results.already_exists_error(out, out)
        check_output_path(out)
    if sort_into is not None:
        from googlenet.bulk import sorting

        _refuse_elsewhere(paths)
        sorting.check_output_path(sort_into, paths)
        check_output_path(sort_into)


def _refuse_elsewhere(paths: list[str]) -> None:
    from googlenet.data.addresses import is_archive, is_url
    from googlenet.errors import DataError

    for path in paths:
        if is_archive(path) or is_url(path):
            what = "an address: fetch" if is_url(path) else "an archive: unpack"
            raise DataError(f"--sort-into copies files, and {path} is {what} it first")


def _sorter(
    classifier: Classifier, folder: Path | None, sources: list[str], min_confidence: float, link: bool
) -> Sorter | None:
    if folder is None:
        return None
    from googlenet.bulk.sorting import Sorter
    from googlenet.errors import ResultsError

    if classifier.card.multi_label:
        raise ResultsError(f"--sort-into {folder}: images of {classifier.card.name} may have several labels, not one")
    return Sorter(folder, sources, classifier.class_names, min_confidence=min_confidence, link=link)


def _layout(classifier: Classifier, top: int | None, embeddings: bool) -> Layout:
    """Say what a row of the results file holds."""
    import numpy as np

    from googlenet.bulk import rows
    from googlenet.bulk.origin import origin_of

    if embeddings:
        preprocessing = classifier.card.preprocessing
        black = np.zeros((preprocessing.size, preprocessing.size, preprocessing.channels), np.uint8)
        layout = rows.embedding_schema(len(next(_answers(classifier, [black], embeddings=True))))  # type: ignore[arg-type]
    elif classifier.card.multi_label and top is None:
        layout = rows.labels_schema()
    else:
        layout = rows.ranked_schema(top or 1)
    return replace(layout, origin=origin_of(classifier))


def _answers(classifier: Classifier, sources: Iterable[Any], embeddings: bool) -> Iterator[Answer]:
    if embeddings:
        return classifier.embed_many(sources)
    return classifier.predict_many(sources)


@dataclass
class Job:
    """What there is to do: which images, what about them, and where they are sorted into."""

    classifier: Classifier
    sources: Sequence[str]
    embeddings: bool
    sorter: Sorter | None
    download: bool

    def answers(self) -> Iterator[tuple[str, Answer]]:
        """Give each image with its answer, sorted where it belongs, and show how far it is."""
        from googlenet.cli.output import progress
        from googlenet.data.sources import readable
        from googlenet.stages import stage

        total = len(self.sources)
        with stage("predicting"), progress("predicting", total) as report:
            opened = (readable(source, download=self.download) for source in self.sources)
            answers = _answers(self.classifier, opened, self.embeddings)
            pairs = zip(self.sources, answers, strict=True)
            for done, (source, answer) in enumerate(pairs, start=1):
                yield source, self._sorted(source, answer)
                report(done, total)

    def _sorted(self, source: str, answer: Answer) -> Answer:
        from googlenet.errors import ImageError
        from googlenet.inference.classifier import Prediction

        if self.sorter is None or not isinstance(answer, Prediction):
            return answer
        try:
            self.sorter.place(source, answer)
        except ImageError as error:
            return error
        return answer


# Into a file.


def _write(job: Job, out: Path, layout: Layout, resume: bool) -> int:
    """Write the results file and say what is in it. Gives how many images in it could not be read."""
    from googlenet.bulk.results import open_results
    from googlenet.cli.output import show_summary, warn_of_origin
    from googlenet.errors import StoppedError
    from googlenet.text import escape_surrogates

    with open_results(out, layout, resume=resume) as results:
        warn_of_origin(out, results.is_known)
        job.sources = [source for source in job.sources if escape_surrogates(source) not in results.done]
        begun = time.monotonic()
        try:
            _fill(results, job)
            seconds = time.monotonic() - begun
            results.finish()
        except KeyboardInterrupt as error:  # a second one, or while the file was finished
            raise StoppedError(f"stopped; the same command with --resume goes on with {out}", 130) from error
    show_summary(str(out), results.summary, len(job.sources), seconds)
    return results.summary.unread


def _fill(results: Results, job: Job) -> None:
    """Add a row for each image. Raises :class:`StoppedError` when a signal came, after all rows were written."""
    from googlenet.errors import StoppedError
    from googlenet.stopping import stop_signals

    with stop_signals() as caught:
        for source, answer in job.answers():
            results.add(source, answer)
            if caught:
                break
        results.flush()
        if caught:
            raise StoppedError(
                f"stopped: {results.summary.images:,} images are in {results.path_in_progress}; "
                "the same command with --resume goes on",
                128 + caught[0],
            )


# On the terminal, and for programs.


def _print(job: Job, top: int | None, as_json: bool, as_csv: bool) -> int:
    """Print the answers. Gives how many images could not be read."""
    from googlenet.cli.output import show_csv, show_json, warn

    unread: list[str] = []
    rows = _rows(job, top, unread)
    if as_csv:
        show_csv(line for row in rows for line in _csv_lines(row))
    elif as_json:
        show_json(list(rows))
        return len(unread)
    else:
        _show(rows, any_number=job.classifier.card.multi_label and top is None)
    for error in unread:
        warn(f"not read: {error}")
    return len(unread)


def _rows(job: Job, top: int | None, unread: list[str]) -> Iterator[dict[str, Any]]:
    """Give a row for each image; what is wrong with those that cannot be read is added to ``unread``."""
    from googlenet.bulk.rows import top_classes
    from googlenet.inference.classifier import Prediction
    from googlenet.text import escape_surrogates

    for source, answer in job.answers():
        if isinstance(answer, Prediction):
            predictions = [
                {"class": name, "probability": probability} for name, probability in top_classes(answer, top)
            ]
            yield {"path": escape_surrogates(source), "predictions": predictions}
        else:
            unread.append(escape_surrogates(str(answer)))
            yield {"path": escape_surrogates(source), "error": unread[-1]}


def _show(rows: Iterable[dict[str, Any]], any_number: bool) -> None:
    """Print a table: the likeliest classes side by side, or any number of labels in one cell."""
    from googlenet.cli.output import show_table

    pairs = [
        (row["path"], [(p["class"], f"{p['probability']:.1%}") for p in row["predictions"]])
        for row in rows
        if "predictions" in row
    ]
    groups = 1
    if any_number:
        columns = [("image", "left"), ("labels", "left")]
        cells = [[path, ", ".join(map(" ".join, named)) or "none"] for path, named in pairs]
    else:
        groups = max([1, *(len(named) for _, named in pairs)])
        columns = [("image", "left"), *(groups * [("class", "left"), ("", "right")])]
        cells = [[path, *(cell for pair in named for cell in pair)] for path, named in pairs]
    if pairs:
        show_table("", columns, cells, groups)


def _csv_lines(row: dict[str, Any]) -> list[dict[str, Any]]:
    if not row.get("predictions"):  # it could not be read, or has no label
        return [{"path": row["path"], "rank": "", "class": "", "probability": "", "error": row.get("error", "")}]
    return [
        {"path": row["path"], "rank": rank, "class": p["class"], "probability": p["probability"], "error": ""}
        for rank, p in enumerate(row["predictions"], start=1)
    ]
