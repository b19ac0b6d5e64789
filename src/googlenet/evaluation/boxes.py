"""Boxes of things in images, from a list: where an explanation should point."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from googlenet.data.list_lines import csv_rows
from googlenet.errors import DataError
from googlenet.images.resampling import Box
from googlenet.images.resize import crop_box
from googlenet.preprocessing import Preprocessing
from googlenet.text import printable

COLUMNS = ("path", "left", "top", "right", "bottom")
Boxes = dict[str, list[Box]]  # by the absolute path of the image, in its pixels


def read_boxes(path: str | Path) -> Boxes:
    """Read a CSV list of path, left, top, right and bottom, in pixels of the image; paths from the list's folder on.

    Raises :class:`DataError` naming the line that is not such a box.
    """
    path, found = Path(path), defaultdict[str, list[Box]](list)
    rows = csv_rows(path, COLUMNS)
    _, header = next(rows, (0, []))
    if missing := [name for name in COLUMNS if name not in header]:
        raise DataError(f"{printable(str(path))} has no column {missing[0]!r}: boxes are {', '.join(COLUMNS)}")
    for line, fields in rows:
        row = dict(zip(header, fields, strict=False))
        try:
            left, top, right, bottom = (float(row[name]) for name in COLUMNS[1:])
        except (KeyError, ValueError):
            left = top = right = bottom = np.nan
        if not (left < right and top < bottom and row.get("path")):
            raise DataError(
                f"{printable(str(path))}:{line}: a box is {', '.join(COLUMNS)}, with left < right and top < bottom in "
                f"pixels, got {printable(','.join(fields))[:80]}"
            )
        found[key_of(path.parent / row["path"])].append((left, top, right, bottom))
    return dict(found)


def key_of(path: str | Path) -> str:
    """Return what an image is known by: its absolute path."""
    return os.path.realpath(path)


def mask_of(boxes: Iterable[Box], width: int, height: int, preprocessing: Preprocessing) -> NDArray[np.bool_]:
    """Return which pixels that the network sees of an image, (S, S), lie in one of its boxes.

    >>> mask_of([(20, 0, 40, 20)], 40, 40, Preprocessing(size=4)).astype(int).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    """
    size = preprocessing.size
    left, top, right, bottom = crop_box(width, height, preprocessing)
    across = left + (np.arange(size) + 0.5) / size * (right - left)  # of each pixel, in the image
    down = top + (np.arange(size) + 0.5) / size * (bottom - top)
    mask = np.zeros((size, size), bool)
    for a, b, c, d in boxes:
        mask |= ((down >= b) & (down < d))[:, None] & ((across >= a) & (across < c))[None, :]
    return mask
