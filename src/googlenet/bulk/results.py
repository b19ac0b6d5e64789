"""Result files that survive a kill: killed at any moment and resumed, each image is in them once.

CSV and JSONL grow by whole rows; what a kill left of a row is cut off before more are added. An image is known by its
path as it was given.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from googlenet.bulk.origin import check_origin, write_origin
from googlenet.bulk.report import Summary
from googlenet.bulk.rows import Answer, LineFormat, Row, RowSchema
from googlenet.errors import ResultsError, RunError
from googlenet.files import NotARegularFileError, lock, open_regular, refuse_irregular, sync_directory, write_error
from googlenet.text import printable

WHEN_FULL = "its rows are whole: free some space, then add --resume"
MAX_ROWS_PER_WRITE = 32
MAX_SECONDS_PER_WRITE = 1.0  # a slow machine writes fewer rows at a time


class Results:
    """A results file, open for more rows. Made by :func:`~googlenet.bulk.formats.open_results`; a context manager.

    Rows that were flushed survive an exception. ``done`` are the paths that were there before, without surrogates;
    ``summary`` counts these, too. ``is_known`` is false where rows are there and nothing records which classifier
    they are of.
    """

    def __init__(self, path: Path, schema: RowSchema, lines: Lines, earlier: Iterable[Row] = ()) -> None:
        self.path, self.schema, self.lines = path, schema, lines
        self.done: set[str] = set()
        self.summary = Summary()
        begun = True
        try:
            begun = not lines.is_empty() or (path != lines.path and os.path.exists(path))  # noqa: PTH110 - an odd name
            self.is_known = not (begun and schema.origin) or check_origin(path, schema.origin)
            for row in chain(earlier, lines.rows()):
                if row["path"] not in self.done:
                    self.done.add(row["path"])
                    self.summary.add(row)
            if schema.origin:
                write_origin(path, schema.origin)
        except BaseException:
            lines.close()
            if not begun:  # no empty file stands in the way of the next try
                lines.path.unlink(missing_ok=True)
            raise

    def add(self, source: str, answer: Answer) -> None:
        """Add the row of one image; it is written within a second."""
        row = self.schema.row(source, answer)
        self.summary.add(row)
        self.lines.add(row)

    @property
    def path_in_progress(self) -> Path:
        """The file that has the rows until :meth:`finish`."""
        return self.lines.path

    def flush(self) -> None:
        """Write rows that wait to the disk. Raises :class:`DiskFullError`, :class:`RunError`; the file stays whole."""
        self.lines.flush(synced=True)

    def finish(self) -> None:
        """Write whatever is left."""
        self.flush()

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lines.close()


class Lines:
    """A file that grows by whole rows, open in one process only. ``name`` is the path that the user gave.

    Opened to ``resume``, it loses what is left of a half-written row. If a write fails, the file is as it was before.
    """

    def __init__(self, path: Path, form: LineFormat, name: Path, resume: bool) -> None:
        self.path, self.form, self.name, self.resume = path, form, name, resume
        self.file = self._open()
        self.size = 0
        self.waiting: list[bytes] = [form.header.encode()]
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
        """Yield the rows that are there, then cut off what is left of a half-written one."""
        self.size = 0
        with open_regular(self.path) as reader:
            head = reader.read(len(self.form.start))
            if not self.form.start.startswith(head):
                raise self._wrong_columns()
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

    def _wrong_columns(self) -> ResultsError:
        return ResultsError(
            f"{self.name} does not begin with the columns that are to be written ({', '.join(self.form.columns[:8])}"
            f"{', …' if len(self.form.columns) > 8 else ''}): give the options it was begun with, or another name"
        )

    def add(self, row: Row) -> None:
        """Add a row. It waits, a second at most while rows come, to be written together with others."""
        self.waiting.append(self.form.line(row).encode())
        if len(self.waiting) >= MAX_ROWS_PER_WRITE or time.monotonic() - self.written_at >= MAX_SECONDS_PER_WRITE:
            self.flush()

    def flush(self, *, synced: bool = False) -> None:
        """Write the rows that wait; ``synced`` also makes them survive a power cut."""
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
        """Whether the file still has its name, so that what is written to it is not lost."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.file.fileno()))  # noqa: PTH116 - an odd name
        except FileNotFoundError:
            return False
        except OSError:  # a disk that does not answer: writing to it gives the better message
            return True

    def _write(self, content: bytes) -> None:
        left = memoryview(content)
        try:
            while left:
                left = left[self.file.write(left) :]
        except BaseException:  # Ctrl-C as well as a full disk
            self.file.truncate(self.size)
            self.file.seek(self.size)
            raise
        self.size += len(content)

    def close(self) -> None:
        """Close the file; rows that wait are lost."""
        self.file.close()


def no_longer_there(name: Path, what_to_do: str) -> RunError:
    """Return the error for a file that disappeared while it was written."""
    return RunError(f"{printable(str(name))} was deleted, moved or replaced while rows were added to it: {what_to_do}")


def already_exists_error(path: Path, name: Path) -> ResultsError:
    """Return the error for a file that exists already."""
    what = "already exists" if path == name else f"was begun already (its journal is {path})"
    return ResultsError(f"{name} {what}: --resume continues it; or give another name, or delete it")
