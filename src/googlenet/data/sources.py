"""What a command line names as pictures: files, folders, globs, lists. Names only, as plain text: a million fit."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from googlenet.data.listing import csv_rows
from googlenet.errors import DataError
from googlenet.images.decode import COLOURS, suffixes
from googlenet.text import nearest, printable

STDIN = "-"
LIST = ".csv"


def find_sources(paths: Sequence[str], *, column: str | None = None, channels: int = COLOURS) -> list[str]:
    """Give the path of every picture that ``paths`` name, each once, in the order given.

    A folder stands for the pictures below it, by their suffixes for so many ``channels``, sorted; ``-`` for those
    named on standard input, one a line; a ``.csv`` file for those in its ``column``, which are absolute or relative
    to its folder. A glob is what it matches. A file that is not there is no error here: reading it will be.

    Raises:
        DataError: nothing found; a CSV file without ``column`` or the other way round; no such column.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "list.csv").write_text("file,taken\\na.jpg,2019\\nb.jpg,2020\\na.jpg,2021\\n")
    ...     found = find_sources([f"{folder}/list.csv"], column="file")
    ...     [Path(path).name for path in found]
    ['a.jpg', 'b.jpg']
    """
    if column is not None and not any(map(_is_list, paths)):
        raise DataError(f"--column {column} names a column of a {LIST} file, and none is given: leave it out")
    return list(dict.fromkeys(found for path in paths for found in _each(path, column, channels)))


def pictures_below(folder: str, channels: int = COLOURS) -> list[str]:
    """List the path of every picture below ``folder`` by its suffix, sorted; what is hidden is ignored."""
    found: list[str] = []
    known = suffixes(channels)
    for directory, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = str(Path(directory, "x"))[:-1]  # as Path writes it, up to the name
        found += [here + name for name in files if not name.startswith(".") and _suffix(name) in known]
    return sorted(found, key=None if os.sep == "/" else lambda path: path.replace(os.sep, "/"))


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower()


def _is_folder(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises on odd names


def _is_list(path: str) -> bool:
    return _suffix(path) == LIST and not _is_folder(path)


def _each(path: str, column: str | None, channels: int) -> Iterable[str]:
    if path == STDIN:
        return _some(_lines_of_stdin(), "standard input (-) names no pictures: give it one path a line")
    if _is_folder(path):
        return _some(pictures_below(path, channels), f"{path} holds no pictures")
    if glob.has_magic(path) and not os.path.exists(path):  # noqa: PTH110 - as above
        matches = (match for match in glob.iglob(path, recursive=True) if not _is_folder(match))
        return _some((str(Path(match)) for match in sorted(matches)), f"{path} matches no file")
    if _is_list(path):
        return _some(_column_of(Path(path), column), f"{path} names no pictures: it has a heading only")
    return [str(Path(path))]


def _some(found: Iterable[str], otherwise: str) -> Iterator[str]:
    """Pass on what was found; raise :class:`DataError` where that is nothing."""
    path = None
    for path in found:
        yield path
    if path is None:
        raise DataError(otherwise)


def _lines_of_stdin() -> Iterator[str]:
    for line in sys.stdin.buffer:  # bytes, so that a name that is not UTF-8 is found as well
        if path := os.fsdecode(line.rstrip(b"\r\n")):
            yield str(Path(path))


def _column_of(path: Path, column: str | None) -> Iterator[str]:
    rows = csv_rows(path)
    _, header = next(rows, (1, []))
    names = [name.strip() for name in header]
    if column is None:
        there = ", ".join(map(printable, names))
        raise DataError(f"{path} is a list: say with --column which of its columns names the pictures ({there})")
    if column not in names:
        raise DataError(f"{path} has no column {column!r}, {nearest(column, map(printable, names))}")
    if names.count(column) > 1:
        raise DataError(f"{path} has column {column!r} {names.count(column)} times: keep one")
    place = names.index(column)
    for line, fields in rows:
        if len(fields) != len(names):
            raise DataError(f"{path}:{line}: {len(fields)} fields where the first line names {len(names)} columns")
        if not fields[place]:
            raise DataError(f"{path}:{line}: column {column} is empty: give a path, or leave the line out")
        yield str(path.parent / fields[place])
