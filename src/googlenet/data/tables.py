"""Images that Parquet files name or hold; and all that a cluster takes: these, addresses, what lies on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any, BinaryIO

from googlenet.data.addresses import is_archive
from googlenet.data.sources import LIST, Named, find_sources, is_list
from googlenet.data.stores import MAX_ERROR, is_address, opened, stored_below
from googlenet.errors import DataError, MissingExtraError
from googlenet.files import NotARegularFileError, open_regular
from googlenet.images.decode import COLOURS
from googlenet.text import nearest, printable

TABLE = ".parquet"
ROWS = 64  # images that are read of a table at a time
ROW = "#"  # between a table and the number of a row


@dataclass
class ImageIds:
    """Images by their ids: paths, addresses, and ``TABLE#ROW`` for those that a table holds.

    ``tables`` says of each table that holds images in which column.
    """

    ids: list[str]
    tables: dict[str, str] = field(default_factory=dict)


def find_images(
    paths: Sequence[str],
    *,
    column: str | None = None,
    channels: int = COLOURS,
    follow_links: bool = False,
    tell: Callable[[str], object] = lambda note: None,
) -> ImageIds:
    """Give the id of every image that ``paths`` name, each once, in the order given.

    What :func:`googlenet.data.sources.find_sources` takes, addresses of object stores, and Parquet files: their
    ``column`` holds paths (absolute, relative to the file, or addresses), or the bytes of the images themselves.

    Raises:
        DataError: nothing found; a list or table without ``column`` or the other way round; no such column, or one
            of another kind; a store that cannot be reached; a damaged table.
        MissingExtraError: pyarrow is not there.

    >>> import tempfile, pyarrow, pyarrow.parquet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pyarrow.parquet.write_table(pyarrow.table({"image": [b"GIF89a", b"..."]}), f"{folder}/a.parquet")
    ...     found = find_images([f"{folder}/a.parquet"], column="image")
    ...     [Path(name).name for name in found.ids]
    ['a.parquet#0', 'a.parquet#1']
    """
    images = ImageIds([])
    listed = [path for path in paths if not is_address(path) and is_list(path)]
    named: list[str] = []
    for path in paths:
        if is_archive(path):
            raise DataError(
                f"{path} is an archive, which a cluster does not read: unpack it, or leave --engine ray out"
            )
        if is_address(path):
            named += [path] if _is_table(path) else stored_below(path, channels, tell)
        else:
            named += find_sources(
                [path],
                column=column if path in listed else None,
                channels=channels,
                follow_links=follow_links,
                tell=tell,
            )
    tables = any(map(_is_table, named))
    if column is not None and not listed and not tables:
        raise DataError(
            f"--column {column} names a column of a {LIST} or {TABLE} file, and none is given: leave it out"
        )
    ids = (found for name in named for found in (_rows(name, column, images) if _is_table(name) else [name]))
    images.ids = list(dict.fromkeys(ids))
    return images


def read_images(
    ids: Iterable[str], tables: Mapping[str, str], fetch: Callable[..., Iterable[BinaryIO | str]] = map
) -> Iterator[str | BinaryIO]:
    """Give, for each id, what :func:`googlenet.images.decode.decode` takes: a path, or the bytes under its name.

    ``fetch`` calls a function on many addresses, in order, as ``map`` does: one that waits for many at once is faster.
    An image that is not there is a path of nothing.

    Raises :class:`DataError` where a store cannot be reached any more, or a table was changed.
    """
    for place, each in groupby(ids, lambda id_: _place_of(id_, tables)):
        if place in tables:
            yield from _read_rows(place, tables[place], list(each))
        elif place:
            yield from fetch(_fetched, each)
        else:
            yield from each


def _is_table(path: str) -> bool:
    return path.lower().endswith(TABLE)


def _place_of(id_: str, tables: Mapping[str, str]) -> str:
    """Give the table that an image is in, the store, or nothing for the disk."""
    table = id_.rpartition(ROW)[0]
    return table if table in tables else id_[: id_.find("://")] * is_address(id_)


def _fetched(address: str) -> BinaryIO | str:
    try:
        with opened(address) as file:
            return Named(file.read(), address)
    except FileNotFoundError:
        return address  # no file has such a path: the decoder says that it does not exist


def _rows(table: str, column: str | None, images: ImageIds) -> Iterator[str]:
    """Give the ids of what a table names; one that holds its images is noted."""
    import pyarrow.types as kinds

    with _open(table) as file:
        names = file.schema_arrow.names
        if column is None:
            there = ", ".join(map(printable, names))
            raise DataError(f"{table} is a table: say with --column which of its columns has the images ({there})")
        if column not in names:
            raise DataError(f"{table} has no column {column!r}, {nearest(column, map(printable, names))}")
        kind = file.schema_arrow.field(column).type
        if kinds.is_binary(kind) or kinds.is_large_binary(kind):
            images.tables[table] = column
            yield from (f"{table}{ROW}{row}" for row in range(file.metadata.num_rows))
        elif kinds.is_string(kind) or kinds.is_large_string(kind):
            yield from _paths(table, file, column)
        else:
            raise DataError(f"{table}: column {column} holds {kind}, neither paths (string) nor images (binary)")


def _paths(table: str, file: Any, column: str) -> Iterator[str]:
    row = 0
    for batch in file.iter_batches(columns=[column]):
        for path in batch.column(0).to_pylist():
            if not path:
                raise DataError(f"{table}{ROW}{row}: column {column} is empty: give a path, or leave the row out")
            yield path if is_address(path) else _beside(table, path)
            row += 1


def _beside(table: str, path: str) -> str:
    if is_address(table):
        return table[: table.rfind("/") + 1] + path
    return str(Path(table).parent / path)


def _read_rows(table: str, column: str, ids: Sequence[str]) -> Iterator[BinaryIO]:
    """Read the rows of these ids, which are in order; only the row groups that have one of them."""
    wanted = {int(id_.rpartition(ROW)[2]): id_ for id_ in ids}
    with _open(table) as file:
        first = 0
        for group in range(file.num_row_groups):
            after = first + file.metadata.row_group(group).num_rows
            if not wanted.keys().isdisjoint(range(first, after)):
                batches = file.iter_batches(ROWS, row_groups=[group], columns=[column])
                values = chain.from_iterable(batch.column(0) for batch in batches)
                for row, value in enumerate(values, start=first):
                    if row in wanted:
                        yield Named(value.as_py() or b"", wanted[row])
            first = after
    if max(wanted) >= first:
        raise DataError(f"{table} was changed while it was read: it has {first:,} rows now; begin again")


@contextmanager
def _open(table: str) -> Iterator[Any]:
    """Open a table on the disk or in a store, as a ``pyarrow.parquet.ParquetFile``."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("ray", "pyarrow") from error
    try:
        with opened(table) if is_address(table) else open_regular(table) as source, pq.ParquetFile(source) as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(f"{table} does not exist") from error
    except NotARegularFileError as error:
        raise DataError(f"{table} {error.strerror}") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{table} cannot be read as Parquet: {printable(str(error))[:MAX_ERROR]}") from error
