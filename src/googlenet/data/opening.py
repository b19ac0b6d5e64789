"""Any DATA → labelled images. Names and labels decide which image belongs to which split; no image is opened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from googlenet.data.addresses import ARCHIVES, is_archive, is_url
from googlenet.data.class_folders import open_archive, open_folder
from googlenet.data.datasets import NAMED, find_named
from googlenet.data.digits import DIGITS, open_digits
from googlenet.data.image_set import DataLike, ImageSet, LabelledData
from googlenet.data.labelled_list import open_list
from googlenet.data.list_lines import LISTS, LISTS_TEXT
from googlenet.data.one_form import in_one_form
from googlenet.data.roles import divide
from googlenet.data.source import DataSource, to_source
from googlenet.data.splits import RECORDED, draw, draw_by_name
from googlenet.errors import DataError
from googlenet.images.pixels import COLOURS
from googlenet.text import first_few

VAL_FRACTION = 0.2


def open_data(
    data: DataLike,
    *,
    seed: int = 0,
    val_fraction: float = VAL_FRACTION,
    test_fraction: float = 0.0,
    channels: int = COLOURS,
) -> LabelledData:
    """Find the labelled images of ``data`` for training, and split them; :class:`LabelledData` is returned as it is.

    ``data`` is a folder with one sub-folder per class, or one with ``train/`` and ``val/`` (and ``test/``) that
    have one; an archive (zip, tar) of such a folder, or the https address of one; a list (``.csv``, ``.tsv`` or
    ``.jsonl``: see :func:`~googlenet.data.listing.read_list`); the name of a set that was fetched; or ``"digits"``. A
    folder goes before a set of its name. A :class:`~googlenet.data.source.DataSource` also says how it is read.

    Where no ``val`` is given, ``val_fraction`` of each class is held out, and ``test_fraction`` kept apart, by a hash
    of ``seed`` and of the name of each file (or group): see :func:`~googlenet.data.splits.draw`. Where these are many,
    they are divided so that each has one role: see :func:`~googlenet.data.roles.divide`. In a folder, ``.npy``
    files are images only for other ``channels`` than 1 and 3.

    Whatever else a folder contains is left out and named in ``notes``. Links are followed if they lead to files, or to
    the folder of a class, inside ``data``; with ``follow_links`` wherever they lead, to folders as well, and each file
    is read once.

    Args:
        data: the images; see above.
        seed: decides, with the names, which images are held out.
        val_fraction: the share of each class, 0 to 1, that is held out for ``val``.
        test_fraction: the share of each class, 0 to 1, that is kept apart for ``test``.
        channels: of the network: 1, 3, or as many as the files have.

    Raises:
        DataError: no such folder, no images, only one class, an empty class, a class in val that train lacks, a
            link that leads out, a folder that cannot be read, splits inside of classes, an invalid list, a set that
            was not fetched; a ``test_fraction`` although the data defines its splits.
        MissingExtraError: ``"digits"`` without scikit-learn.

    ::

        data = googlenet.open_data("photos/", val_fraction=0.25)
        len(data.train), len(data.val), data.class_names
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
        found = _split_pool(found, pool, _drawn(found, pool, seed, val_fraction, test_fraction))
    _require_both_sides(found)
    return found


def find_data(data: DataLike, channels: int = COLOURS) -> LabelledData:
    """Find the labelled images of ``data`` to measure on: any number of classes and images is allowed.

    Nothing is held out here: images for which DATA does not define a split are under ``""``. Arguments and errors are
    those of :func:`open_data`, without those that concern training.
    """
    return data if isinstance(data, LabelledData) else _find(to_source(data), channels, to_learn=False)


def redraw(
    data: LabelledData, seed: int, val_fraction: float, test_fraction: float | None, *, divided: bool = False
) -> LabelledData:
    """Split what :func:`find_data` returned as a run was split; by name only if ``test_fraction`` is ``None``.

    ``divided``: whether its held-out images had one role each.
    """
    pool = _pool(data)
    if pool is None:
        return data
    items = data.splits[pool].items
    if test_fraction is None:
        return _split_pool(data, pool, draw_by_name(items, seed, val_fraction))
    return _split_pool(data, pool, _drawn(data, pool, seed, val_fraction, test_fraction, divided))


def _drawn(
    data: LabelledData, pool: str, seed: int, val_fraction: float, test_fraction: float, divided: bool = True
) -> list[str]:
    """Return the split of each image of ``pool``."""
    items = data.splits[pool].items
    drawn = draw(items, seed, {"test": test_fraction, "val": val_fraction})
    return divide(items, drawn, seed, has_test=bool(test_fraction) or "test" in data.splits) if divided else drawn


def _pool(data: LabelledData) -> str | None:
    """Return the split whose images are to be split here, if any: those without one; or train if val is missing."""
    if "" in data.splits:
        return ""
    return "train" if "train" in data.splits and "val" not in data.splits else None


def _split_pool(data: LabelledData, pool: str, drawn: Sequence[str]) -> LabelledData:
    splits = {name: list(part.items) for name, part in data.splits.items() if name != pool}
    mixed = {name for name in splits if name in drawn}
    for split, item in zip(drawn, data.splits[pool].items, strict=True):
        splits.setdefault(split, []).append(item)
    for name in mixed:  # the order of a list
        splits[name].sort(key=lambda item: item.name)
    order = [name for name in RECORDED if name in splits or name in ("train", "val")]
    parts = {name: ImageSet(data.class_names, tuple(splits.get(name, ()))) for name in order}
    return replace(data, splits=parts, made_here=True)


# The kinds of DATA.


@dataclass(frozen=True)
class DataKind:
    """A kind of DATA: how it is recognised, and ``open(source, channels, to_learn)``, which reads it.

    ``has_columns``: it has columns, which the user may name. ``names``: the words by which it is recognised.
    """

    description: str
    matches: Callable[[str], bool]
    open: Callable[[DataSource, int, bool], LabelledData]
    has_columns: bool = False
    names: tuple[str, ...] = ()


def _open_named(source: DataSource, _: int, to_learn: bool) -> LabelledData:
    name = str(source)
    return replace(open_list(DataSource(find_named(name)), to_learn), name=name)


def _is_list(name: str) -> bool:
    path = Path(name)
    return path.suffix.lower() in LISTS and path.exists() and not path.is_dir()


# The first kind that matches is taken. A new kind of DATA is one more entry.
KINDS = (
    DataKind("a folder with one sub-folder of images per class", lambda name: Path(name).is_dir(), open_folder),
    DataKind(
        f"a list ({LISTS_TEXT})",
        _is_list,
        lambda source, _, to_learn: open_list(source, to_learn),
        has_columns=True,
    ),
    DataKind(
        f"an archive ({', '.join(ARCHIVES)})", lambda name: is_archive(name) and Path(name).exists(), open_archive
    ),
    DataKind("the https address of an archive", is_url, open_archive),
    DataKind("", lambda name: name == DIGITS, lambda *_: open_digits(), names=(DIGITS,)),
    DataKind("", lambda name: name in NAMED, _open_named, names=NAMED),
)


def _find(source: DataSource, channels: int, to_learn: bool) -> LabelledData:
    name = str(source)
    kind = next((kind for kind in KINDS if kind.matches(name)), None)
    if kind is None or not kind.has_columns:
        _refuse_columns(source)
    if kind is None:
        raise DataError(
            f"{name} {'is not a folder' if Path(name).exists() else 'does not exist'}: DATA is {_allowed()}"
        )
    data = in_one_form(kind.open(source, channels, to_learn), by_class=not kind.has_columns and name not in NAMED)
    if to_learn:
        _require_classes(data.name, data.class_names)
    return data


def _refuse_columns(source: DataSource) -> None:
    options = {
        "--path-column": source.path_column, "--label-column": source.label_column, "--multi-label": source.multi_label
    }  # fmt: skip
    for option, given in options.items():
        if given:
            raise DataError(f"{option} is for lists ({LISTS_TEXT}), and {source} is none: leave it out")


def _allowed() -> str:
    kinds = ", ".join(kind.description for kind in KINDS if kind.description)
    return f"{kinds}, or one of {', '.join(name for kind in KINDS for name in kind.names)}"


# What training needs.


def _require_both_sides(data: LabelledData) -> None:
    """Refuse a class without training images, and a held-out part without any."""
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
            raise DataError(f"{data.name}: {why}, or define train and val yourself")


def _torn_by_no_split(data: LabelledData) -> str | None:
    """Return the message if each class has only one group, so that nothing can be split."""
    groups: defaultdict[int, set[str | None]] = defaultdict(set)
    for item in data.split("all").items:
        for label in item.labels:
            groups[label].add(item.group)
    every = sorted({group for those in groups.values() for group in those if group is not None})
    if not every or any(len(those) > 1 or None in those for those in groups.values()):
        return None
    whole = "all images are" if len(every) == 1 else "all images of each class are"
    return f"{whole} of one group ({first_few(every)}), which cannot be split: give several groups"


def _require_classes(name: str, class_names: tuple[str, ...]) -> None:
    if len(class_names) < 2:
        found = f"one class only, {class_names[0]!r}" if class_names else "no class at all"
        raise DataError(f"{name} has {found}: a classifier needs two or more")
