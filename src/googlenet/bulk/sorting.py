"""``googlenet.sort_images``: images into a folder for each class. Each is whole or absent, and keeps its name."""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import os
import re
import shutil
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from googlenet.bulk.job import Job, Progress, make_job
from googlenet.bulk.report import BulkReport, Summary, report_of
from googlenet.bulk.rows import top_classes
from googlenet.data.addresses import is_address, is_archive
from googlenet.data.inputs import Input
from googlenet.errors import ResultsError, UnreadableImageError
from googlenet.files import check_output_path, fitting_name, write_error
from googlenet.inference.classifier import Classifier, Prediction

UNSURE = "unsure"
FOREIGN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')  # what some file systems do not allow in a name
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)  # devices in Windows


def sort_images(
    run: str | Path | Classifier,
    inputs: Input | Iterable[Input],
    folder: str | Path,
    *,
    min_confidence: float = 0.0,
    link: bool = False,
    precision: str | None = None,
    progress: Progress | None = None,
) -> BulkReport:
    """Copy each image into ``folder/CLASS/``, or into ``folder/unsure/``. Doing it again puts nothing there twice.

    Args:
        run: a run of ``train``, a bundle, or a classifier that was loaded.
        inputs: images, folders, globs and lists, as :func:`googlenet.predict` takes them, on this machine's disk.
        folder: where to copy to; not inside of ``inputs``.
        min_confidence: below this probability, 0 to 1, an image goes into ``folder/unsure/``.
        link: hard-link instead of copying.
        precision: what to compute in, as :func:`googlenet.load` takes it.
        progress: called with the number of images done and of all images.

    Returns:
        The number of images, of those that could not be read, and of those in each class, or ``unsure``.

    Raises:
        ResultsError: ``folder`` is a file, lies in a folder of images or holds some; ``inputs`` are no files; images
            may have several labels; a link cannot be made.
        BundleError, DataError, DeviceError: before any work is done.
        RunError, DiskFullError: ``folder`` could not be written; each image in it is whole.

    ::

        googlenet.sort_images("runs/flowers", ["inbox/"], "sorted/", min_confidence=0.8).counts
    """
    to, notes, summary = Path(folder), list[str](), Summary()
    given = [inputs] if isinstance(inputs, Input) else list(inputs)
    check_sorting(to, given)
    job = make_job(run, given, precision=precision, progress=progress, tell=notes.append)
    job.sorter = sorter_for(job, to, min_confidence, link)
    begun = time.monotonic()
    for row in job.rows():
        summary.add(row)
    summary.classes = job.sorter.counts
    report = report_of(to, summary, summary.images, time.monotonic() - begun)
    return replace(report, notes=tuple(notes))


def check_sorting(folder: Path, inputs: Iterable[Input]) -> None:
    """Raise :class:`ResultsError` if images cannot be sorted into ``folder``, before any work is done."""
    for path in map(str, inputs):
        what = "an archive: unpack" if is_archive(path) else "an address: fetch" if is_address(path) else None
        if what is not None:
            raise ResultsError(f"--sort-into copies files, and {path} is {what} it first")
    check_outside(folder, map(str, inputs))
    check_output_path(folder)


def sorter_for(job: Job, folder: Path, min_confidence: float = 0.0, link: bool = False) -> Sorter:
    """Make the sorter of a job. Raises :class:`ResultsError` if an image may have several labels, or is no file."""
    if job.classifier.card.multi_label:
        raise ResultsError(
            f"--sort-into {folder}: images of {job.classifier.card.name} may have several labels, not one"
        )
    for table in job.images.tables:
        raise ResultsError(f"--sort-into copies files, and {table} holds its images: write them to files first")
    return Sorter(folder, job.images.ids, job.classifier.class_names, min_confidence=min_confidence, link=link)


class Sorter:
    """Puts images into ``folder/CLASS/``, and those below ``min_confidence`` into ``folder/unsure/``.

    An image keeps its name. If several of ``sources`` have the same one, or another image already exists there, it
    gets a hash of its path: the same in every run, so that doing it again puts nothing there twice.

    ``counts`` has the number of images of each class, or ``unsure``.

    Raises :class:`ResultsError` if a source lies in ``folder``: it would be found again the next time.

    ::

        sorter = Sorter(Path("sorted"), sources, classifier.class_names, min_confidence=0.8)
        sorter.place("holiday/1.jpg", classifier.predict("holiday/1.jpg"))  # sorted/beach/1.jpg
    """

    def __init__(
        self,
        folder: Path,
        sources: Sequence[str],
        class_names: Iterable[str],
        *,
        min_confidence: float = 0.0,
        link: bool = False,
    ) -> None:
        _refuse_inside(folder, sources)
        self.folder, self.min_confidence, self.link = folder, min_confidence, link
        self.folders = folder_names(class_names)
        self.namesakes = _namesakes(sources)
        self.counts: Counter[str] = Counter()

    def place(self, source: str, answer: Prediction) -> Path:
        """Copy or link one image to where it belongs, and return that path.

        Raises:
            UnreadableImageError: the image is not there any more.
            ResultsError: it cannot be linked.
            RunError, DiskFullError: the folder could not be written; what is in it is whole.
        """
        [(_, probability)] = top_classes(answer, 1)
        is_sure = probability >= self.min_confidence
        target = self._target(self.folder / (self.folders[answer.label] if is_sure else UNSURE), source)
        if not _same(source, target):
            self._put(source, target)
        self.counts[answer.label if is_sure else UNSURE] += 1
        return target

    def _target(self, where: Path, source: str) -> Path:
        name = Path(source).name
        plain = where / name
        if source not in self.namesakes and (not plain.exists() or _same(source, plain)):
            return plain
        return where / fitting_name(Path(name).stem, f"-{_hash(source)}{Path(name).suffix}")

    def _put(self, source: str, target: Path) -> None:
        fresh = target.with_name(f".{_hash(source)}.new")  # the same after a kill, so that none is left behind
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            if self.link:
                self._link(source, fresh)
            else:
                shutil.copy2(source, fresh)
            fresh.replace(target)
        except OSError as error:
            if not Path(source).is_file():
                raise UnreadableImageError(f"{source} is not there any more: it was not copied") from error
            raise write_error(target, error) from error
        finally:
            with contextlib.suppress(OSError):  # on a disk that became read-only this fails even where there is none
                fresh.unlink()

    def _link(self, source: str, fresh: Path) -> None:
        try:
            fresh.hardlink_to(Path(source).resolve())
        except OSError as error:
            if not Path(source).is_file():
                raise
            raise ResultsError(
                f"{source} cannot be hard-linked into {self.folder} ({error.strerror}): leave --link out to copy"
            ) from error


def folder_names(class_names: Iterable[str]) -> dict[str, str]:
    """Name a folder after each class: valid on every file system, none twice, none hidden, none ``unsure``.

    >>> folder_names(["cat", "Cat", "cat/dog", "..", "unsure", "NUL"])
    {'cat': 'cat', 'Cat': 'Cat-2', 'cat/dog': 'cat_dog', '..': '_', 'unsure': 'unsure-2', 'NUL': '_NUL'}
    """
    taken = {UNSURE}
    names: dict[str, str] = {}
    for class_name in class_names:
        safe = FOREIGN.sub("_", class_name).rstrip(". ")
        safe = f"_{safe[1:]}" if safe.startswith(".") else f"_{safe}" if RESERVED.match(safe) else safe or "_"
        name, number = fitting_name(safe), 1
        while _alike(name) in taken:
            number += 1
            name = fitting_name(safe, f"-{number}")
        taken.add(_alike(name))
        names[class_name] = name
    return names


def _alike(name: str) -> str:
    """Return one text for all names that some file system does not tell apart."""
    return unicodedata.normalize("NFC", name).casefold()


def check_outside(folder: Path, inputs: Iterable[str]) -> None:
    """Raise :class:`ResultsError` if ``folder`` is a file, or is or lies in one of the folders of images."""
    if folder.exists() and not folder.is_dir():
        raise ResultsError(f"--sort-into {folder} is a file: give a folder")
    for given in inputs:
        if Path(given).is_dir() and folder.resolve().is_relative_to(Path(given).resolve()):
            raise ResultsError(
                f"--sort-into {folder} lies in {given}, where its images would be found again: "
                "choose a folder outside of it"
            )


def _refuse_inside(folder: Path, sources: Iterable[str]) -> None:
    inside = os.path.join(os.path.abspath(folder), "")  # noqa: PTH100, PTH118 - a million of them
    for source in sources:
        if os.path.abspath(source).startswith(inside):  # noqa: PTH100
            raise ResultsError(f"{source} lies in --sort-into {folder}: choose a folder without images to sort")


def _namesakes(sources: Iterable[str]) -> set[str]:
    """Return the sources that have the same name as an earlier one."""
    seen: set[int] = set()
    later: set[str] = set()
    for source in sources:
        name = hash(_alike(source[source.rfind(os.sep) + 1 :]))  # a number is smaller than a name
        if name in seen:
            later.add(source)
        seen.add(name)
    return later


def _hash(source: str) -> str:
    return hashlib.sha256(os.fsencode(source)).hexdigest()[:12]


def _same(source: str, target: Path) -> bool:
    try:
        return filecmp.cmp(source, target, shallow=False)
    except OSError:  # one of them is not there
        return False
