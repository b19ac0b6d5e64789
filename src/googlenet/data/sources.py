"""What a command line names as images: files, folders, globs, lists. Names only, as plain text: a million fit."""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from googlenet.data.addresses import archive_suffix, is_archive, is_url, refuse_url
from googlenet.data.archives import Unpacked, place_of, unpack
from googlenet.data.folders import Contents, sort_paths
from googlenet.data.listing import SEPARATED, csv_rows
from googlenet.errors import DataError
from googlenet.files import open_regular
from googlenet.images.decode import COLOURS
from googlenet.images.kinds import suffix_of
from googlenet.text import nearest, printable

STDIN = "-"
LIST = ".csv"


def find_sources(
    paths: Sequence[str],
    *,
    column: str | None = None,
    channels: int = COLOURS,
    follow_links: bool = False,
    download: bool = False,
    tell: Callable[[str], object] = lambda note: None,
) -> list[str]:
    """Give the path of every image that ``paths`` name, each once, in the order given.

    A folder stands for the images below it, by their suffixes for so many ``channels``, sorted; ``-`` for those
    named on standard input, one a line; a ``.csv`` or ``.tsv`` file for those in its ``column``, which are absolute or
    relative to its folder; a zip or tar archive for those in it, called ``photos.zip/a.jpg``. A glob is what it
    matches. A file that is not there is no error here: reading it will be.

    Of a folder, images of kinds that are not read, and folders that may not be read, are named as well: each will be
    an error of its own. What else is left out is told to ``tell``, a sentence for each reason. Linked folders are
    looked into only with ``follow_links``; then each file is there once.

    Raises:
        DataError: nothing found; a CSV file without ``column`` or the other way round; no such column.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "list.csv").write_text("file,taken\\na.jpg,2019\\nb.jpg,2020\\na.jpg,2021\\n")
    ...     found = find_sources([f"{folder}/list.csv"], column="file")
    ...     [Path(path).name for path in found]
    ['a.jpg', 'b.jpg']
    """
    if column is not None and not any(map(is_list, paths)):
        raise DataError(f"--column {column} names a column of a {LIST} file, and none is given: leave it out")
    find = _Finder(column, channels, follow_links, download, tell)
    return list(dict.fromkeys(found for path in paths for found in find(path)))


def is_list(path: str) -> bool:
    """Whether a path is that of a list of images for ``column``."""
    return suffix_of(path) in SEPARATED and not _is_folder(path)


def _is_folder(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises on odd names


@dataclass
class _Finder:
    column: str | None
    channels: int
    follow_links: bool
    download: bool
    tell: Callable[[str], object]

    def __call__(self, path: str) -> Iterable[str]:
        if path == STDIN:
            return _some(_lines_of_stdin(), "standard input (-) names no images: give it one path a line")
        if is_url(path):
            return self._at(path)
        if _is_folder(path):
            return self._below(path, path)
        if is_archive(path) and os.path.exists(path):  # noqa: PTH110 - as above
            return self._unpacked(path, unpack(path))
        if glob.has_magic(path) and not os.path.exists(path):  # noqa: PTH110 - as above
            matches = (match for match in glob.iglob(path, recursive=True) if not _is_folder(match))
            found = (str(Path(match)) for match in sorted(matches))
            if not any(wild in path for wild in "*?"):  # `photo [1].jpg` is the name of a file, more likely
                return list(found) or [str(Path(path))]
            return _some(found, f"{path} matches no file")
        if is_list(path):
            return _some(_column_of(Path(path), self.column), f"{path} names no images: it has a heading only")
        return [str(Path(path))]

    def _at(self, url: str) -> Iterable[str]:
        if not self.download:
            raise refuse_url(url)
        if archive_suffix(url) is None:
            return [url]
        from googlenet.data.downloads import fetch_archive

        return self._unpacked(url, fetch_archive(url))

    def _unpacked(self, archive: str, unpacked: Unpacked) -> Iterable[str]:
        if unpacked.left_out:
            self.tell(f"{printable(archive)}: left out {unpacked.left_out:,} links or devices in it")
        folder = str(unpacked.folder)
        return [archive + path[len(folder) :] for path in self._below(folder, archive)]

    def _below(self, folder: str, name: str) -> Iterable[str]:
        contents = Contents(self.channels, follow_links=self.follow_links)
        contents.add([folder])
        notes = contents.notes(folder, unread=False)
        for note in notes:
            self.tell(f"{printable(name)}: {note}")
        for closed, why in contents.closed.items():
            self.tell(f"{printable(closed)} may not be read: {why.lower()}")
        every = sort_paths([*contents.images[folder], *contents.unread[folder], *contents.closed])
        return _some(every, "; ".join((f"{name} holds no images", *notes)))


class Named(io.BytesIO):
    """Bytes that messages call by a name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def readable(source: str, *, download: bool = False) -> str | BinaryIO:
    """Give what :func:`googlenet.images.decode.decode` takes: the path, or the bytes of what is in an archive.

    What an address names is fetched where ``download`` allows it.
    """
    place = place_of(source)
    if place is not None:
        with open_regular(place) as file:
            return Named(file.read(), source)
    if is_url(source):
        from googlenet.data.downloads import Unreachable, fetch_image

        return cast(BinaryIO, fetch_image(source) if download else Unreachable(source, "--download fetches it"))
    return source


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
            yield path if is_url(path) else str(Path(path))


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
        yield named if is_url(named) else str(path.parent / named)
