"""Parquet files as input: a column names images, or holds them. Through pyarrow, on the disk or in a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from googlenet.data.addresses import is_address
from googlenet.data.image_ids import ROW, Named
from googlenet.data.stores import MAX_ERROR_LENGTH, opened
from googlenet.errors import DataError, MissingExtraError
from googlenet.files import NotARegularFileError, open_regular
from googlenet.text import nearest, printable

BATCH_ROWS = 64


def rows_of(table: str, column: str | None, holding: dict[str, str]) -> Iterator[str]:
    """Yield the ids of the images in a table: what its ``column`` names, or ``TABLE#ROW`` if it holds the images.

    A column of strings has paths (absolute, relative to the table, or addresses), one of bytes the images themselves;
    such a table and its column are added to ``holding``.

    Raises:
        DataError: no ``column``, or one that is neither; a table that is damaged or cannot be read.
        MissingExtraError: pyarrow is not installed.

    >>> import tempfile, pyarrow, pyarrow.parquet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pyarrow.parquet.write_table(pyarrow.table({"image": [b"GIF89a", b"..."]}), f"{folder}/a.parquet")
    ...     [Path(id_).name for id_ in rows_of(f"{folder}/a.parquet", "image", {})]
    ['a.parquet#0', 'a.parquet#1']
    """
    with _open(table) as file:
        import pyarrow.types as kinds

        names = file.schema_arrow.names
        if column is None:
            there = ", ".join(map(printable, names))
            raise DataError(f"{table} is a table: say with --column which of its columns has the images ({there})")
        if column not in names:
            raise DataError(f"{table} has no column {column!r}, {nearest(column, map(printable, names))}")
        kind = file.schema_arrow.field(column).type
        if kinds.is_binary(kind) or kinds.is_large_binary(kind):
            holding[table] = column
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


def read_rows(table: str, column: str, ids: Sequence[str]) -> Iterator[BinaryIO]:
    """Yield the bytes of the rows with these ids, which are in order. Only row groups that have one are read."""
    wanted = {int(id_.rpartition(ROW)[2]): id_ for id_ in ids}
    with _open(table) as file:
        first = 0
        for group in range(file.num_row_groups):
            after = first + file.metadata.row_group(group).num_rows
            if not wanted.keys().isdisjoint(range(first, after)):
                batches = file.iter_batches(BATCH_ROWS, row_groups=[group], columns=[column])
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
        raise MissingExtraError("parquet", "pyarrow") from error
    try:
        with opened(table) if is_address(table) else open_regular(table) as source, pq.ParquetFile(source) as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(f"{table} does not exist") from error
    except NotARegularFileError as error:
        raise DataError(f"{table} {error.strerror}") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{table} cannot be read as Parquet: {printable(str(error))[:MAX_ERROR_LENGTH]}") from error
