"""``googlenet.predict``: many images into a results file that survives a kill. No torch."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from googlenet.bulk.formats import check_results_path, open_results
from googlenet.bulk.job import Job, Progress, RowOptions, make_job
from googlenet.bulk.origin import unknown_origin
from googlenet.bulk.report import BulkReport, report_of
from googlenet.bulk.results import Results
from googlenet.data.inputs import Input
from googlenet.errors import StoppedError
from googlenet.inference.classifier import Classifier
from googlenet.inference.origin import OFF
from googlenet.stopping import CODE, stop_signals

if TYPE_CHECKING:
    from typing_extensions import Unpack


def predict(
    run: str | Path | Classifier,
    inputs: Input | Iterable[Input],
    out: str | Path,
    *,
    precision: str | None = None,
    crops: int | str = 1,
    exit: str = OFF,
    resume: bool = False,
    progress: Progress | None = None,
    **rows: Unpack[RowOptions],
) -> BulkReport:
    """Predict any number of images into a results file: a row for each, in order, in bounded memory.

    Killed at any moment and called again with ``resume``, the file has each image once. An image that cannot be read
    has a row with the reason.

    Args:
        run: a run of ``train``, a bundle, or a classifier that was loaded.
        inputs: images, folders, globs, zip or tar archives, addresses of object stores (``s3://…``, ``gs://…``); lists
            (``.csv``, ``.tsv``) and Parquet files as ``DataSource("list.csv", path_column="file")``, https addresses
            as ``DataSource("https://…", download=True)``.
        out: the file to write: ``.csv``, ``.jsonl`` or ``.parquet``. Its columns are ``path``, ``error``, and
            ``class`` and ``probability``; ``labels`` and ``probabilities`` if an image may have several labels.
        precision: what to compute in, as :func:`googlenet.load` takes it.
        crops: how many parts of each image to answer from, as :func:`googlenet.load` takes it.
        exit: whether an auxiliary head may answer easy images, as :func:`googlenet.load` takes it; the column ``head``
            then names the head that did.
        resume: continue a file that exists; images that it has are skipped.
        progress: called with the number of images done and of all images to do.
        top: write so many classes for each image: ``class2``, ``probability2``, … as well.
        embeddings: write feature embeddings, (D,) float32 each, instead of classes.
        sets: a level, above 0 and below 1: the column ``set_0.9`` has classes among which the true one is in 90 % of
            cases (see :meth:`Prediction.set`).
        set_score: how sets are made, ``"lac"`` by default, or ``"aps"``; the column is then ``set_0.9_aps``.
        unknown: a rate of false alarms, above 0 and below 1: the column ``unknown_0.05`` says which images are unlike
            those the classifier knows, and is true for about 5 % of known images.

    Raises:
        ResultsError: ``out`` exists, has other columns or the answers of another classifier, or is no results file.
        GoogLeNetError: rows cannot say all of this, or there were too few held-out images for the level or rate; the
            message has the number that is needed.
        BundleError, DataError, DeviceError, MissingExtraError: before any work is done.
        StoppedError: Ctrl-C or SIGTERM, after the rows were written.
        RunError, DiskFullError: ``out`` could not be written; its rows are whole.

    ::

        report = googlenet.predict("runs/flowers", ["archive/"], out="results.parquet", resume=True)
        report.images, report.unreadable, report.counts
    googlenet.predict("runs/flowers", "holiday/", out="sets.csv", sets=0.9, unknown=0.05)
    """
    path, notes = Path(out), list[str]()
    check_results_path(path, resume=resume)
    job = make_job(
        run, inputs, precision=precision, crops=crops, exit=exit, progress=progress, tell=notes.append, **rows
    )
    return replace(write_results(job, path, resume=resume), notes=tuple(notes))


def write_results(job: Job, out: Path, *, resume: bool = False) -> BulkReport:
    """Write the row of each image that ``out`` does not have yet. Errors are those of :func:`predict`."""
    with open_results(out, job.schema, resume=resume) as results:
        if not results.is_known:
            job.tell(unknown_origin(out))
        before, begun = results.summary.images, time.monotonic()
        try:
            _fill(results, job)
            seconds = time.monotonic() - begun
            results.finish()
        except KeyboardInterrupt as error:  # a second one, or while the file was finished
            raise StoppedError(f"stopped; the same command with --resume continues {out}", 130) from error
    return report_of(out, results.summary, results.summary.images - before, seconds)


def _fill(results: Results, job: Job) -> None:
    """Add a row for each image. Raises :class:`StoppedError` on a signal, after all rows were written."""
    with stop_signals() as caught:
        for id_, answer in job.answers(results.done):
            results.add(id_, answer)
            if caught:
                break
        results.flush()
        if caught:
            raise StoppedError(
                f"stopped: {results.summary.images:,} images are in {results.path_in_progress}; "
                "the same command with --resume continues",
                CODE + caught[0],
            )
