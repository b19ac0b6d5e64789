"""Images to predict: files, folders, globs, lists, archives, addresses, stores, tables. Only names, so millions fit."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from googlenet.data.addresses import archive_suffix, is_address, is_archive, is_url, refuse_url
from googlenet.data.folders import Contents, sort_paths
from googlenet.data.image_ids import ImageIds
from googlenet.data.list_lines import SEPARATED, csv_rows
from googlenet.data.source import DataSource, to_source
from googlenet.errors import DataError
from googlenet.images.kinds import suffix_of
from googlenet.images.pixels import COLOURS
from googlenet.text import nearest, printable

if TYPE_CHECKING:
    from googlenet.data.archives import Unpacked

STDIN = "-"
TABLE = ".parquet"
Input = str | Path | DataSource
Tell = Callable[[str], object]


def find_images(
    inputs: Input | Iterable[Input], *, channels: int = COLOURS, tell: Tell = lambda note: None
) -> ImageIds:
    """Return the id of every image that ``inputs`` name, each once, in the order given.

    An input is one of :data:`KINDS`; a :class:`~googlenet.data.source.DataSource` also says which ``path_column`` of a
    list or table to read, and whether links are followed and addresses fetched. A file that does not exist is no error
    here: reading it will be.

    Of a folder, images of kinds that are not read, and folders that may not be read, are returned as well: each will be
    an error of its own. Whatever else is left out is told to ``tell``, one sentence for each reason.

    Raises:
        DataError: nothing found; a list or table without ``path_column`` or the other way round; no such column, or
            one of another type; an address without ``download``; a store that cannot be reached; a damaged table.
        MissingExtraError: pyarrow is needed for a store or a table.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "list.csv").write_text("file,taken\\na.jpg,2019\\nb.jpg,2020\\na.jpg,2021\\n")
    ...     found = find_images(DataSource(f"{folder}/list.csv", path_column="file"))
    ...     [Path(path).name for path in found.ids]
    ['a.jpg', 'b.jpg']
    """
    sources = [to_source(each) for each in ([inputs] if isinstance(inputs, Input) else inputs)]
    if not sources:
        raise DataError("no images are given: name files, folders, lists or archives")
    images = ImageIds([], download=any(source.download for source in sources))
    found = (id_ for source in sources for id_ in _Finder(source, channels, tell, images).find())
    images.ids = list(dict.fromkeys(found))
    return images


def has_columns(path: str) -> bool:
    """Whether an input is a list or a table, of which a column names the images.

    >>> has_columns("list.csv"), has_columns("s3://bucket/images.parquet"), has_columns("daisy.jpg")
    (True, True, False)
    """
    return _is_list(path) or _is_table(path)


@dataclass
class _Finder:
    """Finds the images of one input."""

    source: DataSource
    channels: int
    tell: Tell
    images: ImageIds

    def find(self) -> Iterable[str]:
        path, source = str(self.source), self.source
        if source.label_column is not None or source.multi_label:
            raise DataError(f"{path}: label_column and multi_label are for labelled images: leave them out")
        if source.path_column is not None and not has_columns(path):
            raise DataError(f"{path} is neither a list (.csv, .tsv) nor a {TABLE} file: leave path_column out")
        return self.of(path)

    def of(self, path: str) -> Iterable[str]:
        return next(kind for kind in KINDS if kind.matches(path)).find(self, path)


# The kinds of input.


@dataclass(frozen=True)
class InputKind:
    """A kind of input: how it is recognised by its name, and what finds its images."""

    name: str
    matches: Callable[[str], bool]
    find: Callable[[_Finder, str], Iterable[str]]


def _of_stdin(_: _Finder, __: str) -> Iterable[str]:
    return _some(_lines_of_stdin(), "standard input (-) names no images: give it one path a line")


def _lines_of_stdin() -> Iterator[str]:
    for line in sys.stdin.buffer:  # bytes, so that a name that is not UTF-8 is found as well
        if path := os.fsdecode(line.rstrip(b"\r\n")):
            yield path if is_address(path) else str(Path(path))


def _at_url(finder: _Finder, url: str) -> Iterable[str]:
    if not finder.source.download:
        raise refuse_url(url)
    if archive_suffix(url) is None:
        return [url]
    from googlenet.data.downloads import fetch_archive

    return _unpacked(finder, url, fetch_archive(url))


def _in_store(finder: _Finder, address: str) -> Iterable[str]:
    from googlenet.data.stores import stored_below

    return stored_below(address, finder.channels, finder.tell)


def _in_table(finder: _Finder, table: str) -> Iterable[str]:
    from googlenet.data.tables import rows_of

    return rows_of(table, finder.source.path_column, finder.images.tables)


def _below(finder: _Finder, folder: str, name: str | None = None) -> Iterable[str]:
    name = name or folder
    contents = Contents(finder.channels, follow_links=finder.source.follow_links)
    contents.add([folder])
    notes = contents.notes(folder, unread=False)
    for note in notes:
        finder.tell(f"{printable(name)}: {note}")
    for closed, why in contents.closed.items():
        finder.tell(f"{printable(closed)} may not be read: {why.lower()}")
    every = sort_paths([*contents.images[folder], *contents.unread[folder], *contents.closed])
    return _some(every, "; ".join((f"{name} holds no images: name a folder or files that are images", *notes)))


def _in_archive(finder: _Finder, path: str) -> Iterable[str]:
    from googlenet.data.archives import unpack

    return _unpacked(finder, path, unpack(path))


def _unpacked(finder: _Finder, archive: str, unpacked: Unpacked) -> Iterable[str]:
    if unpacked.left_out:
        finder.tell(f"{printable(archive)}: left out {unpacked.left_out:,} links or devices in it")
    folder = finder.images.archives[archive] = str(unpacked.folder)
    return [archive + path[len(folder) :] for path in _below(finder, folder, archive)]


def _matches_of_glob(finder: _Finder, pattern: str) -> Iterable[str]:
    found = sorted(match for match in glob.iglob(pattern, recursive=True) if not _is_folder(match))
    if not found and not any(wild in pattern for wild in "*?"):  # `photo [1].jpg` is the name of a file, more likely
        return [str(Path(pattern))]
    each = (_in_table(finder, path) if _is_table(path) else [str(Path(path))] for path in found)
    return _some((id_ for ids in each for id_ in ids), f"{pattern} matches no file")


def _in_list(finder: _Finder, path: str) -> Iterable[str]:
    column = _column_of(Path(path), finder.source.path_column)
    return _some(column, f"{path} names no images: it has a heading only")


def _column_of(path: Path, column: str | None) -> Iterator[str]:
    rows = csv_rows(path, [column] if column else ())
    _, header = next(rows, (1, []))
    names = [name.strip() for name in header]
    if column is None:
        there = ", ".join(map(printable, names))
        raise DataError(f"{path} is a list: say with --column which of its columns names the images ({there})")
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
        named = fields[place]
        yield named if is_address(named) else str(path.parent / named)


def _is_list(path: str) -> bool:
    return suffix_of(path) in SEPARATED and not _is_folder(path)


def _is_table(path: str) -> bool:
    return path.lower().endswith(TABLE) and not _is_folder(path)


def _is_glob(path: str) -> bool:
    return glob.has_magic(path) and not _exists(path)


def _is_folder(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises on odd names


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - as above


def _some(found: Iterable[str], otherwise: str) -> Iterator[str]:
    """Pass on what was found; raise :class:`DataError` if that is nothing."""
    path = None
    for path in found:
        yield path
    if path is None:
        raise DataError(otherwise)


# The first kind that matches is taken. A new kind of input is one more entry.
KINDS = (
    InputKind("standard input", lambda path: path == STDIN, _of_stdin),
    InputKind("address", is_url, _at_url),
    InputKind("folder", _is_folder, _below),
    InputKind("archive", lambda path: is_archive(path) and _exists(path), _in_archive),
    InputKind("glob", lambda path: not is_address(path) and _is_glob(path), _matches_of_glob),
    InputKind("table", _is_table, _in_table),
    InputKind("store", is_address, _in_store),
    InputKind("list", _is_list, _in_list),
    InputKind("file", lambda path: True, lambda _, path: [str(Path(path))]),
)
