"""Lists of labelled images, CSV or JSONL → checked rows. Names only are kept; what is wrong is said with its line."""

from __future__ import annotations

import codecs
import csv
import difflib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO
from unicodedata import normalize

from googlenet.data.addresses import is_address
from googlenet.data.splits import SPLITS
from googlenet.errors import DataError
from googlenet.files import NotARegularFileError, open_regular
from googlenet.images.kinds import suffix_of
from googlenet.images.pixels import suffixes
from googlenet.text import first_few, from_no_formula, nearest, printable

SEPARATED = (".csv", ".tsv")
SEPARATORS = ",;\t"
LISTS = (*SEPARATED, ".jsonl")
COLUMNS = ("path", "label", "labels", "split", "group")
# What others call them, in lower case.
PATH_NAMES = (
    "file", "filename", "file_name", "filepath", "file_path", "image", "images", "image_file", "image_name",
    "image_path", "img", "img_name", "img_path", "imagepath", "imagename", "image", "photo",
)  # fmt: skip
LABEL_NAMES = ("class", "class_name", "classname", "classes", "label_name", "category", "category_name", "target")
BETWEEN_LABELS = "|"  # in CSV, where a field is one text
MAX_LINE = 1 << 20  # bytes: a longer line is something else under the name of a list
YES, NO = ("1", "1.0", "true"), ("0", "0.0", "false")  # in the columns of a list that has one for each label
Tell = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Row:
    """One image of a list: its line, its name there, where it is, its classes, and its split and group if told.

    ``home`` is the folder that no link on the way to the image may lead out of: the list's, where the path
    stays in it as written, otherwise the image's own.
    """

    line: int
    name: str
    path: Path
    home: Path
    labels: tuple[str, ...]
    split: str | None
    group: str | None


class Rows(list[Row]):
    """The rows of a list. ``class_names`` are those that the list names, which may be more than its images are of."""

    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Columns:
    """Which columns the user named: that of the paths, and that of the labels."""

    path: str | None = None
    label: str | None = None


def read_list(
    path: Path, columns: Columns = Columns(), *, multi_label: bool = False, tell: Tell = lambda note: None
) -> Rows:
    """Read a list of labelled images.

    A CSV file (separated by commas, semicolons or tabs) names its columns in its first line; a JSONL file has one
    object a line. ``path`` is absolute or relative to the list's folder. ``label`` (or ``labels``) is the name of a
    class, or of several: separated by ``|`` in CSV, a list in JSONL; empty for none, where others have several or
    ``multi_label`` is true. Instead of it there may be two or more columns of 0 and 1, or false and true, each named
    after its label.
    ``split``, if not empty, is train, val or test. Images with the same ``group`` belong to one split. Other columns
    are left alone.

    ``columns`` names the columns of paths and labels where they are called otherwise; the usual other names are known.
    What is taken otherwise than as written is told to ``tell``, a sentence each.

    Raises:
        DataError: a file that is not UTF-8 or UTF-16, CSV or JSON, columns missing, misspelt or ambiguous, an image
            listed twice or not there, one without a label where the others have one, an unknown split, a group in two
            splits.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "a.jpg").touch()
    ...     _ = (Path(folder) / "list.csv").write_text("path,label,split\\na.jpg,cat|dog,val\\n")
    ...     [(row.name, row.labels, row.split) for row in read_list(Path(folder) / "list.csv")]
    [('a.jpg', ('cat', 'dog'), 'val')]
    """
    notes = _Notes(path, tell)
    is_csv = suffix_of(str(path)) in SEPARATED
    records = _csv_records(path, columns, notes) if is_csv else _jsonl_records(path, columns, notes)
    rows = Rows(_row(path, line, record, notes) for line, record in records)
    if not rows:
        raise DataError(f"{path} lists no images: it takes a path and a label a line ({_how(path)})")
    rows = Rows(row if str(row.path).isascii() else _as_on_disk(path.parent, row) for row in rows)
    rows.class_names = tuple(sorted({*notes.class_names, *(label for row in rows for label in row.labels)}))
    _refuse_repeated(path, rows)
    _refuse_missing(path, rows)
    _refuse_torn_groups(path, rows)
    _check_labels(path, rows, multi_label, tell)
    notes.tell_paths(len(rows))
    return rows


@dataclass
class _Notes:
    """What is told of a list as a whole, once."""

    source: Path
    tell: Tell
    class_names: tuple[str, ...] = ()  # of the columns of 0 and 1, those that no image is of as well
    turned: int = 0  # paths whose backslashes became slashes
    told: set[str] = field(default_factory=set)

    def __call__(self, note: str) -> None:
        if note not in self.told:
            self.told.add(note)
            self.tell(f"{printable(str(self.source))}: {note}")

    def tell_paths(self, rows: int) -> None:
        if self.turned:
            self(f"{self.turned:,} of {rows:,} paths have backslashes, which were read as slashes")


# The two kinds of file, as (line, record).


def _lines(path: Path) -> Iterator[str]:
    """Decode line by line, so that a wrong byte is known by its line, and no file, however long, fills the memory."""
    number = 1
    try:
        with open_regular(path) as file:
            encoding = _encoding(file)
            while raw := _line(file, encoding):
                if len(raw) > MAX_LINE:
                    raise DataError(f"{path}:{number}: a line of more than {MAX_LINE:,} bytes: this is no {_how(path)}")
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
    """Tell UTF-16, by its mark or its zero bytes, from UTF-8; go behind the mark."""
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
    """Read to the end of a line; in UTF-16, whose line end has a zero byte, to where it really is one."""
    raw = file.readline(MAX_LINE + 1)
    while encoding != "utf-8" and raw and len(raw) <= MAX_LINE:
        if encoding == "utf-16-le":
            raw += file.read(1) if raw.endswith(b"\n") and len(raw) % 2 else b""
        if raw[-2:] == "\n".encode(encoding) and len(raw) % 2 == 0:
            break
        more = file.readline(MAX_LINE + 1)
        if not more:
            break
        raw += more
    return raw


def csv_rows(path: Path, known: Sequence[str] = ()) -> Iterator[tuple[int, list[str]]]:
    """Read a CSV file row by row, the heading as well: the line each begins in, and its fields. Empty lines are none.

    It is separated by commas, semicolons or tabs: by what makes most ``known`` columns of the heading, or most columns
    at all. A first line ``sep=;``, as spreadsheets write it, says so itself and is no row. Blanks after a separator
    are left out.

    Raises :class:`DataError`, with the line, on what is not Unicode or CSV.
    """
    lines = _lines(path)
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

    return max(SEPARATORS, key=columns)  # of equals, the first


def _csv_records(path: Path, wanted: Columns, notes: _Notes) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = csv_rows(path, [*COLUMNS, *PATH_NAMES, *LABEL_NAMES, *filter(None, (wanted.path, wanted.label))])
    start, heading = next(rows, (1, []))
    if not heading:
        return
    header = [field.strip() for field in heading]
    _refuse_no_heading(f"{path}:{start}", header)
    names = _names(f"{path}:{start}", tuple(header), wanted, True, notes)
    records = ((line, dict(zip(names, _fields(path, line, fields, names), strict=True))) for line, fields in rows)
    if not _has_label(names):
        yield from _one_hot(path, start, list(records), names, notes)
        return
    for line, record in records:
        for key in record.keys() & {"label", "labels"}:
            yield line, {**record, key: from_no_formula(record[key]).split(BETWEEN_LABELS)}


def _has_label(names: Iterable[str]) -> bool:
    return not {"label", "labels"}.isdisjoint(names)


def _fields(path: Path, line: int, fields: list[str], names: list[str]) -> list[str]:
    """Give as many fields as there are columns; a comma at the end of a line makes none."""
    if len(fields) > len(names) and not any(fields[len(names) :]):
        fields = fields[: len(names)]
    if len(fields) != len(names):
        raise DataError(f"{path}:{line}: {len(fields)} fields where the first line names {len(names)} columns")
    return fields


def _one_hot(
    path: Path, start: int, records: list[tuple[int, dict[str, Any]]], names: list[str], notes: _Notes
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the labels from columns of 0 and 1 (or false and true), each named after one."""
    columns = dict.fromkeys(name for name in names if name and name not in COLUMNS and records)
    others = {name: [(line, each) for line, each in records if _bit(each, name) is None] for name in columns}
    hot = [name for name, spoilt in others.items() if not spoilt]
    for name, spoilt in others.items():
        if 0 < len(spoilt) <= len(records) / 2:  # else it is a column of the user's own
            _tell_spoilt(path, name, spoilt[0][0], spoilt[0][1].get(name), len(hot) > 1, notes)
    twice = next((name for name in hot if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"{path}:{start}: the column {first_few([twice])} is there {names.count(twice)} times: keep one"
        )
    if len(hot) < 2:
        there = ", ".join(map(printable, names))
        raise DataError(
            f"{path}:{start}: no column 'label' (there are: {there}); it takes path, label, and split and group if you "
            "like; --label-column names another, and so do two or more columns of 0 and 1"
        )
    notes.class_names = _labels(f"{path}:{start}", hot)
    notes(f"the labels are the columns of 0 and 1: {first_few(hot)}")
    for line, record in records:
        yield line, {**record, "label": [name for name in hot if _bit(record, name)]}


def _bit(record: dict[str, Any], name: str) -> bool | None:
    """Say whether a field is 1 or 0; ``None`` where it is neither."""
    text = str(record.get(name)).strip().lower()
    return True if text in YES else False if text in NO else None


def _tell_spoilt(path: Path, name: str, line: int, value: Any, has_others: bool, notes: _Notes) -> None:
    """Say of a column of 0 and 1 what spoils it; a number is no slip where others are the labels."""
    what = "nothing" if value is None or value == "" else repr(printable(str(value))[:40])
    try:
        is_number = math.isfinite(float(value))
    except (TypeError, ValueError):
        is_number = False
    if is_number and has_others:
        notes(f"the column {first_few([name])} is no label: line {line} has {what}, neither 0 nor 1")
        return
    raise DataError(
        f"{path}:{line}: the column {first_few([name])} has {what} where most lines have 0 or 1: write one of these, "
        "or leave the column out"
    )


def _jsonl_records(path: Path, wanted: Columns, notes: _Notes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the objects; one of the first that has no label has it as keys of 0 and 1, and so have all."""
    lines = _objects(path)
    first = next(lines, None)
    if first is None:
        return
    start, record = first
    one_hot = not _has_label(_names(f"{path}:{start}", tuple(record), wanted, True, notes))
    named = (
        (line, dict(zip(_names(f"{path}:{line}", tuple(each), wanted, one_hot, notes), each.values(), strict=True)))
        for line, each in chain([first], lines)
    )
    if one_hot:
        records = list(named)
        yield from _one_hot(
            path, start, records, list(dict.fromkeys(chain.from_iterable(r for _, r in records))), notes
        )
    else:
        yield from named


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except RecursionError as error:
            raise DataError(f"{path}:{number}: nested too deeply: a line is {_how(path)}") from error
        except ValueError as error:
            reason = getattr(error, "msg", "a number of too many digits")
            raise DataError(f"{path}:{number}: not JSON: {reason}: a line is {_how(path)}") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}:{number}: no object: a line is {_how(path)}")
        yield number, record


def _how(path: Path) -> str:
    if suffix_of(str(path)) in SEPARATED:
        return "CSV: path,label in its first line"
    return '{"path": "a.jpg", "label": "cat"}'


# The columns.


def _refuse_no_heading(where: str, header: list[str]) -> None:
    for name in header:
        if suffix_of(name) in suffixes() and len(name) > len(suffix_of(name)):
            raise DataError(
                f"{where}: the first line names no columns, it has an image ({printable(name)}): put a line such as "
                "path,label above it"
            )


def _names(where: str, columns: tuple[str, ...], wanted: Columns, or_hot: bool, notes: _Notes) -> list[str]:
    """Give the columns our names: those of the paths and of the labels, in whatever letters, are found or told."""
    names, wrong, guessed = _named(columns, wanted, or_hot)
    if wrong:
        raise DataError(f"{where}: {wrong}")
    for note in guessed:
        notes(note)
    return list(names)


_Named = tuple[tuple[str, ...], "str | None", tuple[str, ...]]


@lru_cache(maxsize=64)  # the lines of a JSONL file mostly have the same keys
def _named(columns: tuple[str, ...], wanted: Columns, or_hot: bool) -> _Named:
    """Name the columns, say what is wrong with them, and which were guessed."""
    names = [name.lower() if name.lower() in COLUMNS else name for name in columns]
    guessed = []
    for key, given, usual in (("path", wanted.path, PATH_NAMES), ("label", wanted.label, LABEL_NAMES)):
        found = _found(columns, names, key, given, usual)
        if isinstance(found, str):
            return (), found, ()
        if found is not None and names[found] not in (key, "labels" if key == "label" else key):
            what = "images" if key == "path" else "labels"
            guessed += [] if given else [f"the {what} are those of the column {printable(columns[found])!r}"]
            names = [f" {name}" if name == key else name for name in names]  # the user's own
            names[found] = key
    return tuple(names), _wrong_columns(tuple(names), or_hot), tuple(guessed)


def _found(
    columns: tuple[str, ...], names: list[str], key: str, given: str | None, usual: tuple[str, ...]
) -> int | str | None:
    """Find the column of the paths or labels; or say why it is not known which that is."""
    option = f"--{key}-column"
    if given is not None:
        if columns.count(given) == 1:
            return columns.index(given)
        there = nearest(given, columns) if given not in columns else "it is there several times: keep one"
        return f"no column {printable(given)!r} for {option}, {there}" if given not in columns else f"{option}: {there}"
    if key in names or (key == "label" and "labels" in names):
        return None
    near = [place for place, name in enumerate(names) if name.lower() in usual]
    if len(near) > 1:
        several = " or ".join(printable(columns[place]) for place in near)
        return f"no column {key!r}, and which is it: {several}? Say it with {option}"
    return near[0] if near else None


def _wrong_columns(columns: tuple[str, ...], or_hot: bool) -> str | None:
    """Say what is wrong with the columns. One like a known one that is missing is a slip; others are the user's own."""
    there = ", ".join(map(printable, columns))
    twice = [name for name in COLUMNS if columns.count(name) > 1]
    if twice or {"label", "labels"} <= set(columns):
        return f"{twice[0] if twice else 'label'!r} is there twice: keep one ({there})"
    known = set(columns) | ({"label", "labels"} if {"label", "labels"} & set(columns) else set())
    absent = [name for name in COLUMNS if name not in known]
    if or_hot and sum(name.startswith(("label_", "labels_")) for name in columns) > 1:  # pandas.get_dummies
        absent = [name for name in absent if name not in ("label", "labels")]
    for name in columns:
        if name not in COLUMNS and difflib.get_close_matches(name.lower(), absent, cutoff=0.7):
            return f"unknown column {printable(name)!r}, {nearest(name.lower(), absent)}"
    needed = [name for name in ("path", "label") if name in absent and not (or_hot and name == "label")]
    if needed:
        return (
            f"no column {needed[0]!r} (there are: {there}); it takes path, label, and split and group if you like; "
            f"--{needed[0]}-column names another"
        )
    return None


# One row.


def _row(source: Path, line: int, record: dict[str, Any], notes: _Notes) -> Row:
    where = f"{source}:{line}"
    written = _text(where, record, "path")
    if not written or "\0" in written or not _can_be_encoded(written):
        what = f"{written!r} cannot be the name of a file" if written else "the path is empty"
        raise DataError(f"{where}: {what}: give one, relative to {source.parent} or absolute")
    if is_address(written.strip()):
        raise DataError(
            f"{where}: {printable(written.strip())} is an address, and lists name files alone: fetch the image and "
            "give its path"
        )
    split = (_text(where, record, "split") or "").strip() or None
    if split is not None and split not in SPLITS:
        raise DataError(f"{where}: unknown split {split!r}, {nearest(split, SPLITS)}; leave it empty to split here")
    folder = source.parent
    written = _as_it_is_there(folder, written, notes)
    name = os.path.normpath(written)
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


def _as_it_is_there(folder: Path, written: str, notes: _Notes) -> str:
    """Give the path as written; with slashes, or without blanks around it, where only so there is a file."""
    if "\\" not in written and written == written.strip():
        return written
    candidates = (written, written.strip(), written.strip().replace("\\", "/"))
    found = next((each for each in candidates if os.path.isfile(folder / each)), written)  # noqa: PTH113
    notes.turned += found != written and found == candidates[-1] != candidates[1]
    return found


def _text(where: str, record: dict[str, Any], key: str) -> str | None:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{where}: {key} must be a text in quotes, got {printable(json.dumps(value)[:40])}")
    return value


def _labels(where: str, value: Any) -> tuple[str, ...]:
    labels = value if isinstance(value, list) else [value]
    if not all(isinstance(label, str) or type(label) is int for label in labels):
        got = printable(json.dumps(value)[:40])
        raise DataError(
            f"{where}: label must be the name of a class in quotes, a whole number, or a list of such, got {got}"
        )
    names = sorted({str(label).strip() for label in labels} - {""})
    for name in names:
        if printable(name) != name:
            raise DataError(f"{where}: {name!r} cannot be the name of a class: it has characters that cannot be shown")
    return tuple(names)


def _stays_in(folder: Path, name: str) -> bool:
    """Whether a normalised name stays in the folder as it is written, links not followed."""
    if os.path.isabs(name):  # noqa: PTH117 - a Path for each of a million images takes seconds
        return Path(name).is_relative_to(os.path.abspath(folder))  # noqa: PTH100
    return name.split(os.sep, 1)[0] != os.pardir


def _can_be_encoded(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        return False


# All rows together.


def _as_on_disk(folder: Path, row: Row) -> Row:
    """Find a file whose name has another Unicode form on the disk than in the list: a Mac's differs from others'."""
    written = os.path.relpath(row.path, folder) if row.home == folder else str(row.path)
    forms = (folder / normalize(form, written) for form in ("NFC", "NFD"))
    found = next((path for path in (row.path, *forms) if os.path.isfile(path)), row.path)  # noqa: PTH113 - as below
    return row if found == row.path else replace(row, path=found, home=folder if row.home == folder else found.parent)


def _refuse_repeated(source: Path, rows: list[Row]) -> None:
    seen: dict[str, Row] = {}
    for row in rows:
        first = seen.setdefault(os.path.normpath(row.path), row)
        if first is not row:
            other = "" if first.labels == row.labels else f" with another label ({', '.join(first.labels) or 'none'})"
            raise DataError(f"{source}:{row.line}: {printable(row.name)} is in line {first.line} too{other}: keep one")


def _refuse_missing(source: Path, rows: list[Row]) -> None:
    missing = [row for row in rows if not os.path.isfile(row.path)]  # noqa: PTH113 - Path.is_file raises on odd names
    folders = [row for row in missing if os.path.isdir(row.path)]  # noqa: PTH112 - as above
    if folders:
        named = first_few(f"{printable(row.name)} (line {row.line})" for row in folders)
        raise DataError(
            f"{source}: {len(folders):,} of {len(rows):,} paths are folders: {named}; name each image in them, or give "
            "a folder of folders as DATA"
        )
    if missing:
        named = first_few(f"{printable(row.name)} (line {row.line})" for row in missing)
        raise DataError(
            f"{source}: {len(missing):,} of {len(rows):,} images are not there: {named}; "
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
            f"{first_few(torn.values())}; images of one group belong to one split"
        )


def _check_labels(source: Path, rows: list[Row], multi_label: bool, tell: Tell) -> None:
    """Say where several labels were read; refuse a row without one that nothing says is meant so."""
    several = [row for row in rows if len(row.labels) > 1]
    if several:
        first = several[0]
        tell(
            f"{printable(str(source))}: {len(several):,} of {len(rows):,} images have several labels, so each label is "
            f"learnt on its own; line {first.line} has {len(first.labels)} labels: {first_few(first.labels)}"
        )
        return
    empty = [row for row in rows if not row.labels]
    if empty and len(empty) < len(rows) and not multi_label:
        more = f" (nor have {len(empty) - 1:,} more)" if len(empty) > 1 else ""
        raise DataError(
            f"{source}:{empty[0].line}: {printable(empty[0].name)} has no label{more}: give it one, or say with "
            "--multi-label that an image may have none"
        )
