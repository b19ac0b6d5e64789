"""Lists of labelled pictures, CSV or JSONL → checked rows. Names only are kept; what is wrong is said with its line."""

from __future__ import annotations

import csv
import difflib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from googlenet.errors import DataError
from googlenet.text import first_few, from_no_formula, nearest, printable

LISTS = (".csv", ".jsonl")
COLUMNS = ("path", "label", "labels", "split", "group")
SPLITS = ("train", "val", "test")
BETWEEN_LABELS = "|"  # in CSV, where a field is one text
MAX_LINE = 1 << 20  # bytes: a longer line is something else under the name of a list


@dataclass(frozen=True, slots=True)
class Row:
    """One picture of a list: its line, its name there, where it is, its classes, and its split and group if told.

    ``home`` is the folder that no link on the way to the picture may lead out of: the list's, where the path
    stays in it as written, otherwise the picture's own.
    """

    line: int
    name: str
    path: Path
    home: Path
    labels: tuple[str, ...]
    split: str | None
    group: str | None


def read_list(path: Path) -> list[Row]:
    """Read a list of labelled pictures.

    A CSV file names its columns in its first line; a JSONL file has one object a line. ``path`` is absolute or
    relative to the list's folder. ``label`` (or ``labels``) is the name of a class, or of several: separated by
    ``|`` in CSV, a list in JSONL; empty for none. ``split``, if not empty, is train, val or test. Pictures with the
    same ``group`` belong to one split. Other columns are left alone.

    Raises:
        DataError: a file that is not UTF-8, CSV or JSON, columns missing or misspelt, a picture listed twice or not
            there, an unknown split, a group in two splits.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "a.jpg").touch()
    ...     _ = (Path(folder) / "list.csv").write_text("path,label,split\\na.jpg,cat|dog,val\\n")
    ...     [(row.name, row.labels, row.split) for row in read_list(Path(folder) / "list.csv")]
    [('a.jpg', ('cat', 'dog'), 'val')]
    """
    records = _csv_records(path) if path.suffix.lower() == ".csv" else _jsonl_records(path)
    rows = [_row(path, line, record) for line, record in records]
    if not rows:
        raise DataError(f"{path} lists no pictures: it takes a path and a label a line ({_how(path)})")
    _refuse_repeated(path, rows)
    _refuse_missing(path, rows)
    _refuse_torn_groups(path, rows)
    return rows


# The two kinds of file, as (line, record).


def _lines(path: Path) -> Iterator[str]:
    """Decode line by line, so that a wrong byte is known by its line, and no file, however long, fills the memory."""
    number = 1
    try:
        with path.open("rb") as file:
            while raw := file.readline(MAX_LINE + 1):
                if len(raw) > MAX_LINE:
                    raise DataError(f"{path}:{number}: a line of more than {MAX_LINE:,} bytes: this is no {_how(path)}")
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
                number += 1
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: not UTF-8 (byte 0x{error.object[error.start]:02x}): save it as UTF-8"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read a CSV file row by row, the heading as well: the line each begins in, and its fields. Empty lines are none.

    Raises :class:`DataError`, with the line, on what is not UTF-8 or CSV.
    """
    reader = csv.reader(_lines(path), strict=True)
    line = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{path}:{line}: not CSV: {error}") from error
        start, line = line, reader.line_num + 1  # a quoted field may go over several lines
        if fields:
            yield start, fields


def _csv_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    header: list[str] | None = None
    for start, fields in csv_rows(path):
        if header is None:
            header = [field.strip() for field in fields]
            _require_columns(f"{path}:{start}", tuple(header))
            continue
        if len(fields) != len(header):
            raise DataError(f"{path}:{start}: {len(fields)} fields where the first line names {len(header)} columns")
        record: dict[str, Any] = dict(zip(header, fields, strict=True))
        for key in record.keys() & {"label", "labels"}:
            record[key] = from_no_formula(record[key]).split(BETWEEN_LABELS)
        yield start, record


def _jsonl_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except RecursionError as error:
            raise DataError(f"{path}:{number}: nested too deeply: a line is {_how(path)}") from error
        except ValueError as error:
            reason = getattr(error, "msg", error)
            raise DataError(f"{path}:{number}: not JSON: {reason}: a line is {_how(path)}") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}:{number}: no object: a line is {_how(path)}")
        _require_columns(f"{path}:{number}", tuple(record))
        yield number, record


def _how(path: Path) -> str:
    if path.suffix.lower() == ".csv":
        return "CSV: path,label in its first line"
    return '{"path": "a.jpg", "label": "cat"}'


def _require_columns(where: str, columns: tuple[str, ...]) -> None:
    if wrong := _wrong_columns(columns):
        raise DataError(f"{where}: {wrong}")


@lru_cache(maxsize=64)  # the lines of a JSONL file mostly have the same keys
def _wrong_columns(columns: tuple[str, ...]) -> str | None:
    """Say what is wrong with the columns. One like a known one that is missing is a slip; others are the user's own."""
    there = ", ".join(map(printable, columns))
    twice = [name for name in COLUMNS if columns.count(name) > 1]
    if twice or {"label", "labels"} <= set(columns):
        return f"{twice[0] if twice else 'label'!r} is there twice: keep one ({there})"
    known = set(columns) | ({"label", "labels"} if {"label", "labels"} & set(columns) else set())
    absent = [name for name in COLUMNS if name not in known]
    for name in columns:
        if name not in COLUMNS and difflib.get_close_matches(name.lower(), absent, cutoff=0.7):
            return f"unknown column {printable(name)!r}, {nearest(name.lower(), absent)}"
    needed = [name for name in ("path", "label") if name in absent]
    if needed:
        return f"no column {needed[0]!r} (there are: {there}); it takes path, label, and split and group if you like"
    return None


# One row.


def _row(source: Path, line: int, record: dict[str, Any]) -> Row:
    where = f"{source}:{line}"
    written = _text(where, record, "path")
    if not written or "\0" in written or not _can_be_encoded(written):
        what = f"{written!r} cannot be the name of a file" if written else "the path is empty"
        raise DataError(f"{where}: {what}: give one, relative to {source.parent} or absolute")
    split = (_text(where, record, "split") or "").strip() or None
    if split is not None and split not in SPLITS:
        raise DataError(f"{where}: unknown split {split!r}, {nearest(split, SPLITS)}; leave it empty to split here")
    folder, name = source.parent, os.path.normpath(written)
    path = folder / written
    return Row(
        line,
        name.replace(os.sep, "/"),
        path,
        folder if _stays_in(folder, name) else path.parent,
        _labels(where, record.get("label", record.get("labels"))),
        split,
        _text(where, record, "group") or None,
    )


def _text(where: str, record: dict[str, Any], key: str) -> str | None:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{where}: {key} must be a text in quotes, got {printable(json.dumps(value)[:40])}")
    return value


def _labels(where: str, value: Any) -> tuple[str, ...]:
    labels = [value] if isinstance(value, str) else value
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        got = printable(json.dumps(value)[:40])
        raise DataError(f"{where}: label must be the name of a class in quotes, or a list of names, got {got}")
    names = sorted({label.strip() for label in labels} - {""})
    for name in names:
        if printable(name) != name:
            raise DataError(f"{where}: {name!r} cannot be the name of a class: it has characters that cannot be shown")
    return tuple(names)


def _stays_in(folder: Path, name: str) -> bool:
    """Whether a normalised name stays in the folder as it is written, links not followed."""
    if os.path.isabs(name):  # noqa: PTH117 - a Path for each of a million pictures takes seconds
        return Path(name).is_relative_to(os.path.abspath(folder))  # noqa: PTH100
    return name.split(os.sep, 1)[0] != os.pardir


def _can_be_encoded(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        return False


# All rows together.


def _refuse_repeated(source: Path, rows: list[Row]) -> None:
    seen: dict[str, Row] = {}
    for row in rows:
        first = seen.setdefault(os.path.normpath(row.path), row)
        if first is not row:
            other = "" if first.labels == row.labels else f" with another label ({', '.join(first.labels) or 'none'})"
            raise DataError(f"{source}:{row.line}: {printable(row.name)} is in line {first.line} too{other}: keep one")


def _refuse_missing(source: Path, rows: list[Row]) -> None:
    missing = [row for row in rows if not os.path.isfile(row.path)]  # noqa: PTH113 - Path.is_file raises on odd names
    if missing:
        named = first_few(f"{printable(row.name)} (line {row.line})" for row in missing)
        raise DataError(
            f"{source}: {len(missing):,} of {len(rows):,} pictures are not there: {named}; "
            f"paths are relative to {source.parent}"
        )


def _refuse_torn_groups(source: Path, rows: list[Row]) -> None:
    first: dict[str, Row] = {}
    torn: dict[str, str] = {}
    for row in rows:
        if row.group is None or row.split is None:
            continue
        known = first.setdefault(row.group, row)
        if known.split != row.split:
            torn.setdefault(
                row.group,
                f"{printable(row.group)} is in {known.split} (line {known.line}) and {row.split} (line {row.line})",
            )
    if torn:
        raise DataError(
            f"{source}: {len(torn)} group{'s are' if len(torn) > 1 else ' is'} torn apart by the splits: "
            f"{first_few(torn.values())}; pictures of one group belong to one split"
        )
