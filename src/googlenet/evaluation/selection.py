"""Which images a classifier is measured on: those that it was not trained on, by the record of its run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from googlenet.bundle import IN_RUN, Bundle
from googlenet.card import ModelCard
from googlenet.data.image_set import DataLike, ImageSet, LabelledData, LabelledImage
from googlenet.data.opening import VAL_FRACTION, find_data, redraw
from googlenet.data.splits import BY_NAME, RECORD, RECORDED, Record, hashes_with_progress, read_record
from googlenet.errors import DataError
from googlenet.text import first_few, printable

UNSEEN = "unseen"  # images that the run was not trained on, where not all of DATA is in its record


@dataclass(frozen=True)
class Selection:
    """Images to measure a classifier on, with its own class numbers.

    ``split`` is ``"train"``, ``"val"``, ``"calibrate"``, ``"test"``, ``"all"`` or ``"unseen"``; ``left_out`` is the
    number of images that are not measured because the classifier was trained on them, chosen or calibrated by them;
    ``notes`` explain the choice, a line each.
    """

    images: ImageSet
    data: str
    split: str
    left_out: int
    notes: tuple[str, ...]


def select_images(
    bundle: Bundle, data: DataLike | None = None, split: str | None = None, *, to_choose: bool = False
) -> Selection:
    """Return the images of ``data`` to measure a bundle on: those of ``split``, or, by default, what is fair.

    By default these are, of the data that the run was trained on, the images kept to report (``"test"``; those that it
    held out, ``"val"``, where there are none), and of other data every image that it was neither trained on nor chosen
    nor calibrated by. Images are recognised by their content. ``data`` is by default what the run was trained on.

    ``to_choose``: the figures will decide something, such as a precision, so that they may not be reported later:
    ``"val"`` is taken although there are images to report on.

    Raises:
        DataError: there are no such images, they have classes or several labels that the classifier does not know, or
            the record of the run was changed.
    """
    if data is not None:
        return _select(bundle, data, split, to_choose)
    name, run = bundle.card.data.get("name"), printable(str(bundle.path))
    if name is None:
        raise DataError(f"{run} does not record what it was trained on: name the labelled images")
    try:
        return _select(bundle, name, split, to_choose)
    except DataError as error:
        raise DataError(f"{error} ({run} was trained on it: name the labelled images where they are now)") from error


def _select(bundle: Bundle, data: DataLike, split: str | None, to_choose: bool) -> Selection:
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
        known = _Known(record, found, run)
        selection = known.fair(to_choose) if split is None else known.named(split)
    elif split is None:
        selection = _without_record(bundle.card, found, run, to_choose)
    else:
        selection = _named(found if split in (*found.splits, "all") else _redrawn(bundle.card, found), split)
    return replace(
        selection,
        images=in_the_order_of(bundle.card.class_names, found.name, selection.images),
        notes=(*found.notes, *selection.notes),
    )


def _record(bundle: Bundle) -> Record | None:
    """Read the record of the run; ``None`` for a bundle outside its run, and for one that 0.1.0 wrote."""
    sha256, path = bundle.card.data.get("record"), bundle.path.parent / RECORD
    if not isinstance(sha256, str) or bundle.path.name != IN_RUN or not path.exists():
        return None
    return Record(read_record(path, sha256))


def trained_on(bundle: Bundle, items: Sequence[LabelledImage]) -> list[bool] | None:
    """Return for each image whether the run was trained on it, by content; ``None`` where that is not recorded."""
    record = _record(bundle)
    if record is None:
        return None
    hashes = hashes_with_progress(items)
    return [record.split_of(item, sha) == "train" for item, sha in zip(items, hashes, strict=True)]


def without_images_of(other: Bundle, selection: Selection, split: str | None) -> Selection:
    """Leave out the images that another run was trained on, too. Raises :class:`DataError` if they were asked for."""
    name, items = printable(str(other.path)), selection.images.items
    known = trained_on(other, items)
    if known is None:
        note = f"what {name} was trained on is not recorded: its accuracy is too good if these images were among it"
        return replace(selection, notes=(*selection.notes, note))
    count = sum(known)
    if count and (split is not None or count == len(items)):
        raise DataError(
            f"{name} was trained on {count:,} of the {len(items):,} images of {selection.split} in "
            f"{printable(selection.data)}, so it would look too good: compare on images that neither was trained on"
        )
    if not count:
        return selection
    fresh = tuple(item for item, trained in zip(items, known, strict=True) if not trained)
    note = f"{count:,} of them are left out, because {name} was trained on them: {len(fresh):,} are compared"
    images = replace(selection.images, items=fresh)
    return replace(selection, images=images, left_out=selection.left_out + count, notes=(*selection.notes, note))


class _Known:
    """The images of DATA with their splits in the run, recognised by content; ``None`` for those it does not know."""

    def __init__(self, record: Record, found: LabelledData, run: str) -> None:
        self.found, self.run, self.name = found, run, printable(found.name)
        self.items = [(given, item) for given, part in found.splits.items() for item in part.items]
        hashes = hashes_with_progress([item for _, item in self.items])
        self.splits = [record.split_of(item, sha, given) for (given, item), sha in zip(self.items, hashes, strict=True)]
        self.count = Counter(self.splits)
        self.reports = any(row.split == "test" for row in record.rows)

    def named(self, split: str) -> Selection:
        """Return the split that the user named: the run's, or DATA's own where not all of DATA is in the run."""
        if self.count[None] == 0 or split not in self.found.splits:
            if not self.count[split]:
                there = ", ".join(each for each in RECORDED if self.count[each])
                raise DataError(f"{self.name} has no split {split!r}; it has {there + ' and ' if there else ''}all")
            return self._made(split, {split})
        trained_on = sum(each == "train" for each, (given, _) in zip(self.splits, self.items, strict=True)
                         if given == split)  # fmt: skip
        note = f"{self.run} was trained on {trained_on:,} of the images of {split} in {self.name}"
        return replace(_named(self.found, split), notes=(note,) if trained_on and split != "train" else ())

    def fair(self, to_choose: bool) -> Selection:
        """Return what the classifier was not trained on and, where that leaves any, not chosen or calibrated by."""
        count, held_out = self.count, "test" if self.reports and not to_choose else "val"
        if count[None] == 0 and count["train"] and count[held_out]:
            return self._made(held_out, {held_out}, _note(count[held_out], self.name, self.run, held_out, to_choose))
        if len(self.items) == count["train"]:
            raise DataError(
                f"{self.run} was trained on all {len(self.items):,} images of {self.name}, so they cannot show how "
                "good it is: give other images, or measure these with --split all"
            )
        if count[None] == len(self.items):
            note = f"measured on all {count[None]:,} images of {self.name}: {self.run} was trained on none of them"
            return self._made("all", {None}, note)
        return self._unseen(to_choose)

    def _unseen(self, to_choose: bool) -> Selection:
        count, used = self.count, {"val", "calibrate"}
        fresh = {None, "test"}
        if to_choose or not self.reports or not any(count[each] for each in fresh):
            fresh |= used
        left = sum(count[each] for each in fresh)
        chosen = sum(count[each] for each in used - fresh)
        parts = [f"{count['train']:,} that {self.run} was trained on"] if count["train"] or not chosen else []
        parts += [f"{chosen:,} that it was chosen or calibrated by"] if chosen else []
        note = f"measured on {left:,} images of {self.name}; {' and '.join(parts)} are left out"
        if not count["train"] and not chosen:
            note = f"measured on all {left:,} images of {self.name}: {self.run} was trained on none of them"
        return self._made(UNSEEN if left < len(self.items) else "all", fresh, note, len(self.items) - left)

    def _made(self, split: str, of: set[str | None], note: str = "", left_out: int = 0) -> Selection:
        chosen = (item for each, (_, item) in zip(self.splits, self.items, strict=True) if each in of)
        return _made(self.found, split, chosen, note, left_out)


def kept_to_report(data: LabelledData, run: str) -> Selection:
    """Return the images of a run's data that report how good it is: ``"test"``, or ``"val"`` where there are none."""
    split = "test" if data.splits.get("test") else "val"
    images, name = data.split(split), printable(data.name)
    return Selection(images, data.name, split, 0, (*data.notes, _note(len(images), name, printable(run), split, False)))


def _note(count: int, name: str, run: str, split: str, to_choose: bool) -> str:
    """Say what is measured of the data that the run was trained on."""
    held_out = f"measured on the {count:,} images of {name} that {run} "
    if split == "test":
        return held_out + "kept to report how good it is"
    chosen = "" if to_choose else "; its best epoch was chosen by them, so the figures are slightly too good"
    return f"{held_out}held out of its training{chosen}"


def _without_record(card: ModelCard, found: LabelledData, run: str, to_choose: bool) -> Selection:
    """Choose images where it is not recorded which ones the run was trained on."""
    split, name = _redrawn(card, found), printable(found.name)
    held_out = len(split.splits.get("val", ()))
    why = ""
    if card.data.get("fingerprint") == split.split("all").fingerprint():
        reports = "test" if split.splits.get("test") and not to_choose else "val"
        if split.splits.get(reports):
            note = _note(len(split.splits[reports]), name, run, reports, to_choose)
            return replace(_named(split, reports), notes=(note,))
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
    val_fraction, divided = recipe.get("val_fraction", VAL_FRACTION), "calibrate" in card.data
    return redraw(found, recipe.get("seed", 0), val_fraction, test_fraction, divided=divided)


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


def in_the_order_of(class_names: tuple[str, ...], data: str, images: ImageSet) -> ImageSet:
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
