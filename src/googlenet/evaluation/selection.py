"""Which images a classifier is measured on: those that it was not trained on, by the record of its run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from googlenet.bundle import IN_RUN, Bundle
from googlenet.card import ModelCard
from googlenet.data.image_set import DataLike, ImageSet, LabelledData, LabelledImage
from googlenet.data.opening import VAL_FRACTION, find_data, redraw
from googlenet.data.splits import BY_NAME, RECORD, SPLITS, Record, hashes_with_progress, read_record
from googlenet.errors import DataError
from googlenet.text import first_few, printable

UNSEEN = "unseen"  # images that the run was not trained on, where not all of DATA is in its record


@dataclass(frozen=True)
class Selection:
    """Images to measure a classifier on, with its own class numbers.

    ``split`` is ``"train"``, ``"val"``, ``"test"``, ``"all"`` or ``"unseen"``; ``left_out`` is the number of images
    that are not measured because the classifier was trained on them; ``notes`` explain the choice, a line each.
    """

    images: ImageSet
    data: str
    split: str
    left_out: int
    notes: tuple[str, ...]


def select_images(bundle: Bundle, data: DataLike | None = None, split: str | None = None) -> Selection:
    """Return the images of ``data`` to measure a bundle on: those of ``split``, or, by default, what is fair.

    By default these are, of the data that the run was trained on, the images that it held out (``"val"``), and of
    other data every image that it was not trained on; images are recognised by their content. ``data`` is by default
    what the run was trained on.

    Raises:
        DataError: there are no such images, they have classes or several labels that the classifier does not know, or
            the record of the run was changed.
    """
    if data is not None:
        return _select(bundle, data, split)
    name, run = bundle.card.data.get("name"), printable(str(bundle.path))
    if name is None:
        raise DataError(f"{run} does not record what it was trained on: name the labelled images")
    try:
        return _select(bundle, name, split)
    except DataError as error:
        raise DataError(f"{error} ({run} was trained on it: name the labelled images where they are now)") from error


def _select(bundle: Bundle, data: DataLike, split: str | None) -> Selection:
    found = find_data(data, bundle.card.preprocessing.channels)
    run = printable(str(bundle.path.parent if bundle.path.name == IN_RUN else bundle.path))
    if found.multi_label and not bundle.card.multi_label:
        raise DataError(
            f"{found.name} has images with several labels or none, {run} predicts one class for each image: "
            "evaluate a classifier that was trained on images with several labels"
        )
    if not len(found.split("all")):
        raise DataError(f"{printable(found.name)} has no images: give labelled images to measure on")
    record = None if split == "all" else _record(bundle)
    if record is not None:
        selection = _by_record(record, found, split, run)
    elif split is None:
        selection = _without_record(bundle.card, found, run)
    else:
        selection = _named(found if split in (*found.splits, "all") else _redrawn(bundle.card, found), split)
    return replace(
        selection,
        images=_in_the_order_of(bundle.card.class_names, found.name, selection.images),
        notes=(*found.notes, *selection.notes),
    )


def _record(bundle: Bundle) -> Record | None:
    """Read the record of the run; ``None`` for a bundle outside its run, and for one that 0.1.0 wrote."""
    sha256, path = bundle.card.data.get("record"), bundle.path.parent / RECORD
    if not isinstance(sha256, str) or bundle.path.name != IN_RUN or not path.exists():
        return None
    return Record(read_record(path, sha256))


def _by_record(record: Record, found: LabelledData, split: str | None, run: str) -> Selection:
    items = [(given, item) for given, part in found.splits.items() for item in part.items]
    hashes = hashes_with_progress([item for _, item in items])
    splits = [record.split_of(item, sha, given) for (given, item), sha in zip(items, hashes, strict=True)]
    pairs = list(zip(splits, (item for _, item in items), strict=True))
    name, count = printable(found.name), Counter(splits)
    if split is not None and (count[None] == 0 or split not in found.splits):
        if not count[split]:
            there = ", ".join(each for each in SPLITS if count[each])
            raise DataError(f"{name} has no split {split!r}; it has {there + ' and ' if there else ''}all")
        return _made(found, split, (item for each, item in pairs if each == split))
    if split is not None:
        trained_on = sum(each == "train" for each, (given, _) in zip(splits, items, strict=True) if given == split)
        note = f"{run} was trained on {trained_on:,} of the images of {split} in {name}"
        return replace(_named(found, split), notes=(note,) if trained_on and split != "train" else ())
    if count[None] == 0 and count["train"] and count["val"]:
        note = f"measured on the {count['val']:,} images of {name} that {run} held out of its training"
        return _made(found, "val", (item for each, item in pairs if each == "val"), note)
    left = [item for each, item in pairs if each != "train"]
    if not left:
        raise DataError(
            f"{run} was trained on all {len(items):,} images of {name}, so they cannot show how good it is: "
            "give other images, or measure these with --split all"
        )
    if len(left) == len(items):
        note = f"measured on all {len(left):,} images of {name}: {run} was trained on none of them"
        return _made(found, "all", left, note)
    note = f"measured on {len(left):,} images of {name}; {count['train']:,} that {run} was trained on are left out"
    return _made(found, UNSEEN, left, note, count["train"])


def _without_record(card: ModelCard, found: LabelledData, run: str) -> Selection:
    """Choose images where it is not recorded which ones the run was trained on."""
    split, name = _redrawn(card, found), printable(found.name)
    held_out = len(split.splits.get("val", ()))
    why = ""
    if card.data.get("fingerprint") == split.split("all").fingerprint():
        why = f"that {run} held out of its training"
    elif "val" in found.splits:
        why = f"in its val; the images that {run} was trained on are not recorded"
    elif card.data.get("split") == BY_NAME:
        why = f"held out by their names, as 0.1.0 did; the images that {run} was trained on are not recorded"
    if held_out and why:
        return replace(_named(split, "val"), notes=(f"measured on the {held_out:,} images of {name} {why}",))
    note = f"measured on all {len(found.split('all')):,} images of {name}: what {run} was trained on is not recorded"
    return replace(_named(found, "all"), notes=(note,))


def _redrawn(card: ModelCard, found: LabelledData) -> LabelledData:
    """Split as the run did, where DATA itself does not say what is held out."""
    recipe = card.recipe
    test_fraction = None if card.data.get("split") == BY_NAME else recipe.get("test_fraction", 0.0)
    return redraw(found, recipe.get("seed", 0), recipe.get("val_fraction", VAL_FRACTION), test_fraction)


def _named(data: LabelledData, split: str) -> Selection:
    return _made(data, split, data.split(split).items)


def _made(
    data: LabelledData, split: str, items: Iterable[LabelledImage], note: str = "", left_out: int = 0
) -> Selection:
    images = ImageSet(data.class_names, tuple(items))
    if not len(images):
        raise DataError(
            f"{printable(data.name)} has no image in the split {split!r}: leave --split out, or measure all with "
            "--split all"
        )
    return Selection(images, data.name, split, left_out, (note,) if note else ())


def _in_the_order_of(class_names: tuple[str, ...], data: str, images: ImageSet) -> ImageSet:
    """Renumber the classes as the classifier does. Raises :class:`DataError` for images of an unknown class."""
    unknown = [name for name, count in images.counts().items() if count and name not in class_names]
    if unknown:
        raise DataError(
            f"{printable(data)} has classes the classifier does not know: {first_few(unknown)}; "
            f"it knows {first_few(class_names)}"
        )
    number = {name: label for label, name in enumerate(class_names)}
    to = [number.get(name, -1) for name in images.class_names]  # -1: a class without images
    items = tuple(replace(item, labels=tuple(to[label] for label in item.labels)) for item in images.items)
    return ImageSet(class_names, items)
