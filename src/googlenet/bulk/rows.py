"""Result rows: which columns they have, and how they are written as CSV and JSONL, in files and on stdout."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from googlenet.bulk.origin import Origin
from googlenet.errors import ImageError
from googlenet.inference.classifier import Prediction
from googlenet.inference.conformal import LAC
from googlenet.strict_json import integer
from googlenet.text import (
    BETWEEN_LABELS,
    csv_line,
    escape_surrogates,
    from_no_formula,
    from_no_formula_path,
    json_text,
    no_formula,
    no_formula_path,
)

DECIMALS = 6  # of a probability
MAX_ROW_BYTES = 1 << 20
SET, UNKNOWN = "set_", "unknown_"  # columns, followed by the level, and by the rate of false alarms

Row = dict[str, Any]  # by column: texts, numbers, lists of them, an embedding; None where there is nothing
Answer = Prediction | NDArray[np.float32] | ImageError


@dataclass(frozen=True)
class RowSchema:
    """The columns of a row: ``path``, ``error`` and ``columns``, which ``cells`` fills from an answer.

    ``dimension`` is that of an embedding, else 0. With an ``origin``, rows are never added to those of another
    classifier (:mod:`googlenet.bulk.origin`).
    """

    columns: tuple[str, ...]
    cells: Callable[[Any], tuple[Any, ...]]
    dimension: int = 0
    origin: Origin | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All columns."""
        return ("path", "error", *self.columns)

    def row(self, id_: str, answer: Answer) -> Row:
        """Return the row of an image: what was predicted, or why it could not be read."""
        failed = isinstance(answer, ImageError)
        reason = escape_surrogates(str(answer)) if failed else None
        cells = (None,) * len(self.columns) if failed else self.cells(answer)
        return dict(zip(self.names, (escape_surrogates(id_), reason, *cells), strict=True))


def ranked_schema(top: int = 1) -> RowSchema:
    """Return the schema with the ``top`` most probable classes, each with its probability.

    >>> ranked_schema(2).names
    ('path', 'error', 'class', 'probability', 'class2', 'probability2')
    """
    ranks = ["", *map(str, range(2, top + 1))]
    columns = tuple(f"{name}{rank}" for rank in ranks for name in ("class", "probability"))
    return RowSchema(columns, lambda answer: tuple(cell for pair in top_classes(answer, top) for cell in pair))


def labels_schema() -> RowSchema:
    """Return the schema with all labels of an image, which may have several or none, and their probabilities."""

    def cells(answer: Prediction) -> tuple[list[str], list[float]]:
        pairs = top_classes(answer)
        return [name for name, _ in pairs], [probability for _, probability in pairs]

    return RowSchema(("labels", "probabilities"), cells)


def with_set(schema: RowSchema, level: float, limit: float, method: str = LAC) -> RowSchema:
    """Return the schema with the classes of a conformal set, at a level and the score that is its limit."""
    suffix = "" if method == LAC else f"_{method}"

    def cells(answer: Prediction) -> tuple[Any, ...]:
        return *schema.cells(answer), [escape_surrogates(name) for name in answer.within(limit, method)]

    return replace(schema, columns=(*schema.columns, f"{SET}{level:g}{suffix}"), cells=cells)


def with_unknown(schema: RowSchema, rate: float) -> RowSchema:
    """Return the schema with whether an image is called unknown, at a rate of false alarms among known images."""

    def cells(answer: Prediction) -> tuple[Any, ...]:
        return *schema.cells(answer), answer.p_value is not None and answer.p_value <= rate

    return replace(schema, columns=(*schema.columns, f"{UNKNOWN}{rate:g}"), cells=cells)


def with_head(schema: RowSchema) -> RowSchema:
    """Return the schema with the auxiliary head that answered, nothing for the full network."""
    return replace(schema, columns=(*schema.columns, "head"), cells=lambda answer: (*schema.cells(answer), answer.head))


def embedding_schema(dimension: int) -> RowSchema:
    """Return the schema with an embedding: (``dimension``,) float32."""
    return RowSchema(("embedding",), lambda answer: (answer,), dimension)


def top_classes(answer: Prediction, top: int | None = None) -> list[tuple[str, float]]:
    """Return the ``top`` most probable classes, by default those that the image is of; rounded, as written."""
    pairs = answer.top(top or len(answer.class_names))
    labels = {name for name, _ in pairs} if top else answer.labels
    return [(escape_surrogates(name), round(probability, DECIMALS)) for name, probability in pairs if name in labels]


class CSVFormat:
    """Rows as CSV. A path may contain line ends: a row ends at the first one outside of quotes.

    No cell is a formula to a spreadsheet; :meth:`decode` returns what was written.
    """

    def __init__(self, schema: RowSchema) -> None:
        self.schema = schema
        spread = [f"f{number:04d}" for number in range(schema.dimension)]
        self.columns = (*schema.names[:2], *(spread or schema.columns))
        self.header = csv_line(self.columns)
        self.start = self.header.encode()  # of a file with these columns

    def line(self, row: Row) -> str:
        """Return a row as a line, or as several if its path has line ends."""
        return csv_line(self.cells(row))

    def cells(self, row: Row) -> list[Any]:
        """Return the cells of a row, as texts and numbers."""
        return [cell for name, value in row.items() for cell in self._cells(name, value)]

    def _cells(self, name: str, value: Any) -> Sequence[Any]:
        if name == "embedding":
            return [""] * self.schema.dimension if value is None else _numbers(value).split(",")
        text = BETWEEN_LABELS.join(map(str, value)) if isinstance(value, list) else value
        if isinstance(text, bool):
            return ["true" if text else "false"]
        if not isinstance(text, str):
            return [text]
        return [no_formula_path(text) if name == "path" else no_formula(text)]

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield what lies between line ends outside of quotes: up to these a record has an even number of quotes."""
        record, quotes = b"", 0
        for line in file:
            record, quotes = record + line, quotes + line.count(b'"')
            if quotes % 2 == 0 and line.endswith(b"\n"):
                yield record
                record, quotes = b"", 0
            elif len(record) > MAX_ROW_BYTES:  # one quote too many somewhere: what follows is no half-written row
                yield record
                return

    def decode(self, record: bytes) -> Row:
        """Read a row back, its numbers as texts. Raises :class:`ValueError` if it is none of these."""
        try:
            fields = next(csv.reader([record.decode()], strict=True))
        except csv.Error as error:
            raise ValueError(str(error)) from error
        if len(fields) != len(self.columns):
            raise ValueError(f"{len(fields)} fields, not {len(self.columns)}")
        path, *others = fields
        row: Row = dict(zip(self.columns, (from_no_formula_path(path), *map(from_no_formula, others)), strict=True))
        if "labels" in row:
            row["labels"] = row["labels"].split(BETWEEN_LABELS) if row["labels"] else []
        return row


class JSONLFormat:
    """Rows as JSON objects, one a line. What a terminal would obey is escaped."""

    header = ""
    start = b'{"path": '

    def __init__(self, schema: RowSchema) -> None:
        self.schema = schema
        self.columns = schema.names

    def line(self, row: Row) -> str:
        """Return a row as a line."""
        return "{" + ", ".join(f'"{name}": {self._text(value)}' for name, value in row.items()) + "}\n"

    def _text(self, value: Any) -> str:
        return f"[{_numbers(value)}]" if isinstance(value, np.ndarray) else json_text(value)

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield the lines that are whole."""
        return (line for line in file if line.endswith(b"\n"))

    def decode(self, record: bytes) -> Row:
        """Read a row back. Raises :class:`ValueError` if it is none of these."""
        row = json.loads(record, parse_int=integer)
        if not isinstance(row, dict) or tuple(row) != self.columns:
            found = ", ".join(row) if isinstance(row, dict) else "none"
            raise ValueError(f"its columns are {found}, not {', '.join(self.columns)}")
        if len(row.get("embedding") or ()) not in (0, self.schema.dimension):
            raise ValueError(f"an embedding of {len(row['embedding'])} numbers, not {self.schema.dimension}")
        return row


LineFormat = CSVFormat | JSONLFormat


def _numbers(vector: NDArray[np.float32]) -> str:
    """Write float32 in nine digits, which tell any two of them apart."""
    return ",".join(["%.9g"] * len(vector)) % tuple(vector.tolist())
