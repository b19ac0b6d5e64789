"""Labelled pictures: a folder, a list or a named set, or scikit-learn's digits, as pictures with their classes.

Deciding which picture belongs to which split reads names only; no picture is opened here until asked for.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from googlenet.data.links import leading_out
from googlenet.data.listing import LISTS, read_list
from googlenet.data.named import NAMED, find_named
from googlenet.data.sources import pictures_below
from googlenet.errors import DataError, MissingExtraError
from googlenet.images.decode import COLOURS, ImageSource, Pixels, decode, suffixes
from googlenet.text import escape_surrogates, first_few, printable

VAL_FRACTION = 0.2
DIGITS = "digits"
SPLIT_WORDS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})


@dataclass(frozen=True)
class Picture:
    """One labelled picture: a name to report it by, its classes, and where its pixels are.

    ``labels`` are numbers of classes: one, or any number of them where the data is ``multi_label``. Pictures of
    one ``group`` are never held out apart from each other.
    """

    name: str
    labels: tuple[int, ...]
    path: Path | None = None
    pixels: Pixels | None = field(default=None, repr=False, compare=False)
    group: str | None = None

    @property
    def label(self) -> int:
        """The class of a picture that has one."""
        (label,) = self.labels
        return label

    @property
    def source(self) -> ImageSource:
        """What ``decode`` and ``predict`` take: the file, or the pixels themselves."""
        if self.path is not None:
            return self.path
        assert self.pixels is not None
        return self.pixels

    def read(self, channels: int = COLOURS, at_least: int | None = None) -> Pixels:
        """Decode to (H, W, channels) uint8, as :func:`decode` does. Raises :class:`ImageError` where that fails."""
        return decode(self.source, channels, at_least=at_least)


@dataclass(frozen=True)
class Pictures:
    """Pictures of some classes, in one order that never depends on the machine."""

    class_names: tuple[str, ...]
    items: tuple[Picture, ...]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def labels(self) -> list[tuple[int, ...]]:
        """The classes of each picture."""
        return [item.labels for item in self.items]

    def counts(self) -> dict[str, int]:
        """How many pictures each class has; one of several classes counts for each."""
        counts = Counter(label for item in self.items for label in item.labels)
        return {name: counts[label] for label, name in enumerate(self.class_names)}

    def fingerprint(self) -> str:
        """Hash names, classes and sizes in bytes, to tell whether two runs saw the same pictures."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for item in self.items:
            digest.update(_bytes(f"{item.name}\0{','.join(map(str, item.labels))}\0{_size(item.path)}\n"))
        return digest.hexdigest()

    def where(self, keep: Callable[[Picture], bool]) -> Pictures:
        """Keep the pictures for which ``keep`` is true."""
        return Pictures(self.class_names, tuple(item for item in self.items if keep(item)))


@dataclass(frozen=True)
class LabelledData:
    """``DATA`` of a command, split. ``made_here``: by the name of each file or group, not as it was given."""

    name: str
    class_names: tuple[str, ...]
    splits: dict[str, Pictures]
    made_here: bool
    multi_label: bool = False  # whether a picture may be of several classes, or of none

    def __post_init__(self) -> None:
        """Raise :class:`DataError` where a picture has not one class and nobody said that it may.

        Classes are refused, too, whose names no file can hold.
        """
        for name in self.class_names:
            if name != escape_surrogates(name):
                raise DataError(f"{self.name}: the class {printable(name)} is not UTF-8: give it another name")
        for item in () if self.multi_label else self.split("all").items:
            if len(item.labels) != 1:
                raise DataError(
                    f"{self.name}: {item.name} has {len(item.labels)} labels, not 1: multi_label=True allows it"
                )

    @property
    def train(self) -> Pictures:
        """The pictures to learn from."""
        return self.splits["train"]

    @property
    def val(self) -> Pictures:
        """The pictures to choose the best epoch by."""
        return self.splits["val"]

    def split(self, name: str) -> Pictures:
        """Give ``train``, ``val``, ``test`` where there is one, or ``all`` of them."""
        if name == "all":
            return Pictures(self.class_names, tuple(i for part in self.splits.values() for i in part.items))
        if name not in self.splits:
            raise DataError(f"{self.name} has no split {name!r}; it has {', '.join(self.splits)} and all")
        return self.splits[name]


def open_data(
    source: str | Path | LabelledData, *, seed: int = 0, val_fraction: float = VAL_FRACTION, channels: int = COLOURS
) -> LabelledData:
    """Find the labelled pictures of ``source``; :class:`LabelledData` is given back as it is.

    ``source`` is a folder with one sub-folder per class, or one with ``train/`` and ``val/`` (and ``test/``) that
    have one; a list (``.csv`` or ``.jsonl``: see :func:`~googlenet.data.listing.read_list`); the name of a set that
    was fetched; or the word ``digits``. A folder goes before a set of its name. Where no ``val`` is given, each file
    is held out or not by a hash of ``seed`` and its name (or group) alone: adding files moves no other file to the
    other side. In a folder, ``.npy`` files are pictures for other ``channels`` than 1 and 3 only.

    Raises:
        DataError: no such folder, no pictures, only one class, an empty class, a class in val that train lacks, a
            link that leads out, a list that is wrong, a set that was not fetched.
    """
    if isinstance(source, LabelledData):
        return source
    root = Path(source)
    if root.is_dir():
        data = _open_folder(root, seed, val_fraction, channels)
        _refuse_links_out(root, ((i.path, root) for part in data.splits.values() for i in part.items if i.path))
        return data
    if str(source) == DIGITS:
        return _split_by_name(DIGITS, _digits(), seed, val_fraction)
    if str(source) in NAMED:
        return replace(_open_list(find_named(str(source)), seed, val_fraction), name=str(source))
    if root.is_file() and root.suffix.lower() in LISTS:
        return _open_list(root, seed, val_fraction)
    what = "is not a folder" if root.exists() else "does not exist"
    raise DataError(
        f"{root} {what}: DATA is a folder with one sub-folder of pictures per class, a list ({' or '.join(LISTS)}), "
        f"or one of {', '.join((DIGITS, *NAMED))}"
    )


def _open_folder(root: Path, seed: int, val_fraction: float, channels: int) -> LabelledData:
    names = [entry.name for entry in _folders(root)]
    if "train" in names and "val" in names:
        return _given_splits(root, [name for name in ("train", "val", "test") if name in names], channels)
    if "train" in names and len(names) <= 2 and set(names) <= {"train", "test"}:
        pictures = _read_folder(root / "train", channels)
        data = _split_by_name(str(root), pictures, seed, val_fraction)
        return _with_test(data, root, channels) if "test" in names else data
    splits = [name for name in names if name.lower() in SPLIT_WORDS]
    if len(splits) > 1:  # else Train/ and Test/, or train/ and valid/, would silently be learnt as two classes
        raise DataError(
            f"{root} has the folders {', '.join(splits)}, which look like splits, not classes: "
            "name them train/, val/ and test/, train/ at least, with no class beside them"
        )
    return _split_by_name(str(root), _read_folder(root, channels), seed, val_fraction)


def _open_list(path: Path, seed: int, val_fraction: float) -> LabelledData:
    rows = sorted(read_list(path), key=lambda row: row.name)
    _refuse_links_out(path, ((row.path, row.home) for row in rows))
    class_names = tuple(sorted({label for row in rows for label in row.labels}))
    _require_classes(str(path), class_names)
    number = {name: label for label, name in enumerate(class_names)}
    told = {row.group: row.split for row in rows if row.group and row.split}  # one of a group tells for all of it
    given = [row.split or told.get(row.group or "") for row in rows]
    if None not in given and "val" not in given:  # as with folders: some of train are held out
        given = [split if split == "test" else None for split in given]
    parts: dict[str, list[Picture]] = {"train": [], "val": [], "test": []}
    for row, split in zip(rows, given, strict=True):
        item = Picture(row.name, tuple(number[label] for label in row.labels), row.path, group=row.group)
        parts[split or ("val" if _held_out(item, seed, val_fraction) else "train")].append(item)
    splits = {name: Pictures(class_names, tuple(items)) for name, items in parts.items() if items or name != "test"}
    _require_both_sides(str(path), splits, made_here=None in given)
    multi_label = any(len(row.labels) != 1 for row in rows)
    return LabelledData(str(path), class_names, splits, made_here=None in given, multi_label=multi_label)


def find_pictures(folder: Path, channels: int = COLOURS) -> list[Path]:
    """List every picture below ``folder`` by its suffix, sorted; hidden files and folders are ignored."""
    return [Path(path) for path in pictures_below(str(folder), channels)]


def _given_splits(root: Path, names: list[str], channels: int) -> LabelledData:
    parts = {name: _read_folder(root / name, channels) for name in names}
    train = parts["train"].class_names
    for name in names[1:]:
        unknown = sorted(set(parts[name].class_names) - set(train))
        if unknown:
            raise DataError(
                f"{root / name} has classes that {root / 'train'} lacks: {', '.join(unknown)}; "
                f"train has {', '.join(train)}"
            )
    _require_classes(str(root), train)
    splits = {name: _relabelled(part, train) for name, part in parts.items()}
    return LabelledData(str(root), train, splits, made_here=False)


def _with_test(data: LabelledData, root: Path, channels: int) -> LabelledData:
    test = _given_splits(root, ["train", "test"], channels).splits["test"]
    return LabelledData(data.name, data.class_names, {**data.splits, "test": test}, made_here=True)


def _split_by_name(name: str, pictures: Pictures, seed: int, val_fraction: float) -> LabelledData:
    _require_classes(name, pictures.class_names)
    splits = {
        "train": pictures.where(lambda item: not _held_out(item, seed, val_fraction)),
        "val": pictures.where(lambda item: _held_out(item, seed, val_fraction)),
    }
    _require_both_sides(name, splits, made_here=True)
    return LabelledData(name, pictures.class_names, splits, made_here=True)


def _require_both_sides(name: str, splits: dict[str, Pictures], *, made_here: bool) -> None:
    """Refuse a class that cannot be learnt, and a held-out part that can tell nothing."""
    for split in ("train", "val"):
        lacking = [cls for cls, count in splits[split].counts().items() if not count]
        if lacking and (split == "train" or len(lacking) == len(splits[split].class_names)):
            if not made_here:
                raise DataError(
                    f"{name}: no picture in {split} is of {first_few(lacking)}: put some of each class there"
                )
            raise DataError(
                f"{name}: too few pictures to hold some out; {split} would have none of {first_few(lacking)}: "
                "add pictures, choose another seed, or say yourself which are train and which are val"
            )


def _held_out(item: Picture, seed: int, val_fraction: float) -> bool:
    digest = hashlib.sha256(_bytes(f"{seed}/{item.group or item.name}")).digest()
    return int.from_bytes(digest[:8], "big") < val_fraction * 2**64


def _refuse_links_out(source: Path, places: Iterable[tuple[Path, Path]]) -> None:
    found = leading_out(places)
    if found:
        named = first_few(f"{printable(str(path))} → {printable(os.path.realpath(path))}" for path in found)
        raise DataError(
            f"{source}: {len(found):,} of its pictures lead elsewhere by a link: {named}; "
            f"put them there as files, or name them by their own paths in a list ({' or '.join(LISTS)})"
        )


def _bytes(name: str) -> bytes:
    # A file name that is not UTF-8 reaches Python with lone surrogates in it, which plain UTF-8 refuses.
    return name.encode("utf-8", "surrogatepass")


def _size(path: Path | None) -> int:
    # A link that leads nowhere is listed like any picture, and reported as unreadable when it is read.
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0


def _read_folder(root: Path, channels: int) -> Pictures:
    folders = sorted(_folders(root), key=lambda folder: escape_surrogates(folder.name))
    class_names = tuple(escape_surrogates(folder.name) for folder in folders)
    _refuse_one_name(root, folders, class_names)
    items = []
    for label, folder in enumerate(folders):
        paths = find_pictures(folder, channels)
        if not paths:
            raise DataError(
                f"{folder} is a class without pictures: put some into it ({_kinds(channels)}) or remove the folder"
            )
        items += [Picture(str(path.relative_to(root).as_posix()), (label,), path) for path in paths]
    if not class_names:
        loose = len(find_pictures(root, channels))
        found = f"{loose} pictures but no sub-folders" if loose else "no pictures"
        raise DataError(f"{root} has {found}: make one sub-folder per class and put its pictures into it")
    return Pictures(class_names, tuple(items))


def _refuse_one_name(root: Path, folders: Sequence[Path], class_names: Sequence[str]) -> None:
    """Raise where bytes that are not UTF-8 are written in one folder's name as another spells them out."""
    for name, times in Counter(class_names).items():
        if times > 1:
            alike = first_few(repr(folder.name) for folder in folders if escape_surrogates(folder.name) == name)
            raise DataError(f"{root}: the folders {alike} would be one class, {name}: rename one of them")


def _relabelled(part: Pictures, class_names: tuple[str, ...]) -> Pictures:
    to = [class_names.index(name) for name in part.class_names]
    items = (replace(item, labels=tuple(to[label] for label in item.labels)) for item in part.items)
    return Pictures(class_names, tuple(items))


def _require_classes(name: str, class_names: tuple[str, ...]) -> None:
    if len(class_names) < 2:
        found = f"one class only, {class_names[0]!r}" if class_names else "no class at all"
        raise DataError(f"{name} has {found}: a classifier needs two or more")


def _folders(root: Path) -> list[Path]:
    try:
        found = [entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except PermissionError as error:
        raise DataError(f"{root} may not be read: permission denied") from error
    return sorted(found, key=lambda entry: entry.name)


def _kinds(channels: int) -> str:
    return ", ".join(sorted(suffix[1:] for suffix in suffixes(channels)))


def _digits() -> Pictures:
    """Load the 1,797 handwritten digits inside scikit-learn, 8×8 grey, as black ink on white."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("train", "scikit-learn") from error
    digits = load_digits()
    images = np.rint(255 - digits.images * (255 / 16)).astype(np.uint8)
    items = tuple(
        Picture(f"{label}/{index:04d}", (int(label),), None, np.repeat(image[:, :, None], 3, axis=2))
        for index, (image, label) in enumerate(zip(images, digits.target, strict=True))
    )
    return Pictures(tuple(str(digit) for digit in range(10)), items)
