"""Labelled images: a folder, a list or a named set, or scikit-learn's digits, as images with their classes.

Which image belongs to which split is decided by names and labels; no image is opened here until asked for.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from unicodedata import normalize

import numpy as np

from googlenet.card import MAX_CLASSES, MAX_NAME
from googlenet.data.addresses import ARCHIVES, is_archive, is_url, refuse_url
from googlenet.data.archives import unpack
from googlenet.data.datasets import NAMED, find_named
from googlenet.data.downloads import fetch_archive
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
from googlenet.data.source import DataSource, to_source
from googlenet.data.splits import SPLITS, draw, draw_by_name, name_bytes
from googlenet.errors import DataError, MissingExtraError
from googlenet.images.decode import decode
from googlenet.images.pixels import COLOURS, CalledPath, ImageSource, Pixels, suffixes
from googlenet.text import escape_surrogates, first_few, printable

VAL_FRACTION = 0.2
DIGITS = "digits"
_LISTS = f"{', '.join(LISTS[:-1])} or {LISTS[-1]}"


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


DataLike = str | Path | DataSource | LabelledData


def open_data(
    data: DataLike,
    *,
    seed: int = 0,
    val_fraction: float = VAL_FRACTION,
    test_fraction: float = 0.0,
    channels: int = COLOURS,
) -> LabelledData:
    """Find the labelled images of ``data``, to learn from; :class:`LabelledData` is given back as it is.

    ``data`` is a folder with one sub-folder per class, or one with ``train/`` and ``val/`` (and ``test/``) that
    have one; an archive (zip, tar) of such a folder, or the https address of one; a list (``.csv``, ``.tsv`` or
    ``.jsonl``: see :func:`~googlenet.data.listing.read_list`); the name of a set that was fetched; or ``"digits"``. A
    folder goes before a set of its name. A :class:`~googlenet.data.source.DataSource` also says how it is read.

    Where no ``val`` is given, ``val_fraction`` of each class is held out, and ``test_fraction`` kept apart, by a hash
    of ``seed`` and of the name of each file (or group): see :func:`~googlenet.data.splits.draw`. In a folder, ``.npy``
    files are images only for other ``channels`` than 1 and 3.

    What a folder holds beside images is left out and named in ``notes``. Links are followed as long as they lead to
    files, or to the folder of a class, inside ``data``; with ``follow_links`` wherever they lead, to folders as well,
    and each file is read once.

    Raises:
        DataError: no such folder, no images, only one class, an empty class, a class in val that train lacks, a
            link that leads out, a folder that may not be read, splits inside of classes, a list that is wrong, a set
            that was not fetched; a ``test_fraction`` of what says itself what is held out.
    """
    if isinstance(data, LabelledData):
        return data
    found = _find(to_source(data), channels, to_learn=True)
    pool = _pool(found)
    if test_fraction and (pool is None or "test" in found.splits):
        raise DataError(
            f"{found.name} says itself which images are {' and '.join(filter(None, found.splits))}: "
            f"--test-fraction {test_fraction:g} is for data that does not; leave it out"
        )
    if pool is not None:
        fractions = {"test": test_fraction, "val": val_fraction}
        found = _split_pool(found, pool, draw(found.splits[pool].items, seed, fractions))
    _require_both_sides(found)
    return found


def find_data(data: DataLike, channels: int = COLOURS) -> LabelledData:
    """Find the labelled images of ``data``, to be measured on: any number of classes and images will do.

    Nothing is held out here: images of which DATA does not say train, val or test are under the split ``""``.
    Arguments and errors are those of :func:`open_data`, but for what only learning needs.
    """
    return data if isinstance(data, LabelledData) else _find(to_source(data), channels, to_learn=False)


def redraw(data: LabelledData, seed: int, val_fraction: float, test_fraction: float | None) -> LabelledData:
    """Split what :func:`find_data` found as a run was split; by name alone where ``test_fraction`` is ``None``."""
    pool = _pool(data)
    if pool is None:
        return data
    items = data.splits[pool].items
    if test_fraction is None:
        return _split_pool(data, pool, draw_by_name(items, seed, val_fraction))
    return _split_pool(data, pool, draw(items, seed, {"test": test_fraction, "val": val_fraction}))


def _pool(data: LabelledData) -> str | None:
    """Name the images that are to be split here, if any: those without a split; else train, where val is missing."""
    if "" in data.splits:
        return ""
    return "train" if "train" in data.splits and "val" not in data.splits else None


def _split_pool(data: LabelledData, pool: str, drawn: Sequence[str]) -> LabelledData:
    splits = {name: list(part.items) for name, part in data.splits.items() if name != pool}
    mixed = {name for name in splits if name in drawn}
    for split, item in zip(drawn, data.splits[pool].items, strict=True):
        splits.setdefault(split, []).append(item)
    for name in mixed:  # as a list has them
        splits[name].sort(key=lambda item: item.name)
    order = [name for name in SPLITS if name in splits or name != "test"]
    parts = {name: ImageSet(data.class_names, tuple(splits.get(name, ()))) for name in order}
    return replace(data, splits=parts, made_here=True)


def _find(source: DataSource, channels: int, to_learn: bool) -> LabelledData:
    name, root = str(source.data), Path(source.data)
    if _is_list(root):
        data = _open_list(source, to_learn)
    else:
        _refuse_list_options(source)
        if is_url(name) or (is_archive(name) and root.exists()):
            data = _open_archive(source, channels, to_learn)
        elif root.is_dir():
            data = _open_folder(root, Contents(channels, follow_links=source.follow_links), to_learn)
        elif name == DIGITS:
            data = LabelledData(DIGITS, (images := _digits()).class_names, {"": images}, made_here=False)
        elif name in NAMED:
            data = replace(_open_list(DataSource(find_named(name)), to_learn), name=name)
        else:
            what = "is not a folder" if root.exists() else "does not exist"
            raise DataError(
                f"{root} {what}: DATA is a folder with one sub-folder of images per class, a list ({_LISTS}), "
                f"an archive ({', '.join(ARCHIVES)}), or one of {', '.join((DIGITS, *NAMED))}"
            )
    data = _in_one_form(data, by_class=not _is_list(root) and name not in NAMED)
    if to_learn:
        _require_classes(data.name, data.class_names)
    return data


def _in_one_form(data: LabelledData, by_class: bool) -> LabelledData:
    """Write names in one Unicode form (NFC; a Mac's disk may have NFD), ordered as ever: by class, or by name alone.

    Classes that have one name then are one class, which is said, as are images whose names differ in capitals alone.
    """
    classes = [normalize("NFC", name) for name in data.class_names]
    names = tuple(sorted(set(classes)))
    to = [names.index(name) for name in classes]
    parts = {}
    for split, part in data.splits.items():
        items = [_renamed(item, to) for item in part.items]
        if items != list(part.items):
            items.sort(key=lambda item: (item.labels if by_class else (), item.name))
        _refuse_one_name(data.name, items)
        parts[split] = ImageSet(names, tuple(items))
    notes = [
        f"{printable(data.name)}: {first_few([name])} is written in two Unicode forms: taken as one class"
        for name, times in Counter(classes).items()
        if times > 1
    ]
    return replace(data, class_names=names, splits=parts, notes=(*data.notes, *notes, *_case_doubles(data.name, parts)))


def _renamed(item: LabelledImage, to: Sequence[int]) -> LabelledImage:
    name, group = normalize("NFC", item.name), item.group and normalize("NFC", item.group)
    labels = tuple(sorted({to[label] for label in item.labels}))
    same = (name, group, labels) == (item.name, item.group, item.labels)
    return item if same else replace(item, name=name, group=group, labels=labels)


def _refuse_one_name(source: str, items: Sequence[LabelledImage]) -> None:
    twice = [name for name, times in Counter(item.name for item in items).items() if times > 1]
    if twice:
        raise DataError(
            f"{printable(source)}: two images have one name but for the Unicode form it is written in (NFC, NFD): "
            f"{first_few(twice)}; rename one of each two"
        )


def _case_doubles(source: str, parts: Mapping[str, ImageSet]) -> Iterator[str]:
    for part in parts.values():
        first: dict[tuple[tuple[int, ...], str], str] = {}
        pairs = []
        for item in part.items:
            other = first.setdefault((item.labels, item.name.casefold()), item.name)
            if other != item.name:
                pairs.append(f"{other} and {item.name}")
        if pairs:
            yield (
                f"{printable(source)}: names that differ in capitals alone, which some disks take for one: "
                f"{first_few(pairs)}"
            )


def _open_archive(source: DataSource, channels: int, to_learn: bool) -> LabelledData:
    archive = str(source.data)
    if is_url(archive) and not source.download:
        raise refuse_url(archive)
    unpacked = fetch_archive(archive) if is_url(archive) else unpack(archive)
    root = _outermost(unpacked.folder)
    note = f"{printable(archive)}: left out {unpacked.left_out:,} links or devices in it"
    try:
        data = _open_folder(root, Contents(channels), to_learn)
    except DataError as error:
        raise DataError(str(error).replace(str(root), archive)) from error
    notes = (*([note] if unpacked.left_out else []), *(note.replace(str(root), archive) for note in data.notes))
    splits = {
        split: ImageSet(part.class_names, tuple(_in_archive(item, archive, unpacked.folder) for item in part.items))
        for split, part in data.splits.items()
    }
    return replace(data, name=archive, splits=splits, notes=notes)


def _in_archive(item: LabelledImage, archive: str, folder: Path) -> LabelledImage:
    assert item.path is not None
    return replace(item, called=f"{archive}/{item.path.relative_to(folder).as_posix()}")


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


def _refuse_list_options(source: DataSource) -> None:
    options = {
        "--path-column": source.path_column, "--label-column": source.label_column, "--multi-label": source.multi_label
    }  # fmt: skip
    for option, given in options.items():
        if given:
            raise DataError(f"{option} is for lists ({_LISTS}), and {source} is none: leave it out")


def _open_folder(root: Path, contents: Contents, to_learn: bool) -> LabelledData:
    names = contents.sub_folders(str(root))
    _refuse_closed(root, contents)
    given = _given(root, names, to_learn)
    contents.left_out[BESIDE_SPLITS] += [str(root / name) for name in names if given and name not in given]
    parts = _read_parts(root, [root / name for name in given] or [root], contents, names, to_learn)
    _refuse_links_out(root, parts, contents)
    data = _by_split(root, dict(zip(given or [""], parts, strict=True)), to_learn)
    left_out = (f"{printable(str(root))}: {note}" for note in contents.notes(str(root)))
    return replace(data, notes=(*left_out, *_notes_of_names(root, data.class_names)))


def _given(root: Path, names: list[str], to_learn: bool) -> list[str]:
    """Say which of the folders are splits, if any are."""
    given = [name for name in SPLITS if name in names]
    alone = 0 < len(given) == len(names)  # with classes beside them they are classes, too
    if {"train", "val"} <= set(given) or (alone and ("train" in given or not to_learn)):
        return given
    splits = [name for name in names if name.lower() in SPLIT_WORDS]
    if len(splits) > 1:  # else Train/ and Test/, or train/ and valid/, would silently be learnt as two classes
        raise DataError(
            f"{root} has the folders {', '.join(splits)}, which look like splits, not classes: "
            "name them train/, val/ and test/, train/ at least, with no class beside them"
        )
    return []


def _read_parts(root: Path, places: list[Path], contents: Contents, names: list[str], to_learn: bool) -> list[ImageSet]:
    """Read the folders of splits, or the one of all classes."""
    classes = {place: contents.sub_folders(str(place)) if place != root else names for place in places}
    contents.add([str(place / name) for place, names in classes.items() for name in names])
    _refuse_closed(root, contents)
    for folder, splits in contents.inner_splits.items():
        raise DataError(
            f"{printable(folder)} is in a class and has the folders {first_few(splits)}, which look like splits: "
            f"put them above the classes, as {splits[0]}/{printable(Path(folder).relative_to(root).parts[-1])}"
        )
    return [_read_folder(place, names, contents, to_learn) for place, names in classes.items()]


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


def _open_list(source: DataSource, to_learn: bool) -> LabelledData:
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
        _refuse_leading_out(path, ((row.path, row.home) for row in rows))
    number = {name: label for label, name in enumerate(class_names)}
    told = {row.group: row.split for row in rows if row.group and row.split}  # one of a group tells for all of it
    parts: dict[str, list[LabelledImage]] = {}
    for row in rows:
        item = LabelledImage(row.name, tuple(number[label] for label in row.labels), row.path, group=row.group)
        parts.setdefault(row.split or told.get(row.group or "") or "", []).append(item)
    splits = {name: ImageSet(class_names, tuple(parts[name])) for name in ("", *SPLITS) if name in parts}
    multi_label = source.multi_label or any(len(row.labels) != 1 for row in rows)
    notes += _notes_of_names(path, class_names)
    return LabelledData(str(path), class_names, splits, False, multi_label, tuple(notes))


def find_images(folder: Path, channels: int = COLOURS) -> list[Path]:
    """List every image below ``folder`` by its suffix, sorted; hidden files and folders are ignored."""
    return [Path(path) for path in images_below(str(folder), channels)]


def _by_split(root: Path, parts: dict[str, ImageSet], to_learn: bool) -> LabelledData:
    class_names = parts["train"].class_names if to_learn and "train" in parts else _all_classes(parts.values())
    for name, part in parts.items():
        unknown = sorted(set(part.class_names) - set(class_names))
        if unknown:
            raise DataError(
                f"{root / name} has classes that {root / 'train'} lacks: {first_few(unknown)}; "
                f"train has {first_few(class_names)}"
            )
    splits = {name: _relabelled(part, class_names) for name, part in parts.items()}
    return LabelledData(str(root), class_names, splits, made_here=False)


def _all_classes(parts: Iterable[ImageSet]) -> tuple[str, ...]:
    return tuple(sorted({name for part in parts for name in part.class_names}))


def _require_both_sides(data: LabelledData) -> None:
    """Refuse a class that cannot be learnt, and a held-out part that can tell nothing."""
    for split in ("train", "val"):
        counts = data.splits[split].counts() if split in data.splits else dict.fromkeys(data.class_names, 0)
        lacking = [cls for cls, count in counts.items() if not count]
        if lacking and (split == "train" or len(lacking) == len(counts)):
            if not data.made_here:
                raise DataError(
                    f"{data.name}: no image in {split} is of {first_few(lacking)}: put some of each class there"
                )
            why = _torn_by_no_split(data) or (
                f"too few images to hold some out; {split} would have none of {first_few(lacking)}: add images"
            )
            raise DataError(f"{data.name}: {why}, or say yourself which are train and which are val")


def _torn_by_no_split(data: LabelledData) -> str | None:
    """Say that groups leave nothing to split, where each class has one group alone."""
    groups: defaultdict[int, set[str | None]] = defaultdict(set)
    for item in data.split("all").items:
        for label in item.labels:
            groups[label].add(item.group)
    every = sorted({group for those in groups.values() for group in those if group is not None})
    if not every or any(len(those) > 1 or None in those for those in groups.values()):
        return None
    whole = "all images are" if len(every) == 1 else "all images of each class are"
    return f"{whole} of one group ({first_few(every)}), which cannot be split: give several groups"


def _refuse_links_out(root: Path, parts: list[ImageSet], contents: Contents) -> None:
    if contents.follow_links:
        return
    linked = (Path(path) for path in contents.left_out[LINKED])
    images = (item.path for part in parts for item in part.items if item.path)
    _refuse_leading_out(root, ((path, root) for path in (*images, *linked)))


def _refuse_leading_out(source: Path, places: Iterable[tuple[Path, Path]]) -> None:
    found = leading_out(places)
    if found:
        named = first_few(f"{printable(str(path))} → {printable(os.path.realpath(path))}" for path in found)
        raise DataError(
            f"{source}: {len(found):,} of its images lead elsewhere by a link: {named}; put them there as files, "
            f"name them by their own paths in a list ({_LISTS}), or allow it with --follow-links"
        )


def _size(path: Path | None) -> int:
    # A link that leads nowhere is listed like any image, and reported as unreadable when it is read.
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0


def _read_folder(root: Path, names: list[str], contents: Contents, to_learn: bool) -> ImageSet:
    """Take the images of each class; a folder in which there is nothing but runs of ``train`` is no class."""
    folders = sorted((name for name in names if not _holds_runs_alone(root / name, contents)), key=escape_surrogates)
    class_names = tuple(map(escape_surrogates, folders))
    _refuse_one_class(root, folders)
    items = []
    for label, folder in enumerate(folders):
        paths = [Path(path) for path in contents.images[str(root / folder)]]
        if not paths and to_learn:
            raise DataError(_why_empty(root / folder, contents))
        items += [LabelledImage(str(path.relative_to(root).as_posix()), (label,), path) for path in paths]
    if not class_names:
        loose = len(images_below(str(root), contents.channels))
        found = f"{loose} images but no sub-folders" if loose else "no images"
        raise DataError(f"{root} has {found}: make one sub-folder per class and put its images into it")
    return ImageSet(class_names, tuple(items))


def _refuse_one_class(root: Path, folders: Sequence[str]) -> None:
    """Raise where bytes that are not UTF-8 are written in one folder's name as another spells them out."""
    for name, times in Counter(map(escape_surrogates, folders)).items():
        if times > 1:
            alike = first_few(repr(folder) for folder in folders if escape_surrogates(folder) == name)
            raise DataError(
                f"{printable(str(root))}: the folders {alike} would be one class, {name}: rename one of them"
            )


def _holds_runs_alone(folder: Path, contents: Contents) -> bool:
    if contents.images[str(folder)] or contents.unread[str(folder)]:
        return False
    return any(folder in Path(path).parents for path in contents.left_out[RUN])


def _why_empty(folder: Path, contents: Contents) -> str:
    what = f"{folder} is a class without images: put some into it ({_kinds(contents.channels)}) or remove the folder"
    return "; ".join((what, *contents.notes(str(folder), below=f"{folder}{os.sep}")))


def _relabelled(part: ImageSet, class_names: tuple[str, ...]) -> ImageSet:
    to = [class_names.index(name) for name in part.class_names]
    items = (replace(item, labels=tuple(to[label] for label in item.labels)) for item in part.items)
    return ImageSet(class_names, tuple(items))


def _require_classes(name: str, class_names: tuple[str, ...]) -> None:
    if len(class_names) < 2:
        found = f"one class only, {class_names[0]!r}" if class_names else "no class at all"
        raise DataError(f"{name} has {found}: a classifier needs two or more")


def _kinds(channels: int) -> str:
    return ", ".join(sorted(suffix[1:] for suffix in suffixes(channels)))


def _digits() -> ImageSet:
    """Load the 1,797 handwritten digits inside scikit-learn, 8×8 grey, as black ink on white."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("train", "scikit-learn") from error
    digits = load_digits()
    images = np.rint(255 - digits.images * (255 / 16)).astype(np.uint8)
    items = tuple(
        LabelledImage(f"{label}/{index:04d}", (int(label),), None, np.repeat(image[:, :, None], 3, axis=2))
        for index, (image, label) in enumerate(zip(images, digits.target, strict=True))
    )
    return ImageSet(tuple(str(digit) for digit in range(10)), items)
