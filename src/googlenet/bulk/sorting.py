"""Images into a folder for each class: copies or hard links, whole or absent, and no two under the same name."""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from googlenet.bulk.rows import top_classes
from googlenet.errors import ResultsError, UnreadableImageError
from googlenet.files import fitting_name, write_error
from googlenet.inference.classifier import Prediction

UNSURE = "unsure"
FOREIGN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')  # what some file system does not take in a name
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)  # devices of Windows


class Sorter:
    """Puts images into ``folder/CLASS/``, and those less sure than ``min_confidence`` into ``folder/unsure/``.

    An image keeps its name. Where several of ``sources`` have the same one, and where another image is there
    already, it gets a hash of its path: the same in every run, so that doing it again puts nothing there twice.

    Raises :class:`ResultsError` where a source lies in ``folder``, which would be found again the next time.

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

    def place(self, source: str, answer: Prediction) -> Path:
        """Copy or link one image to where it belongs, and say where that is.

        Raises:
            UnreadableImageError: the image is not there any more.
            ResultsError: it cannot be linked.
            RunError, DiskFullError: the folder could not be written; what is in it is whole.
        """
        [(_, probability)] = top_classes(answer, 1)
        where = self.folder / (UNSURE if probability < self.min_confidence else self.folders[answer.label])
        target = self._target(where, source)
        if not _same(source, target):
            self._put(source, target)
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
    """Name a folder after each class: one that every file system takes, none the same, none hidden, none ``unsure``.

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
    """Return what is the same of names that some file system takes for one."""
    return unicodedata.normalize("NFC", name).casefold()


def check_output_path(folder: Path, inputs: Iterable[str]) -> None:
    """Raise :class:`ResultsError` where ``folder`` is, or lies in, a folder of images; or is no folder."""
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
    """Pick the sources whose name an earlier one has, too."""
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
