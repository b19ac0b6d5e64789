"""``googlenet.predict_on_cluster``: many images into a folder of Parquet parts, by a Ray cluster."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from googlenet.bulk.job import Job, Progress, RowOptions, make_job
from googlenet.bulk.origin import unknown_origin
from googlenet.bulk.parts import Part, Parts, check_parts_folder, split
from googlenet.bulk.ray_cluster import cluster, cluster_job, require_ray, score_parts
from googlenet.bulk.report import BulkReport, report_of
from googlenet.data.addresses import archive_suffix, is_archive
from googlenet.data.inputs import Input
from googlenet.errors import DataError, StoppedError
from googlenet.files import check_output_path
from googlenet.inference.classifier import Classifier
from googlenet.stopping import CODE, interrupts

if TYPE_CHECKING:
    from typing_extensions import Unpack


def predict_on_cluster(
    run: str | Path | Classifier,
    inputs: Input | Iterable[Input],
    out: str | Path,
    *,
    resume: bool = False,
    address: str | None = None,
    progress: Progress | None = None,
    **rows: Unpack[RowOptions],
) -> BulkReport:
    """Predict any number of images on every core of a Ray cluster, into a folder of Parquet parts.

    A part is whole or absent, and what a worker that died was working on is done again: with ``resume``, too, the
    folder has each image once, which is checked at the end. Rows are those of :func:`googlenet.predict`.

    Args:
        run: a run of ``train``, a bundle, or a classifier that was loaded (with another precision, for one).
        inputs: as :func:`googlenet.predict` takes them, but no archives.
        out: the folder to write.
        resume: continue a folder that exists.
        address: ``HOST:PORT`` of the cluster; by default that of RAY_ADDRESS, or one that is started here.
        progress: called with the number of images done and of all images to do.
        top, embeddings, sets, set_score, unknown: what rows say, as in :func:`googlenet.predict`.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: there is no such cluster, it does not let us in, or it stopped working.
        ResultsError, BundleError, DataError, DeviceError, StoppedError, RunError, DiskFullError: as
            :func:`googlenet.predict`.

    ::

        googlenet.predict_on_cluster("runs/flowers", ["s3://bucket/archive"], out="results/", address="head:6379")
    """
    folder, notes = Path(out), list[str]()
    given = [inputs] if isinstance(inputs, Input) else list(inputs)
    check_cluster(folder, given, address)
    job = make_job(run, given, progress=progress, tell=notes.append, **rows)
    return replace(write_parts(job, folder, resume=resume, address=address), notes=tuple(notes))


def check_cluster(out: Path, inputs: Iterable[Input], address: str | None = None) -> None:
    """Raise if Ray is not installed, ``out`` cannot be written or workers cannot read an input: before any work."""
    require_ray(address)
    check_parts_folder(out)
    check_output_path(out)
    for path in map(str, inputs):
        if is_archive(path) or archive_suffix(path):
            raise DataError(
                f"{path} is an archive, which a cluster does not read: unpack it, or leave --engine ray out"
            )


def write_parts(job: Job, out: Path, *, resume: bool = False, address: str | None = None) -> BulkReport:
    """Have a cluster write the images that ``out`` lacks, and check that it has each once.

    Errors are those of :func:`predict_on_cluster`.
    """
    ids, seconds = job.images.ids, 0.0
    with Parts(out, job.schema, resume=resume) as results:
        if not results.is_known:
            job.tell(unknown_origin(out))
        before = results.contents.summary.images
        if split(ids, results.contents.ids):
            with _no_output(), cluster(address) as cores:
                begun = time.monotonic()
                parts = split(ids, results.contents.ids, cores)
                with closing(score_parts(cluster_job(job), parts, cores)) as answers:  # before the cluster is left
                    _fill(results, parts, answers, job.progress)
                seconds = time.monotonic() - begun
        contents = results.read()
        contents.audit(ids)
    return report_of(out, contents.summary, contents.summary.images - before, seconds, contents.parts)


def _fill(results: Parts, parts: list[Part], answers: Iterator[tuple[Part, bytes]], progress: Progress | None) -> None:
    """Write parts as they come. Raises :class:`StoppedError` on a signal; what was written is whole."""
    total, done = sum(len(part.ids) for part in parts), 0
    with interrupts(for_good=False) as caught:  # anew: Ray, once started, handles SIGTERM itself
        try:
            for part, content in answers:
                results.add(part.name, content)
                done += len(part.ids)
                if progress:
                    progress(done, total)
        except KeyboardInterrupt as error:
            written = sum(len(part.ids) for part in parts if results.has(part.name))  # the last one may not be counted
            there = results.contents.summary.images + written
            raise StoppedError(
                f"stopped: {there:,} images are in {results.folder}; the same command with --resume continues",
                CODE + (caught or [signal.SIGINT])[0],
            ) from error


@contextmanager
def _no_output() -> Iterator[None]:
    """Keep stdout for results: Ray prints there that it tries something again."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield
