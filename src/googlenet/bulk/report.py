"""``BulkReport``: what results of many images hold, as a value."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from googlenet.bulk.rows import Row
from googlenet.dataframes import to_html
from googlenet.text import printable


@dataclass
class Summary:
    """Counts of rows: all, those of images that could not be read, and those of each class."""

    images: int = 0
    unreadable: int = 0
    classes: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        """Count one row."""
        self.images += 1
        self.unreadable += bool(row["error"])
        named = row.get("labels") or [row.get("class")]
        self.classes.update(name for name in named if name)


@dataclass(frozen=True, repr=False)
class BulkReport:
    """What :func:`googlenet.predict` wrote to ``path``, or :func:`googlenet.sort_images` put there.

    Attributes:
        path: the results file, or the folder of parts or of sorted images.
        images: rows, including those that were there before.
        unreadable: rows of images that could not be read.
        counts: images of each class, the most common first; an image with several labels counts for each.
        new: rows that this call added.
        seconds: how long that took.
        parts: Parquet files in the folder, if a cluster wrote it.
        notes: what was left out, one sentence each.
    """

    path: Path
    images: int
    unreadable: int
    counts: dict[str, int]
    new: int
    seconds: float
    parts: int = 0
    notes: tuple[str, ...] = ()

    @property
    def images_per_second(self) -> float:
        """Images that this call predicted in a second; 0 if there were none."""
        return self.new / max(self.seconds, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for ``json.dumps``."""
        return {
            "path": printable(str(self.path)),
            "images": self.images,
            "unreadable": self.unreadable,
            "counts": self.counts,
            "new": self.new,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
        }

    def __repr__(self) -> str:
        return f"BulkReport({self})"

    def _repr_html_(self) -> str:
        return to_html(str(self), [{"class": name, "images": count} for name, count in self.counts.items()])

    def __str__(self) -> str:
        return f"{printable(str(self.path))}: {self.images:,} images, {self.unreadable:,} could not be read"


def report_of(path: Path, summary: Summary, new: int, seconds: float, parts: int = 0) -> BulkReport:
    """Turn counts into a report."""
    counts = dict(summary.classes.most_common())
    return BulkReport(path, summary.images, summary.unreadable, counts, new, seconds, parts)
