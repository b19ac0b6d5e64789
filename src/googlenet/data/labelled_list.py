"""A list of images and labels → labelled images."""

from __future__ import annotations

from pathlib import Path

from googlenet.data.folders import notes_of_case
from googlenet.data.image_set import ImageSet, LabelledData, LabelledImage
from googlenet.data.links import check_links
from googlenet.data.list_columns import Columns
from googlenet.data.listing import read_list
from googlenet.data.source import DataSource
from googlenet.data.splits import SPLITS
from googlenet.errors import DataError
from googlenet.text import BETWEEN_LABELS, first_few


def open_list(source: DataSource, to_learn: bool) -> LabelledData:
    """Open a list; images without a split are under ``""``. Raises what :func:`read_list` raises."""
    path = Path(source.data)
    notes: list[str] = []
    columns = Columns(source.path_column, source.label_column)
    rows = read_list(path, columns, multi_label=source.multi_label, tell=notes.append)
    rows.sort(key=lambda row: row.name)
    class_names = rows.class_names
    if to_learn and (empty := sorted(set(class_names).difference(*(row.labels for row in rows)))):
        raise DataError(
            f"{path}: no image is of {first_few(empty)}, the columns have 0 alone: give some that label, or remove "
            "the columns"
        )
    if not source.follow_links:
        check_links(path, ((row.path, row.root) for row in rows))
    number = {name: label for label, name in enumerate(class_names)}
    told = {row.group: row.split for row in rows if row.group and row.split}  # one of a group tells for all of it
    parts: dict[str, list[LabelledImage]] = {}
    for row in rows:
        item = LabelledImage(row.name, tuple(number[label] for label in row.labels), row.path, group=row.group)
        parts.setdefault(row.split or told.get(row.group or "") or "", []).append(item)
    splits = {name: ImageSet(class_names, tuple(parts[name])) for name in ("", *SPLITS) if name in parts}
    multi_label = source.multi_label or any(len(row.labels) != 1 for row in rows)
    if multi_label and (unclear := [name for name in class_names if BETWEEN_LABELS in name]):
        raise DataError(
            f"{path}: {first_few(unclear)} cannot be one of several labels, because {BETWEEN_LABELS} separates the "
            "labels of an image in lists and results: rename it"
        )
    notes += notes_of_case(path, class_names)
    return LabelledData(str(path), class_names, splits, False, multi_label, tuple(notes))
