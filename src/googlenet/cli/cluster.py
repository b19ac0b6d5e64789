"""``googlenet predict --engine ray``: parts into a folder, progress, what a signal does, the audit and the summary."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from googlenet.bulk.parts import Part, Parts, split
from googlenet.bulk.ray_cluster import cluster, job_of, score_parts
from googlenet.bulk.rows import Layout
from googlenet.cli.output import progress, show_summary, warn_of_origin
from googlenet.data.tables import ImageIds
from googlenet.errors import StoppedError
from googlenet.inference.classifier import Classifier
from googlenet.stopping import CODE, interrupts


def write_parts(
    classifier: Classifier, images: ImageIds, out: Path, layout: Layout, resume: bool, address: str | None
) -> int:
    """Have a cluster write what is not in ``out`` yet, audit it, and say what is there. Gives how many are unread."""
    with Parts(out, layout, resume=resume) as results:
        warn_of_origin(out, results.is_known)
        before, seconds = results.contents.summary.images, 0.0
        if split(images.ids, results.contents.ids):
            with _nothing_said(), cluster(address) as cores:
                begun = time.monotonic()
                parts = split(images.ids, results.contents.ids, cores)
                job = job_of(classifier, layout, images.tables)
                _fill(results, parts, score_parts(job, parts, cores))
                seconds = time.monotonic() - begun
        contents = results.read()
        contents.audit(images.ids)
    where = f"{out} ({contents.parts:,} parts)"
    new = contents.summary.images - before
    show_summary(where, contents.summary, new, seconds, audited=", each there once")
    return contents.summary.unread


def _fill(results: Parts, parts: list[Part], answers: Iterator[tuple[Part, bytes]]) -> None:
    """Write parts as they come. Raises :class:`StoppedError` when a signal came; what was written is whole."""
    total, done = sum(len(part.ids) for part in parts), 0
    # Here again: Ray hears SIGTERM itself since it was begun.
    with progress("predicting", total) as report, interrupts(for_good=False) as caught:
        try:
            for part, content in answers:
                results.add(part.name, content)
                done += len(part.ids)
                report(done, total)
        except KeyboardInterrupt as error:
            there = results.contents.summary.images + done
            raise StoppedError(
                f"stopped: {there:,} images are in {results.folder}; the same command with --resume goes on",
                CODE + (caught or [signal.SIGINT])[0],
            ) from error


@contextmanager
def _nothing_said() -> Iterator[None]:
    """Keep stdout for results: Ray prints there that it tries something again."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield
