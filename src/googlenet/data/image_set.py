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
    """One labelled image: a name to report it by, its classes, and where its pixels are.

    ``labels`` are numbers of classes: one, or any number of them where the data is ``multi_label``. Images of
    one ``group`` are never held out apart from each other. ``called`` is what messages call its file, where that is
    not its path: of an archive, ``photos.zip/cat/1.jpg``.
    """

    name: str
    labels: tuple[int, ...]
    path: Path | None = None
    pixels: Pixels | None = field(default=None, repr=False, compare=False)
    group: str | None = None
    called: str | None = field(default=None, repr=False, compare=False)

    @property
    def label(self) -> int:
        """The class of an image that has one."""
        (label,) = self.labels
        return label

    @property
    def source(self) -> ImageSource:
        """What ``decode`` and ``predict`` take: the file, or the pixels themselves."""
        if self.path is not None:
            return self.path if self.called is None else CalledPath(self.path, self.called)
        assert self.pixels is not None
        return self.pixels

    def read(self, channels: int = COLOURS, at_least: int | None = None) -> Pixels:
        """Decode to (H, W, channels) uint8, as :func:`decode` does. Raises :class:`ImageError` where that fails."""
        return decode(self.source, channels, at_least=at_least)


@dataclass(frozen=True)
class ImageSet:
    """Images of some classes, in one order that never depends on the machine."""

    class_names: tuple[str, ...]
    items: tuple[LabelledImage, ...]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def labels(self) -> list[tuple[int, ...]]:
        """The classes of each image."""
        return [item.labels for item in self.items]

    def counts(self) -> dict[str, int]:
        """How many images each class has; one of several classes counts for each."""
        counts = Counter(label for item in self.items for label in item.labels)
        return {name: counts[label] for label, name in enumerate(self.class_names)}

    def fingerprint(self) -> str:
        """Hash names, classes and sizes in bytes, to tell whether two runs saw the same images."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for item in self.items:
            digest.update(name_bytes(f"{item.name}\0{','.join(map(str, item.labels))}\0{_size(item.path)}\n"))
        return digest.hexdigest()

    def where(self, keep: Callable[[LabelledImage], bool]) -> ImageSet:
        """Keep the images for which ``keep`` is true."""
        return ImageSet(self.class_names, tuple(item for item in self.items if keep(item)))


@dataclass(frozen=True)
class LabelledData:
    """``DATA`` of a command, split. ``made_here``: drawn, not as it was given.

    What was found and not split yet (:func:`find_data`) has the images of which DATA says no split under ``""``.
    ``notes`` say what was left out of it, and what was taken otherwise than as written, a sentence each.
    """

    name: str
    class_names: tuple[str, ...]
    splits: dict[str, ImageSet]
    made_here: bool
    multi_label: bool = False  # whether an image may be of several classes, or of none
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Raise :class:`DataError` where an image has not one class and nobody said that it may.

        Classes are refused, too, whose names no file can hold.
        """
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
        """The images to learn from."""
        return self.splits["train"]

    @property
    def val(self) -> ImageSet:
        """The images to choose the best epoch by."""
        return self.splits["val"]

    def split(self, name: str) -> ImageSet:
        """Give ``train``, ``val``, ``test`` where there is one, or ``all`` of them."""
        if name == "all":
            return ImageSet(self.class_names, tuple(i for part in self.splits.values() for i in part.items))
        if name not in self.splits:
            there = ", ".join(filter(None, self.splits))
            raise DataError(f"{self.name} has no split {name!r}; it has {there + ' and ' if there else ''}all")
        return self.splits[name]


def _size(path: Path | None) -> int:
    # A link that leads nowhere is listed like any image, and reported as unreadable when it is read.
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0


DataLike = str | Path | DataSource | LabelledData
