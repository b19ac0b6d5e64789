"""Lists of labelled images, CSV or JSONL → checked rows. Only names are kept; errors name the line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any
from unicodedata import normalize

from googlenet.data.addresses import is_address
from googlenet.data.list_columns import (
    COLUMNS,
    LABEL_NAMES,
    PATH_NAMES,
    Columns,
    Notes,
    Tell,
    check_heading,
    has_label,
    labels_of,
    one_hot_records,
    our_names,
)
from googlenet.data.list_lines import SEPARATED, csv_rows, example_of, list_lines
from googlenet.data.splits import SPLITS
from googlenet.errors import DataError
from googlenet.images.kinds import suffix_of
from googlenet.text import BETWEEN_LABELS, first_few, from_no_formula, nearest, printable


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One image of a list: its line, its name there, its path, its classes, and its split and group if given.

    ``root`` is the folder that symbolic links must not escape: that of the list if the written path is inside it, else
    that of the image.
    """

    line: int
    name: str
    path: Path
    root: Path
    labels: tuple[str, ...]
    split: str | None
    group: str | None


class ListedImages(list[ListedImage]):
    """The rows of a list. ``class_names`` may include classes without images."""

    class_names: tuple[str, ...] = ()


def read_list(
    path: Path, columns: Columns | None = None, *, multi_label: bool = False, tell: Tell = lambda note: None
) -> ListedImages:
    """Read a list of labelled images.

    A CSV file (separated by commas, semicolons or tabs) names its columns in its first line; a JSONL file has one
    object a line. ``path`` is absolute or relative to the list's folder. ``label`` (or ``labels``) is the name of a
    class, or of several: separated by ``|`` in CSV, a list in JSONL; empty for none, if others have several or
    ``multi_label`` is true. Instead there may be two or more columns of 0 and 1, or false and true, each named after
    its label.
    ``split``, if not empty, is train, val or test. Images with the same ``group`` belong to one split. Other columns
    are ignored.

    ``columns`` names the columns of paths and labels; the usual names are found without it. Whatever is read otherwise
    than as written is told to ``tell``, one sentence each.

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
    notes, columns = Notes(path, tell), columns or Columns()
    is_csv = suffix_of(str(path)) in SEPARATED
    records = _csv_records(path, columns, notes) if is_csv else _jsonl_records(path, columns, notes)
    rows = ListedImages(_row(path, line, record, notes) for line, record in records)
    if not rows:
        raise DataError(f"{path} lists no images: it takes a path and a label a line ({example_of(path)})")
    rows = ListedImages(row if str(row.path).isascii() else _as_on_disk(path.parent, row) for row in rows)
    rows.class_names = tuple(sorted({*notes.class_names, *(label for row in rows for label in row.labels)}))
    _refuse_repeated(path, rows)
    _refuse_missing(path, rows)
    _refuse_torn_groups(path, rows)
    _check_labels(path, rows, multi_label, tell)
    notes.tell_paths(len(rows))
    return rows


# The two kinds of file, as (line, record).


def _csv_records(path: Path, wanted: Columns, notes: Notes) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = csv_rows(path, [*COLUMNS, *PATH_NAMES, *LABEL_NAMES, *filter(None, (wanted.path, wanted.label))])
    start, heading = next(rows, (1, []))
    if not heading:
        return
    header = [field.strip() for field in heading]
    check_heading(f"{path}:{start}", header)
    names = our_names(f"{path}:{start}", tuple(header), wanted, True, notes)
    records = ((line, dict(zip(names, _fields(path, line, fields, names), strict=True))) for line, fields in rows)
    if not has_label(names):
        yield from one_hot_records(path, start, list(records), names, notes)
        return
    for line, record in records:
        for key in record.keys() & {"label", "labels"}:
            yield line, {**record, key: from_no_formula(record[key]).split(BETWEEN_LABELS)}


def _fields(path: Path, line: int, fields: list[str], names: list[str]) -> list[str]:
    """Check that a line has as many fields as there are columns; commas at its end do not count."""
    if len(fields) > len(names) and not any(fields[len(names) :]):
        fields = fields[: len(names)]
    if len(fields) != len(names):
        raise DataError(f"{path}:{line}: {len(fields)} fields where the first line names {len(names)} columns")
    return fields


def _jsonl_records(path: Path, wanted: Columns, notes: Notes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the objects. If the first has no label, the labels of all are keys of 0 and 1."""
    lines = _objects(path)
    first = next(lines, None)
    if first is None:
        return
    start, record = first
    one_hot = not has_label(our_names(f"{path}:{start}", tuple(record), wanted, True, notes))
    named = (
        (line, dict(zip(our_names(f"{path}:{line}", tuple(each), wanted, one_hot, notes), each.values(), strict=True)))
        for line, each in chain([first], lines)
    )
    if one_hot:
        records = list(named)
        yield from one_hot_records(
            path, start, records, list(dict.fromkeys(chain.from_iterable(r for _, r in records))), notes
        )
    else:
        yield from named


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in enumerate(list_lines(path), start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except RecursionError as error:
            raise DataError(f"{path}:{number}: nested too deeply: a line is {example_of(path)}") from error
        except ValueError as error:
            reason = getattr(error, "msg", "a number of too many digits")
            raise DataError(f"{path}:{number}: not JSON: {reason}: a line is {example_of(path)}") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}:{number}: no object: a line is {example_of(path)}")
        yield number, record


# One row.


def _row(source: Path, line: int, record: dict[str, Any], notes: Notes) -> ListedImage:
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
    return ListedImage(
        line,
        name.replace(os.sep, "/"),
        path,
        folder if _stays_in(folder, name) else path.parent,
        labels_of(where, record.get("label", record.get("labels"))),
        split,
        _text(where, record, "group") or None,
    )


def _as_it_is_there(folder: Path, written: str, notes: Notes) -> str:
    """Return the path as written, or, if only that is a file, with slashes or without blanks around it."""
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


def _as_on_disk(folder: Path, row: ListedImage) -> ListedImage:
    """Find a file whose name has another Unicode form on the disk (NFC, NFD) than in the list."""
    written = os.path.relpath(row.path, folder) if row.root == folder else str(row.path)
    forms = (folder / normalize(form, written) for form in ("NFC", "NFD"))
    found = next((path for path in (row.path, *forms) if os.path.isfile(path)), row.path)  # noqa: PTH113 - as below
    return row if found == row.path else replace(row, path=found, root=folder if row.root == folder else found.parent)


def _refuse_repeated(source: Path, rows: list[ListedImage]) -> None:
    seen: dict[str, ListedImage] = {}
    for row in rows:
        first = seen.setdefault(os.path.normpath(row.path), row)
        if first is not row:
            other = "" if first.labels == row.labels else f" with another label ({', '.join(first.labels) or 'none'})"
            raise DataError(f"{source}:{row.line}: {printable(row.name)} is in line {first.line} too{other}: keep one")


def _refuse_missing(source: Path, rows: list[ListedImage]) -> None:
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


def _refuse_torn_groups(source: Path, rows: list[ListedImage]) -> None:
    first: dict[str, ListedImage] = {}
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


def _check_labels(source: Path, rows: list[ListedImage], multi_label: bool, tell: Tell) -> None:
    """Tell if images have several labels; otherwise refuse a row without one, unless ``multi_label`` allows it."""
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
