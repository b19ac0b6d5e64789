"""Text files of lists: decoded line by line, and CSV row by row. What is wrong is reported with its line."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from googlenet.errors import DataError
from googlenet.files import NotARegularFileError, open_regular
from googlenet.images.kinds import suffix_of

SEPARATED = (".csv", ".tsv")
SEPARATORS = ",;\t"
LISTS = (*SEPARATED, ".jsonl")
LISTS_TEXT = f"{', '.join(LISTS[:-1])} or {LISTS[-1]}"
MAX_LINE_BYTES = 1 << 20  # a longer line is something else under the name of a list


def list_lines(path: Path) -> Iterator[str]:
    """Decode line by line, so that a wrong byte is reported with its line, and a long file does not fill the memory."""
    number = 1
    try:
        with open_regular(path) as file:
            encoding = _encoding(file)
            while raw := _line(file, encoding):
                if len(raw) > MAX_LINE_BYTES:
                    what = f"a line of more than {MAX_LINE_BYTES:,} bytes: this is no {example_of(path)}"
                    raise DataError(f"{path}:{number}: {what}")
                yield raw.decode(encoding)
                number += 1
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: not {error.encoding.upper()[:6].rstrip('-')} (byte 0x{error.object[error.start]:02x}): "
            "save it as UTF-8"
        ) from error
    except NotARegularFileError as error:
        raise DataError(f"{path} {error.strerror}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _encoding(file: BinaryIO) -> str:
    """Tell UTF-16 from UTF-8 by its byte order mark or its zero bytes; skip the mark."""
    start = file.read(4)
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):  # fmt: skip
        if start.startswith(mark):
            file.seek(len(mark))
            return encoding
    file.seek(0)
    zeros = [place for place, byte in enumerate(start) if byte == 0]
    return "utf-16-le" if zeros == [1, 3] else "utf-16-be" if zeros == [0, 2] else "utf-8"


def _line(file: BinaryIO, encoding: str) -> bytes:
    """Read one line. In UTF-16 a line end is two bytes, and a byte 10 may be part of a letter."""
    raw = file.readline(MAX_LINE_BYTES + 1)
    while encoding != "utf-8" and raw and len(raw) <= MAX_LINE_BYTES:
        if encoding == "utf-16-le":
            raw += file.read(1) if raw.endswith(b"\n") and len(raw) % 2 else b""
        if raw[-2:] == "\n".encode(encoding) and len(raw) % 2 == 0:
            break
        more = file.readline(MAX_LINE_BYTES + 1)
        if not more:
            break
        raw += more
    return raw


def csv_rows(path: Path, known: Sequence[str] = ()) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file, including the heading: the line where each begins, and its fields.

    Empty lines are skipped, and so are blanks after a separator. The separator is the comma, semicolon or tab that
    makes most ``known`` columns of the heading, or else most columns; a first line ``sep=;``, as spreadsheets write
    it, decides.

    Raises :class:`DataError`, with the line, for what is not Unicode or CSV.
    """
    lines = list_lines(path)
    first, line = next(lines, ""), 1
    separator = None
    if first.strip().lower().startswith("sep=") and len(first.strip()) == len("sep=,"):
        separator, first, line = first.strip()[-1], next(lines, ""), 2
    separator = separator or _separator(first, known)
    reader = csv.reader(chain([first], lines), delimiter=separator, skipinitialspace=True, strict=True)
    skipped = line - 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            old = "lines end as on old Macs, in a carriage return alone: save it with line feeds"
            raise DataError(f"{path}:{line}: not CSV: {old if 'new-line' in str(error) else error}") from error
        start, line = line, reader.line_num + skipped + 1  # a quoted field may go over several lines
        if fields:
            yield start, fields


def _separator(heading: str, known: Sequence[str]) -> str:
    def columns(separator: str) -> tuple[int, int]:
        try:
            fields = next(csv.reader([heading], delimiter=separator, skipinitialspace=True), [])
        except csv.Error:
            return 0, 0
        names = {field.strip().lower() for field in fields}
        return len(names.intersection(map(str.lower, known))), len(fields)

    return max(SEPARATORS, key=columns)  # the first of equals


def example_of(path: Path) -> str:
    """Return what a line of such a list looks like."""
    if suffix_of(str(path)) in SEPARATED:
        return "CSV: path,label in its first line"
    return '{"path": "a.jpg", "label": "cat"}'
