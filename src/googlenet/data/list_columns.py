"""Columns of a list: which have the paths and the labels, by their names or by what the user said."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from googlenet.errors import DataError
from googlenet.images.kinds import suffix_of
from googlenet.images.pixels import suffixes
from googlenet.text import first_few, nearest, printable

COLUMNS = ("path", "label", "labels", "split", "group")
# What others call them, in lower case.
PATH_NAMES = (
    "file", "filename", "file_name", "filepath", "file_path", "image", "images", "image_file", "image_name",
    "image_path", "img", "img_name", "img_path", "imagepath", "imagename", "image", "photo",
)  # fmt: skip
LABEL_NAMES = ("class", "class_name", "classname", "classes", "label_name", "category", "category_name", "target")
YES, NO = ("1", "1.0", "true"), ("0", "0.0", "false")  # in the columns of a list that has one for each label
Tell = Callable[[str], object]


@dataclass(frozen=True)
class Columns:
    """The columns of the paths and of the labels, if the user named them."""

    path: str | None = None
    label: str | None = None


@dataclass
class Notes:
    """Notes about a list as a whole, each told once."""

    source: Path
    tell: Tell
    class_names: tuple[str, ...] = ()  # columns of 0 and 1, including classes without images
    turned: int = 0  # paths with backslashes that were read as slashes
    told: set[str] = field(default_factory=set)

    def __call__(self, note: str) -> None:
        """Tell a note, unless it was told before."""
        if note not in self.told:
            self.told.add(note)
            self.tell(f"{printable(str(self.source))}: {note}")

    def tell_paths(self, rows: int) -> None:
        """Tell how many of so many paths had backslashes."""
        if self.turned:
            self(f"{self.turned:,} of {rows:,} paths have backslashes, which were read as slashes")


def check_heading(where: str, header: list[str]) -> None:
    """Raise :class:`DataError` if the first line names an image, and so no columns."""
    for name in header:
        if suffix_of(name) in suffixes() and len(name) > len(suffix_of(name)):
            raise DataError(
                f"{where}: the first line names no columns, it has an image ({printable(name)}): put a line such as "
                "path,label above it"
            )


def our_names(where: str, columns: tuple[str, ...], wanted: Columns, or_hot: bool, notes: Notes) -> list[str]:
    """Return the columns under our names ``path``, ``label``, …: found by their usual names, or as the user said."""
    names, wrong, guessed = _named(columns, wanted, or_hot)
    if wrong:
        raise DataError(f"{where}: {wrong}")
    for note in guessed:
        notes(note)
    return list(names)


_Named = tuple[tuple[str, ...], "str | None", tuple[str, ...]]


@lru_cache(maxsize=64)  # the lines of a JSONL file mostly have the same keys
def _named(columns: tuple[str, ...], wanted: Columns, or_hot: bool) -> _Named:
    """Return the columns under our names, what is wrong with them, and which were guessed."""
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
    """Return the column of the paths or labels, or why it is not known which that is."""
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
    """Return what is wrong with the columns. A name close to a missing one is a typo; others are the user's own."""
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


# One column for each label.


def has_label(names: Iterable[str]) -> bool:
    """Whether one of the columns has the labels."""
    return not {"label", "labels"}.isdisjoint(names)


def one_hot_records(
    path: Path, start: int, records: list[tuple[int, dict[str, Any]]], names: list[str], notes: Notes
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the labels from columns of 0 and 1 (or false and true), each named after a label."""
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
    notes.class_names = labels_of(f"{path}:{start}", hot)
    notes(f"the labels are the columns of 0 and 1: {first_few(hot)}")
    for line, record in records:
        yield line, {**record, "label": [name for name in hot if _bit(record, name)]}


def _bit(record: dict[str, Any], name: str) -> bool | None:
    """Return whether a field is 1 or 0; ``None`` if it is neither."""
    text = str(record.get(name)).strip().lower()
    return True if text in YES else False if text in NO else None


def _tell_spoilt(path: Path, name: str, line: int, value: Any, has_others: bool, notes: Notes) -> None:
    """Report what spoils a column of 0 and 1. A number is no mistake if other columns are the labels."""
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


def labels_of(where: str, value: Any) -> tuple[str, ...]:
    """Check and sort the labels of one image. Raises :class:`DataError` for what is no name of a class."""
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
