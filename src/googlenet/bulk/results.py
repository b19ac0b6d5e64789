"""Results of many images in a file that survives: killed at any moment and resumed, each image is there once.

CSV and JSONL grow by whole rows; what a kill left of a row is cut off before going on. Parquet cannot grow: rows go
to a journal beside it, which becomes Parquet when all is done. An image is known by its path as it was given.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from googlenet.bulk.origin import check_origin, write_origin
from googlenet.bulk.rows import Answer, CSVForm, JSONLForm, Layout, Row
from googlenet.errors import ResultsError, RunError
from googlenet.files import NotARegularFileError, lock, open_regular, refuse_irregular, sync_directory, write_error
from googlenet.text import printable

FORMATS = (".csv", ".jsonl", ".parquet")
ROWS_A_WRITE = 32
WHEN_FULL = "its rows are whole: free some space, then add --resume"
SECONDS_A_WRITE = 1.0  # a slow machine writes fewer rows at a time


@dataclass
class Summary:
    """What a results file holds: rows, how many of images that could not be read, how many of each class."""

    images: int = 0
    unread: int = 0
    classes: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        """Count one row."""
        self.images += 1
        self.unread += bool(row["error"])
        named = row.get("labels") or [row.get("class")]
        self.classes.update(name for name in named if name)


class Results:
    """A results file, open for more rows. Made by :func:`open_results`; leaving it by an exception loses no row
    that was flushed.

    ``done`` are the images that were there before, by paths without surrogates; ``summary`` counts these, too.
    ``is_known`` says whether it is recorded whose answers these are, or there are none.
    """

    def __init__(self, path: Path, layout: Layout, lines: Lines, earlier: Iterable[Row] = ()) -> None:
        self.path, self.layout, self.lines = path, layout, lines
        self.done: set[str] = set()
        self.summary = Summary()
        try:
            begun = not lines.is_empty() or (path != lines.path and os.path.exists(path))  # noqa: PTH110 - an odd name
            self.is_known = not (begun and layout.origin) or check_origin(path, layout.origin)
            for row in chain(earlier, lines.rows()):
                if row["path"] not in self.done:
                    self.done.add(row["path"])
                    self.summary.add(row)
            if layout.origin:
                write_origin(path, layout.origin)
        except BaseException:
            lines.close()
            raise

    def add(self, source: str, answer: Answer) -> None:
        """Add the row of one image; it is on its way to the disk within a second."""
        row = self.layout.row(source, answer)
        self.summary.add(row)
        self.lines.add(row)

    @property
    def path_in_progress(self) -> Path:
        """The file that has the rows until all is done."""
        return self.lines.path

    def flush(self) -> None:
        """Write what waits to the disk. Raises :class:`DiskFullError` or :class:`RunError`; the file stays whole."""
        self.lines.flush(synced=True)

    def finish(self) -> None:
        """Write all that is left, to stay."""
        self.flush()

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lines.close()


def open_results(path: Path, layout: Layout, *, resume: bool = False) -> Results:
    """Open a results file, ``.csv``, ``.jsonl`` or ``.parquet``; one that is there already with ``resume`` only.

    ::

        with open_results(Path("results.csv"), ranked_schema()) as results:
            for source, answer in zip(sources, classifier.predict_many(sources)):
                results.add(source, answer)
            results.finish()

    Raises:
        ResultsError: no such kind of file, one that is in the way, one with other columns, a damaged one, one with
            the answers of another classifier, one that another process writes to.
        MissingExtraError: pyarrow is not there, for Parquet.
        RunError, DiskFullError: it could not be written.
    """
    check_output_path(path)
    if path.suffix.lower() == ".parquet":
        from googlenet.bulk.parquet import ParquetResults

        return ParquetResults(path, layout, resume)
    form = CSVForm(layout) if path.suffix.lower() == ".csv" else JSONLForm(layout)
    return Results(path, layout, Lines(path, form, path, resume))


def check_output_path(path: Path) -> None:
    """Raise where nothing can be written to ``path`` for its kind alone, before any work is done."""
    if path.suffix.lower() not in FORMATS:
        raise ResultsError(f"{path} ends in none of {', '.join(FORMATS)}: give a name that does")
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises on a name that is too long
        raise ResultsError(f"{path} is a folder: give the name of a file, {path / 'results.csv'} for one")
    if path.suffix.lower() == ".parquet":
        from googlenet.bulk.parquet import require_pyarrow

        require_pyarrow()


class Lines:
    """A file that grows by whole rows, open for one process alone. ``name`` is what the user calls it.

    Opened to ``resume``, what is left of a row that was cut is cut off. Where a write fails, the file is what it
    was before it.
    """

    def __init__(self, path: Path, form: CSVForm | JSONLForm, name: Path, resume: bool) -> None:
        self.path, self.form, self.name, self.resume = path, form, name, resume
        self.file = self._open()
        self.size = 0
        self.waiting: list[bytes] = [form.header]
        self.written_at = time.monotonic()

    def _open(self) -> BinaryIO:
        flags = os.O_RDWR | os.O_CREAT | (0 if self.resume else os.O_EXCL)
        try:
            refuse_irregular(self.path)
            if not self.path.parent.is_dir():
                self.path.parent.mkdir(parents=True)
            file = open(os.open(self.path, flags, 0o666), "r+b", buffering=0)  # noqa: PTH123, SIM115 - by its handle
        except NotARegularFileError as error:
            raise ResultsError(f"{self.path} {error.strerror}: give another name") from error
        except OSError as error:
            if isinstance(error, FileExistsError) and self.path.exists():  # not a file in its folder's place
                raise already_exists_error(self.path, self.name) from error
            raise write_error(self.path, error) from error
        try:
            lock(file.fileno())
        except BlockingIOError as error:
            file.close()
            raise ResultsError(f"{self.name} is being written by another process: wait for it, or stop it") from error
        return file

    def is_empty(self) -> bool:
        """Whether nothing was written yet."""
        return not os.fstat(self.file.fileno()).st_size

    def rows(self) -> Iterator[Row]:
        """Give the rows that are there, then cut off what is left of one more."""
        self.size = 0
        with open_regular(self.path) as reader:
            head = reader.read(len(self.form.start))
            if not self.form.start.startswith(head):
                raise self._foreign()
            reader.seek(0)
            for number, record in enumerate(self.form.records(reader), start=1):
                if number > 1 or not self.form.header:
                    yield self._decode(number, record)
                self.size += len(record)
        self.file.truncate(self.size)
        self.file.seek(self.size)
        if self.size:
            self.waiting.clear()  # the header

    def _decode(self, number: int, record: bytes) -> Row:
        try:
            return self.form.decode(record)
        except (ValueError, RecursionError) as error:
            raise ResultsError(
                f"{self.name}: row {number} does not fit what is to be written ({error}): "
                "give the options it was begun with, or another name"
            ) from error

    def _foreign(self) -> ResultsError:
        return ResultsError(
            f"{self.name} does not begin with the columns that are to be written ({', '.join(self.form.columns[:8])}"
            f"{', …' if len(self.form.columns) > 8 else ''}): give the options it was begun with, or another name"
        )

    def add(self, row: Row) -> None:
        """Let a row wait to be written together with others, for a second at most while rows come."""
        self.waiting.append(self.form.encode(row))
        if len(self.waiting) >= ROWS_A_WRITE or time.monotonic() - self.written_at >= SECONDS_A_WRITE:
            self.flush()

    def flush(self, *, synced: bool = False) -> None:
        """Write the rows that wait; ``synced``: so that they survive a power cut as well."""
        if not self._is_there():
            raise no_longer_there(self.name, "begin again, its rows are lost")
        if os.fstat(self.file.fileno()).st_size != self.size:
            raise RunError(
                f"{printable(str(self.name))} was emptied, cut or written to by something else while rows were added "
                "to it: begin again, in another file"
            )
        content = b"".join(self.waiting)
        try:
            self._write(content)
            if synced:
                os.fsync(self.file.fileno())
                sync_directory(self.path.parent)
        except OSError as error:
            raise write_error(self.name, error, WHEN_FULL) from error
        self.waiting.clear()
        self.written_at = time.monotonic()

    def _is_there(self) -> bool:
        """Whether the file is still under its name, so that what is written is not lost."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.file.fileno()))  # noqa: PTH116 - an odd name
        except FileNotFoundError:
            return False
        except OSError:  # of a disk that does not answer, which writing tells better
            return True

    def _write(self, content: bytes) -> None:
        left = memoryview(content)
        try:
            while left:
                left = left[self.file.write(left) :]
        except BaseException:  # a Ctrl-C as well as a full disk
            self.file.truncate(self.size)
            self.file.seek(self.size)
            raise
        self.size += len(content)

    def close(self) -> None:
        """Let go of the file; rows that wait are lost."""
        self.file.close()


def no_longer_there(name: Path, what_to_do: str) -> RunError:
    """Say that a file went away while it was written."""
    return RunError(f"{printable(str(name))} was deleted, moved or replaced while rows were added to it: {what_to_do}")


def already_exists_error(path: Path, name: Path) -> ResultsError:
    """Say what to do about a file that is there already."""
    what = "is there already" if path == name else f"was begun already (its journal is {path})"
    return ResultsError(f"{name} {what}: --resume goes on with it; or give another name, or delete it")
