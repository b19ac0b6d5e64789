"""Labelled pictures: a folder, a list or a named set, or scikit-learn's digits, as pictures with their classes.

Deciding which picture belongs to which split reads names only; no picture is opened here until asked for.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from googlenet.data.archives import ARCHIVES, is_archive, unpack
from googlenet.data.downloads import fetch_archive, is_url, refuse_url
from googlenet.data.folders import (
    BESIDE_CLASSES,
    BESIDE_SPLITS,
    LINKED,
    RUN,
    SPLIT_WORDS,
    Contents,
    case_doubles,
    images_below,
)
from googlenet.data.links import leading_out
from googlenet.data.listing import LISTS, Columns, read_list
from googlenet.data.named import NAMED, find_named
from googlenet.errors import DataError, MissingExtraError
from googlenet.images.decode import COLOURS, ImageSource, Pixels, decode, suffixes
from googlenet.text import first_few, printable

VAL_FRACTION = 0.2
DIGITS = "digits"
_LISTS = f"{', '.join(LISTS[:-1])} or {LISTS[-1]}"


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
    """``DATA`` of a command, split. ``made_here``: by the name of each file or group, not as it was given.

    ``notes`` say what was left out of it, and what was taken otherwise than as written, a sentence each.
    """

    name: str
    class_names: tuple[str, ...]
    splits: dict[str, Pictures]
    made_here: bool
    multi_label: bool = False  # whether a picture may be of several classes, or of none
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Raise :class:`DataError` where a picture has not one class and nobody said that it may."""
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
    source: str | Path | LabelledData,
    *,
    seed: int = 0,
    val_fraction: float = VAL_FRACTION,
    channels: int = COLOURS,
    follow_links: bool = False,
    path_column: str | None = None,
    label_column: str | None = None,
    multi_label: bool = False,
    download: bool = False,
) -> LabelledData:
    """Find the labelled pictures of ``source``; :class:`LabelledData` is given back as it is.

    ``source`` is a folder with one sub-folder per class, or one with ``train/`` and ``val/`` (and ``test/``) that
    have one; an archive (zip, tar) of such a folder, or the address of one where ``download`` allows it; a list
    (``.csv``, ``.tsv`` or ``.jsonl``: see :func:`~googlenet.data.listing.read_list`); the name of a set that was
    fetched; or the word ``digits``. A folder goes before a set of its name. Where no ``val`` is given, each file is
    held out or not by a hash of ``seed`` and its name (or group) alone: adding files moves no other file to the other
    side. In a folder, ``.npy`` files are pictures for other ``channels`` than 1 and 3 only.

    What a folder holds beside images is left out and named in ``notes``. Links are followed as long as they lead to
    files, or to the folder of a class, inside ``source``; with ``follow_links`` wherever they lead, to folders as well,
    and each file is there once.

    Of a list, ``path_column`` and ``label_column`` name the columns where they are not called ``path`` and ``label``;
    ``multi_label`` says that a picture may be of several classes, or of none, where the list does not show it.

    Raises:
        DataError: no such folder, no pictures, only one class, an empty class, a class in val that train lacks, a
            link that leads out, a folder that may not be read, splits inside of classes, a list that is wrong, a set
            that was not fetched.
    """
    if isinstance(source, LabelledData):
        return source
    root = Path(source)
    if _is_list(root):
        rows = _Rows(root, Columns(path_column, label_column), multi_label)
        return _open_list(rows, seed, val_fraction, follow_links)
    _refuse_list_options(
        root, {"--path-column": path_column, "--label-column": label_column, "--multi-label": multi_label}
    )
    if is_url(str(source)) or (is_archive(str(source)) and root.exists()):
        return _open_archive(str(source), seed, val_fraction, Contents(channels), download)
    if root.is_dir():
        return _open_folder(root, seed, val_fraction, Contents(channels, follow_links=follow_links))
    if str(source) == DIGITS:
        return _split_by_name(DIGITS, _digits(), seed, val_fraction)
    if str(source) in NAMED:
        rows = _Rows(find_named(str(source)), Columns(), False)
        return replace(_open_list(rows, seed, val_fraction, False), name=str(source))
    what = "is not a folder" if root.exists() else "does not exist"
    raise DataError(
        f"{root} {what}: DATA is a folder with one sub-folder of pictures per class, a list ({_LISTS}), "
        f"an archive ({', '.join(ARCHIVES)}), or one of {', '.join((DIGITS, *NAMED))}"
    )


def _open_archive(archive: str, seed: int, val_fraction: float, contents: Contents, download: bool) -> LabelledData:
    if is_url(archive) and not download:
        raise refuse_url(archive)
    unpacked = fetch_archive(archive) if is_url(archive) else unpack(archive)
    root = _outermost(unpacked.folder)
    note = f"{printable(archive)}: left out {unpacked.left_out:,} links or devices in it"
    try:
        data = _open_folder(root, seed, val_fraction, contents)
    except DataError as error:
        raise DataError(str(error).replace(str(root), archive)) from error
    notes = (*([note] if unpacked.left_out else []), *(note.replace(str(root), archive) for note in data.notes))
    return replace(data, name=archive, notes=notes)


def _outermost(folder: Path) -> Path:
    """Go into the one folder that an archive often holds everything in."""
    while True:
        contents = Contents()
        names = contents.sub_folders(str(folder))
        if len(names) != 1 or names[0].lower() in SPLIT_WORDS or contents.left_out[BESIDE_CLASSES]:
            return folder
        if not Contents().sub_folders(str(folder / names[0])):
            return folder
        folder = folder / names[0]


def _is_list(path: Path) -> bool:
    return path.suffix.lower() in LISTS and path.exists() and not path.is_dir()


def _refuse_list_options(source: Path, options: dict[str, Any]) -> None:
    for option, given in options.items():
        if given:
            raise DataError(f"{option} is for lists ({_LISTS}), and {source} is none: leave it out")


def _open_folder(root: Path, seed: int, val_fraction: float, contents: Contents) -> LabelledData:
    names = contents.sub_folders(str(root))
    _refuse_closed(root, contents)
    given = _given(root, names)
    contents.left_out[BESIDE_SPLITS] += [str(root / name) for name in names if given and name not in given]
    parts = _read_parts(root, [root / name for name in given] or [root], contents, names)
    _refuse_links_out(root, parts, contents)
    if "val" in given:
        data = _given_splits(root, dict(zip(given, parts, strict=True)))
    else:
        data = _split_by_name(str(root), parts[0], seed, val_fraction)
    if given == ["train", "test"]:
        data = _with_test(data, root, parts)
    left_out = (f"{printable(str(root))}: {note}" for note in contents.notes(str(root)))
    return replace(data, notes=(*left_out, *_notes_of_names(root, data.class_names)))


def _given(root: Path, names: list[str]) -> list[str]:
    """Say which of the folders are splits, if any are."""
    if "train" in names and "val" in names:
        return [name for name in ("train", "val", "test") if name in names]
    if "train" in names and len(names) <= 2 and set(names) <= {"train", "test"}:
        return [name for name in ("train", "test") if name in names]
    splits = [name for name in names if name.lower() in SPLIT_WORDS]
    if len(splits) > 1:  # else Train/ and Test/, or train/ and valid/, would silently be learnt as two classes
        raise DataError(
            f"{root} has the folders {', '.join(splits)}, which look like splits, not classes: "
            "name them train/, val/ and test/, train/ at least, with no class beside them"
        )
    return []


def _read_parts(root: Path, places: list[Path], contents: Contents, names: list[str]) -> list[Pictures]:
    """Read the folders of splits, or the one of all classes."""
    classes = {place: contents.sub_folders(str(place)) if place != root else names for place in places}
    contents.add([str(place / name) for place, names in classes.items() for name in names])
    _refuse_closed(root, contents)
    for folder, splits in contents.inner_splits.items():
        raise DataError(
            f"{printable(folder)} is in a class and has the folders {first_few(splits)}, which look like splits: "
            f"put them above the classes, as {splits[0]}/{printable(Path(folder).relative_to(root).parts[-1])}"
        )
    return [_read_folder(place, names, contents) for place, names in classes.items()]


def _refuse_closed(root: Path, contents: Contents) -> None:
    for folder, why in contents.closed.items():
        more = f", nor {len(contents.closed) - 1:,} more" if len(contents.closed) > 1 else ""
        raise DataError(
            f"{printable(folder)} may not be read: {why.lower()}{more}: allow it, or take it out of "
            f"{printable(str(root))}"
        )


def _notes_of_names(source: Path, class_names: Iterable[str]) -> Iterator[str]:
    for names in case_doubles(list(class_names)):
        yield (
            f"{printable(str(source))}: the classes {' and '.join(map(printable, names))} differ in capitals alone and "
            "are learnt as several: give them one name if they are one"
        )


class _Rows(NamedTuple):
    """A list, and how to read it."""

    path: Path
    columns: Columns
    multi_label: bool


def _open_list(listed: _Rows, seed: int, val_fraction: float, follow_links: bool) -> LabelledData:
    notes: list[str] = []
    path = listed.path
    rows = read_list(path, listed.columns, multi_label=listed.multi_label, tell=notes.append)
    rows.sort(key=lambda row: row.name)
    if not follow_links:
        _refuse_leading_out(path, ((row.path, row.home) for row in rows))
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
    multi_label = listed.multi_label or any(len(row.labels) != 1 for row in rows)
    notes += _notes_of_names(path, class_names)
    return LabelledData(str(path), class_names, splits, None in given, multi_label, tuple(notes))


def find_pictures(folder: Path, channels: int = COLOURS) -> list[Path]:
    """List every picture below ``folder`` by its suffix, sorted; hidden files and folders are ignored."""
    return [Path(path) for path in images_below(str(folder), channels)]


def _given_splits(root: Path, parts: dict[str, Pictures]) -> LabelledData:
    train = parts["train"].class_names
    for name, part in parts.items():
        unknown = sorted(set(part.class_names) - set(train))
        if unknown:
            raise DataError(
                f"{root / name} has classes that {root / 'train'} lacks: {', '.join(unknown)}; "
                f"train has {', '.join(train)}"
            )
    _require_classes(str(root), train)
    splits = {name: _relabelled(part, train) for name, part in parts.items()}
    return LabelledData(str(root), train, splits, made_here=False)


def _with_test(data: LabelledData, root: Path, parts: list[Pictures]) -> LabelledData:
    test = _given_splits(root, dict(zip(("train", "test"), parts, strict=True))).splits["test"]
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


def _refuse_links_out(root: Path, parts: list[Pictures], contents: Contents) -> None:
    if contents.follow_links:
        return
    linked = (Path(path) for path in contents.left_out[LINKED])
    pictures = (item.path for part in parts for item in part.items if item.path)
    _refuse_leading_out(root, ((path, root) for path in (*pictures, *linked)))


def _refuse_leading_out(source: Path, places: Iterable[tuple[Path, Path]]) -> None:
    found = leading_out(places)
    if found:
        named = first_few(f"{printable(str(path))} → {printable(os.path.realpath(path))}" for path in found)
        raise DataError(
            f"{source}: {len(found):,} of its pictures lead elsewhere by a link: {named}; put them there as files, "
            f"name them by their own paths in a list ({_LISTS}), or allow it with --follow-links"
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


def _read_folder(root: Path, names: list[str], contents: Contents) -> Pictures:
    """Take the pictures of each class; a folder in which there is nothing but runs of ``train`` is no class."""
    class_names = tuple(name for name in names if not _holds_runs_alone(root / name, contents))
    items = []
    for label, class_name in enumerate(class_names):
        paths = [Path(path) for path in contents.images[str(root / class_name)]]
        if not paths:
            raise DataError(_why_empty(root / class_name, contents))
        items += [Picture(str(path.relative_to(root).as_posix()), (label,), path) for path in paths]
    if not class_names:
        loose = len(images_below(str(root), contents.channels))
        found = f"{loose} pictures but no sub-folders" if loose else "no pictures"
        raise DataError(f"{root} has {found}: make one sub-folder per class and put its pictures into it")
    return Pictures(class_names, tuple(items))


def _holds_runs_alone(folder: Path, contents: Contents) -> bool:
    if contents.images[str(folder)] or contents.unread[str(folder)]:
        return False
    return any(folder in Path(path).parents for path in contents.left_out[RUN])


def _why_empty(folder: Path, contents: Contents) -> str:
    what = f"{folder} is a class without pictures: put some into it ({_kinds(contents.channels)}) or remove the folder"
    return "; ".join((what, *contents.notes(str(folder), below=f"{folder}{os.sep}")))


def _relabelled(part: Pictures, class_names: tuple[str, ...]) -> Pictures:
    to = [class_names.index(name) for name in part.class_names]
    items = (replace(item, labels=tuple(to[label] for label in item.labels)) for item in part.items)
    return Pictures(class_names, tuple(items))


def _require_classes(name: str, class_names: tuple[str, ...]) -> None:
    if len(class_names) < 2:
        found = f"one class only, {class_names[0]!r}" if class_names else "no class at all"
        raise DataError(f"{name} has {found}: a classifier needs two or more")


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
