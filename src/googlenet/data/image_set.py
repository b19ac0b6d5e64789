"""Labelled images: one of them, a set in one order, and a data set that is split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from googlenet.card import MAX_CLASSES, MAX_NAME
from googlenet.data.source import DataSource
from googlenet.data.splits import name_bytes
from googlenet.errors import DataError
from googlenet.images.decode import decode
from googlenet.images.pixels import COLOURS, CalledPath, ImageSource, Pixels
from googlenet.text import escape_surrogates, printable


@dataclass(frozen=True)
class LabelledImage:
    """One labelled image: its name in reports, its classes, and where its pixels are.

    Attributes:
        labels: numbers of classes: one, or any number if the data is ``multi_label``.
        path: its file; or ``pixels``, (H, W, C) uint8.
        group: images of one group are always in the same split.
        called: what messages call its file, if not by its path: ``photos.zip/cat/1.jpg`` of an archive.
    """

    name: str
    labels: tuple[int, ...]
    path: Path | None = None
    pixels: Pixels | None = field(default=None, repr=False, compare=False)
    group: str | None = None
    called: str | None = field(default=None, repr=False, compare=False)

    @property
    def label(self) -> int:
        """The class of an image that has exactly one."""
        (label,) = self.labels
        return label

    @property
    def source(self) -> ImageSource:
        """What ``decode`` and ``predict`` take: the path, or the pixels."""
        if self.path is not None:
            return self.path if self.called is None else CalledPath(self.path, self.called)
        assert self.pixels is not None
        return self.pixels

    def read(self, channels: int = COLOURS, at_least: int | None = None) -> Pixels:
        """Decode to (H, W, channels) uint8, as :func:`decode` does. Raises :class:`ImageError` if that fails."""
        return decode(self.source, channels, at_least=at_least)


@dataclass(frozen=True, repr=False)
class ImageSet:
    """Images of some classes, in an order that does not depend on the machine."""

    class_names: tuple[str, ...]
    items: tuple[LabelledImage, ...]

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"ImageSet({len(self):,} images, {len(self.class_names):,} classes)"

    @property
    def labels(self) -> list[tuple[int, ...]]:
        """The classes of each image."""
        return [item.labels for item in self.items]

    def counts(self) -> dict[str, int]:
        """Return the number of images of each class; an image of several classes counts for each."""
        counts = Counter(label for item in self.items for label in item.labels)
        return {name: counts[label] for label, name in enumerate(self.class_names)}

    def fingerprint(self) -> str:
        """Hash names, classes and file sizes, to tell whether two runs used the same images."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for item in self.items:
            digest.update(name_bytes(f"{item.name}\0{','.join(map(str, item.labels))}\0{_size(item.path)}\n"))
        return digest.hexdigest()

    def evenly(self, most: int) -> tuple[LabelledImage, ...]:
        """Return at most so many images, spread evenly over their order, which is that of their classes."""
        count = min(most, len(self))
        return tuple(self.items[number * len(self) // count] for number in range(count))

    def where(self, keep: Callable[[LabelledImage], bool]) -> ImageSet:
        """Return the images for which ``keep`` is true."""
        return ImageSet(self.class_names, tuple(item for item in self.items if keep(item)))


@dataclass(frozen=True, repr=False)
class LabelledData:
    """A data set, split into train, val, and perhaps calibrate and test: see :mod:`googlenet.data.roles`.

    Attributes:
        splits: the images of each split; those that are not split yet (see :func:`find_data`) under ``""``.
        made_here: the split was drawn here; DATA does not define it.
        multi_label: an image may be of several classes, or of none.
        notes: what was left out, and what was read otherwise than as written, one sentence each.
    """

    name: str
    class_names: tuple[str, ...]
    splits: dict[str, ImageSet]
    made_here: bool
    multi_label: bool = False
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __repr__(self) -> str:
        splits = ", ".join(f"{name or 'not split'} {len(part):,}" for name, part in self.splits.items())
        return f"LabelledData({printable(self.name)!r}, {splits}, {len(self.class_names):,} classes)"

    def __post_init__(self) -> None:
        """Raise :class:`DataError` if an image has not exactly one class but must, or names cannot be stored."""
        if len(self.class_names) > MAX_CLASSES:
            raise DataError(f"{self.name} has {len(self.class_names):,} classes, {MAX_CLASSES:,} are allowed")
        for name in self.class_names:
            if len(name) > MAX_NAME:
                raise DataError(
                    f"{self.name}: a class has a name of {len(name):,} characters, {MAX_NAME:,} are allowed"
                )
            if name != escape_surrogates(name):
                raise DataError(f"{self.name}: the class {printable(name)} is not UTF-8: give it another name")
        for item in () if self.multi_label else self.split("all").items:
            if len(item.labels) != 1:
                raise DataError(
                    f"{self.name}: {item.name} has {len(item.labels)} labels, not 1: multi_label=True allows it"
                )

    @property
    def train(self) -> ImageSet:
        """The training images."""
        return self.splits["train"]

    @property
    def val(self) -> ImageSet:
        """The validation images, by which the best epoch is chosen."""
        return self.splits["val"]

    def split(self, name: str) -> ImageSet:
        """Return ``"train"``, ``"val"``, ``"calibrate"`` or ``"test"`` if there is one, or ``"all"`` of them."""
        if name == "all":
            return ImageSet(self.class_names, tuple(i for part in self.splits.values() for i in part.items))
        if name not in self.splits:
            there = ", ".join(filter(None, self.splits))
            raise DataError(f"{self.name} has no split {name!r}; it has {there + ' and ' if there else ''}all")
        return self.splits[name]


def _size(path: Path | None) -> int:
    # A broken link is listed like any image, and reported when it is read.
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0


DataLike = str | Path | DataSource | LabelledData
