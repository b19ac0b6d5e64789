"""A folder with one sub-folder per class, alone or in an archive → labelled images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from googlenet.data.addresses import is_url, refuse_url
from googlenet.data.archives import Unpacked, unpack
from googlenet.data.folders import (
    BESIDE_CLASSES,
    BESIDE_SPLITS,
    LINKED,
    RUN,
    SPLIT_WORDS,
    Contents,
    images_below,
    notes_of_case,
)
from googlenet.data.image_set import ImageSet, LabelledData, LabelledImage
from googlenet.data.links import check_links
from googlenet.data.source import DataSource
from googlenet.data.splits import SPLITS
from googlenet.errors import DataError
from googlenet.images.pixels import suffixes
from googlenet.text import escape_surrogates, first_few, printable


def open_folder(source: DataSource, channels: int, to_learn: bool) -> LabelledData:
    """Open a folder of classes, or of splits with classes. Raises :class:`DataError` where it is neither."""
    return _open_contents(Path(source.data), Contents(channels, follow_links=source.follow_links), to_learn)


def _open_contents(root: Path, contents: Contents, to_learn: bool) -> LabelledData:
    names = contents.sub_folders(str(root))
    _refuse_closed(root, contents)
    given = _given(root, names, to_learn)
    contents.left_out[BESIDE_SPLITS] += [str(root / name) for name in names if given and name not in given]
    parts = _read_parts(root, [root / name for name in given] or [root], contents, names, to_learn)
    _refuse_links_out(root, parts, contents)
    data = _by_split(root, dict(zip(given or [""], parts, strict=True)), to_learn)
    left_out = (f"{printable(str(root))}: {note}" for note in contents.notes(str(root)))
    return replace(data, notes=(*left_out, *notes_of_case(root, data.class_names)))


def _given(root: Path, names: list[str], to_learn: bool) -> list[str]:
    """Return which of the folders are splits, if any."""
    given = [name for name in SPLITS if name in names]
    alone = 0 < len(given) == len(names)  # next to classes they are classes, too
    if {"train", "val"} <= set(given) or (alone and ("train" in given or not to_learn)):
        return given
    splits = [name for name in names if name.lower() in SPLIT_WORDS]
    if len(splits) > 1:  # otherwise Train/ and Test/, or train/ and valid/, would silently become two classes
        raise DataError(
            f"{root} has the folders {', '.join(splits)}, which look like splits, not classes: "
            "name them train/, val/ and test/, train/ at least, with no class beside them"
        )
    return []


def _read_parts(root: Path, places: list[Path], contents: Contents, names: list[str], to_learn: bool) -> list[ImageSet]:
    """Read the folder of each split, or the one of all classes."""
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


def _refuse_links_out(root: Path, parts: list[ImageSet], contents: Contents) -> None:
    if contents.follow_links:
        return
    linked = (Path(path) for path in contents.left_out[LINKED])
    images = (item.path for part in parts for item in part.items if item.path)
    check_links(root, ((path, root) for path in (*images, *linked)))


def _read_folder(root: Path, names: list[str], contents: Contents, to_learn: bool) -> ImageSet:
    """Read the images of each class. A folder with nothing but runs of ``train`` is no class."""
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
        loose = len(images_below(root, contents.channels))
        found = f"{loose} images but no sub-folders" if loose else "no images"
        raise DataError(f"{root} has {found}: make one sub-folder per class and put its images into it")
    return ImageSet(class_names, tuple(items))


def _refuse_one_class(root: Path, folders: Sequence[str]) -> None:
    """Raise if the name of one folder, which is not UTF-8, is escaped to the name of another."""
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


def _kinds(channels: int) -> str:
    return ", ".join(sorted(suffix[1:] for suffix in suffixes(channels)))


def open_archive(source: DataSource, channels: int, to_learn: bool) -> LabelledData:
    """Open an archive of such a folder, or the address of one where ``download`` allows it."""
    archive = str(source.data)
    if is_url(archive) and not source.download:
        raise refuse_url(archive)
    unpacked = _fetched(archive) if is_url(archive) else unpack(archive)
    root = _outermost(unpacked.folder)
    note = f"{printable(archive)}: left out {unpacked.left_out:,} links or devices in it"
    try:
        data = _open_contents(root, Contents(channels), to_learn)
    except DataError as error:
        raise DataError(str(error).replace(str(root), archive)) from error
    notes = (*([note] if unpacked.left_out else []), *(note.replace(str(root), archive) for note in data.notes))
    splits = {
        split: ImageSet(part.class_names, tuple(_in_archive(item, archive, unpacked.folder) for item in part.items))
        for split, part in data.splits.items()
    }
    return replace(data, name=archive, splits=splits, notes=notes)


def _fetched(url: str) -> Unpacked:
    from googlenet.data.downloads import fetch_archive

    return fetch_archive(url)


def _in_archive(item: LabelledImage, archive: str, folder: Path) -> LabelledImage:
    assert item.path is not None
    return replace(item, called=f"{archive}/{item.path.relative_to(folder).as_posix()}")


def _outermost(folder: Path) -> Path:
    """Enter the single folder that many archives have everything in."""
    while True:
        contents = Contents()
        names = contents.sub_folders(str(folder))
        if len(names) != 1 or names[0].lower() in SPLIT_WORDS or contents.left_out[BESIDE_CLASSES]:
            return folder
        if not Contents().sub_folders(str(folder / names[0])):
            return folder
        folder = folder / names[0]
