"""Results as Parquet. It cannot grow: rows go to a journal beside it, which becomes Parquet when all is done."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from googlenet.bulk.results import WHEN_FULL, Lines, Results, already_exists_error, no_longer_there
from googlenet.bulk.rows import SET, UNKNOWN, JSONLFormat, Row, RowSchema
from googlenet.errors import MissingExtraError, ResultsError
from googlenet.files import NotARegularFileError, open_regular, sibling, sync_directory, write_error

MAX_GROUP_ROWS = 8192  # of a row group: so many are in memory at once
DIMENSION = b"dimension"  # of embeddings, in the metadata of a schema
COUNTED = ("path", "error", "class", "labels")  # the columns that a summary needs


def require_pyarrow() -> None:
    """Raise :class:`MissingExtraError` if pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("parquet", "pyarrow") from error


class ParquetResults(Results):
    """A Parquet file and its journal, which together hold each image once.

    The journal is deleted after the file that has its rows is under its name; after a kill in between they are in
    both, and those of the journal are left alone.
    """

    def __init__(self, path: Path, schema: RowSchema, resume: bool) -> None:
        if os.path.exists(path) and not resume:  # noqa: PTH110 - Path.exists raises on a name that is too long
            raise already_exists_error(path, path)
        self.arrow_schema = arrow_schema(schema)
        next(rows_of(path, self.arrow_schema), None)  # refuse other columns before a journal is begun
        journal = sibling(path, ".journal.jsonl")
        lines = Lines(journal, JSONLFormat(schema), path, resume)
        self.begun = os.path.exists(path)  # noqa: PTH110 - as above
        super().__init__(path, schema, lines, rows_of(path, self.arrow_schema))

    def finish(self) -> None:
        """Turn the journal into Parquet, after the rows that are there already. The file is always whole."""
        self.flush()
        if self.begun and not self.path.exists():
            raise no_longer_there(self.path, "add --resume to do again what it had, the new rows are kept")
        stored = {row["path"] for row in rows_of(self.path, self.arrow_schema)}
        new = (row for row in self.lines.rows() if row["path"] not in stored)
        first = next(new, None)
        try:
            if first is not None or not self.path.exists():
                self._write([] if first is None else chain([first], new))
            self.lines.close()
            self.lines.path.unlink()
            sync_directory(self.path.parent)
        except OSError as error:
            raise write_error(self.path, error, WHEN_FULL) from error

    def _write(self, new: Iterable[Row]) -> None:
        import pyarrow.parquet as pq

        fresh = sibling(self.path, ".new")
        rows = iter(new)
        try:
            with fresh.open("wb") as file:
                with pq.ParquetWriter(file, self.arrow_schema) as writer:
                    if self.path.exists():
                        with self.path.open("rb") as earlier:  # opened here: Arrow takes no name that is not UTF-8
                            for batch in pq.ParquetFile(earlier).iter_batches(MAX_GROUP_ROWS):
                                writer.write_batch(batch)
                    while group := list(islice(rows, MAX_GROUP_ROWS)):
                        writer.write_batch(_batch(group, self.arrow_schema))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
            sync_directory(self.path.parent)
        finally:
            with contextlib.suppress(OSError):  # on a disk that became read-only this fails even where there is none
                fresh.unlink()


def encoded(rows: Sequence[Row], schema: RowSchema) -> bytes:
    """Return a Parquet file of one row group. :func:`rows_of` reads it back."""
    import pyarrow.parquet as pq

    columns, file = arrow_schema(schema), io.BytesIO()
    with pq.ParquetWriter(file, columns) as writer:
        writer.write_batch(_batch(rows, columns))
    return file.getvalue()


def _batch(rows: Sequence[Row], schema: Any) -> Any:
    import pyarrow as pa

    cells = [pa.array([row[each.name] for row in rows], each.type) for each in schema]
    return pa.RecordBatch.from_arrays(cells, schema=schema)


def arrow_schema(schema: RowSchema) -> Any:
    """Return the types of the columns, as a ``pyarrow.Schema``."""
    import pyarrow as pa

    def lists_of(kind: Any) -> Any:
        return pa.list_(pa.field("element", kind))  # the name that they have when they are read back

    kinds = {
        "labels": lists_of(pa.string()),
        "probabilities": lists_of(pa.float64()),
        "embedding": lists_of(pa.float32()),
    }
    usual = {name: pa.float64() if name.startswith("probability") else pa.string() for name in schema.names}
    usual |= {name: pa.bool_() for name in schema.names if name.startswith(UNKNOWN)}
    usual |= {name: lists_of(pa.string()) for name in schema.names if name.startswith(SET)}
    fields = [(name, kinds.get(name, usual[name])) for name in schema.names]
    return pa.schema(fields, {DIMENSION: str(schema.dimension)})


def _described(schema: Any) -> str:
    dimension = (schema.metadata or {}).get(DIMENSION, b"0").decode()
    return ", ".join(schema.names[:8]) + (f" of {dimension} numbers" if dimension != "0" else "")


def rows_of(path: Path, schema: Any) -> Iterator[Row]:
    """Yield the :data:`COUNTED` columns of the rows of a Parquet file; none if there is no file.

    Raises :class:`ResultsError` if it is damaged or has other columns than ``schema``, a ``pyarrow.Schema``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not os.path.exists(path):  # noqa: PTH110 - as above
        return
    try:
        with open_regular(path) as opened, pq.ParquetFile(opened) as file:
            if not file.schema_arrow.equals(schema, check_metadata=True):
                raise ResultsError(
                    f"{path} has other columns ({_described(file.schema_arrow)}) than are to be written "
                    f"({_described(schema)}): give the options it was begun with, or another name"
                )
            for batch in file.iter_batches(MAX_GROUP_ROWS, columns=[name for name in COUNTED if name in schema.names]):
                yield from batch.to_pylist()
    except NotARegularFileError as error:
        raise ResultsError(f"{path} {error.strerror}: give another name") from error
    except (pa.ArrowException, OSError) as error:
        raise ResultsError(f"{path} is damaged or not Parquet: delete it, or give another name") from error
