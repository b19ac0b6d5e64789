"""``googlenet.doctor``: read every image of a data set, and list everything that is wrong with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from googlenet.data.folders import Contents
from googlenet.data.image_set import LabelledData
from googlenet.data.opening import open_data
from googlenet.data.source import DataSource, to_source
from googlenet.diagnosis.classes import class_findings
from googlenet.diagnosis.facts import SUFFIXES_OF, Entry, ImageFacts, look
from googlenet.diagnosis.findings import CHECKS, Finding, Findings
from googlenet.diagnosis.near import near_pairs
from googlenet.errors import DataError
from googlenet.images.depth import described, joined
from googlenet.images.kinds import advice_for
from googlenet.parallel import in_batches
from googlenet.text import printable

SPLITS = ("train", "val", "test")
REPORT = "doctor.json"  # what a clean copy holds beside its images
MIN_SIDE_PIXELS = 32  # a shorter side below this is tiny
MAX_CROP_LOSS = 0.25  # of the area, cut off by the centre crop
MIN_CROPPED_SHARE = 0.1  # of the images: below this, the crop is not reported
BATCH = 64
MAX_NEAR_PAIRS = 10_000
Progress = Callable[[str, int, int], None]


def doctor(
    data: str | Path | DataSource,
    *,
    seed: int = 0,
    image_size: int | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Read every image and list everything that is wrong, whether or not ``train`` would accept the data.

    Args:
        data: what ``train`` takes, or a folder that it refuses; never changed.
        seed: as in training: if DATA has no ``val/``, it decides which images are held out.
        image_size: also report images whose shorter side has fewer pixels.
        progress: called with the name of the stage, the number of items done, and of all items.

    Raises:
        DataError: there is no such folder.
        MissingExtraError: the ``train`` extra is not installed.

    ::

        findings = googlenet.doctor("photos/")
        [finding.names for finding in findings.of("leak")]
    """
    report = progress or (lambda what, done, total: None)
    inventory = _open(to_source(data), seed)
    facts: list[ImageFacts] = []
    found: list[Finding] = []
    for batch in in_batches(look, inventory.entries, BATCH):
        for entry, seen in batch:
            if isinstance(seen, ImageFacts):
                facts.append(seen)
            else:
                found.append(
                    Finding("unreadable", (printable(entry.name),), str(seen).removeprefix(f"{entry.source} "))
                )
        report("reading images", len(facts) + len(found), len(inventory.entries))
    found += [*_of_folders(inventory), *_of_classes(inventory), *_of_images(facts, image_size), *_of_shapes(facts)]
    found += _of_depths(facts)
    found += [*_copies(facts), *_near_copies(facts, lambda done, total: report("comparing images", done, total))]
    order = list(CHECKS)
    found.sort(key=lambda finding: order.index(finding.kind))
    splits = Counter(entry.split for entry in inventory.entries)
    return Findings(
        str(data),
        len(inventory.entries),
        len({name for names in inventory.classes.values() for name in names}),
        {split: splits[split] for split in (*SPLITS, "") if splits[split]},
        tuple(found),
        seed,
        tuple(facts),
        inventory.notes,
    )


# Where the images are.


@dataclass(frozen=True)
class _Inventory:
    """``classes`` of each split, including those without images; ``refusal`` is the error that ``train`` would raise.

    ``ignored`` maps each file or folder that is not read to the reason.
    """

    entries: list[Entry]
    classes: dict[str, tuple[str, ...]]
    ignored: dict[str, str]
    refusal: str | None = None
    notes: tuple[str, ...] = ()


def _open(source: DataSource, seed: int) -> _Inventory:
    root = Path(source.data)
    try:
        labelled = open_data(source, seed=seed)
    except DataError as refused:
        if not root.is_dir():
            raise
        return _refused(root, str(refused), source.follow_links)
    is_folder = root.is_dir()
    entries = list(_entries(labelled, root if is_folder else None))
    classes = dict.fromkeys(labelled.splits, labelled.class_names)
    ignored = _ignored(root, entries, source.follow_links) if is_folder else {}
    return _Inventory(entries, classes, ignored, notes=labelled.notes)


def _entries(labelled: LabelledData, root: Path | None) -> Iterator[Entry]:
    for split, images in labelled.splits.items():
        for item in images.items:
            name = item.name if root is None or item.path is None else item.path.relative_to(root).as_posix()
            source = item.path if item.path is not None else item.read()
            yield Entry(name, source, split, tuple(labelled.class_names[label] for label in item.labels))


def _refused(root: Path, refusal: str, follow_links: bool) -> _Inventory:
    """Read the folders of data that ``train`` refuses. No image is held out then, except those in val/ and test/."""
    splits = [name for name in SPLITS if (root / name).is_dir()] if (root / "train").is_dir() else [""]
    contents = Contents(follow_links=follow_links)
    classes = {split: tuple(contents.sub_folders(str(root / split))) for split in splits}
    contents.add([str(root / split / name) for split, names in classes.items() for name in names])
    entries = [
        Entry(Path(path).relative_to(root).as_posix(), Path(path), split, (name,))
        for split, names in classes.items()
        for name in names
        for path in contents.images[str(root / split / name)]
    ]
    notes = tuple(f"{printable(str(root))}: {note}" for note in contents.notes(str(root)))
    return _Inventory(entries, classes, _ignored(root, entries, follow_links), refusal, notes)


def _ignored(root: Path, entries: Iterable[Entry], follow_links: bool) -> dict[str, str]:
    """Return why each file in the folder that is not among the images is not read, except our own report."""
    contents = Contents(follow_links=follow_links)
    contents.add([str(root)])
    found = dict.fromkeys(contents.images[str(root)], "not in the folder of a class")
    found |= {path: f"not of a kind that is read: {advice_for(path)}" for path in contents.unread[str(root)]}
    found |= {path: reason.text for reason, paths in contents.left_out.items() for path in paths}
    named = {Path(path).relative_to(root).as_posix(): why for path, why in sorted(found.items())}
    taken = {REPORT}.union(*({entry.name, *map(str, PurePosixPath(entry.name).parents)} for entry in entries))
    return {name: why for name, why in named.items() if name not in taken}


# What is wrong.


def _of_folders(inventory: _Inventory) -> Iterator[Finding]:
    train = inventory.classes.get("train", ())
    filled = {(entry.split, name) for entry in inventory.entries for name in entry.classes}
    if inventory.refusal:
        yield Finding("refused", (), inventory.refusal)
    for split, names in inventory.classes.items():
        for name in names:
            place = printable(f"{split}/{name}" if split else name)
            if inventory.refusal and (split, name) not in filled:
                yield Finding("empty_class", (place,), f"{place} holds no image")
            elif split in ("val", "test") and name not in train:
                known = printable(", ".join(train))
                yield Finding("class_mismatch", (place,), f"train has no {printable(name)}, it has {known}")
    for name, why in inventory.ignored.items():
        yield Finding("ignored", (printable(name),), why)


def _of_classes(inventory: _Inventory) -> Iterator[Finding]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in inventory.entries:
        counts[entry.split].update(entry.classes)
    return class_findings(counts, inventory.classes)


def _of_images(facts: list[ImageFacts], image_size: int | None) -> Iterator[Finding]:
    grey = [seen for seen in facts if seen.grey and not seen.blank]
    for seen in facts:
        name = (printable(seen.entry.name),)
        if seen.blank:
            yield Finding("blank", name, "")
        if min(seen.width, seen.height) < max(MIN_SIDE_PIXELS, image_size or 0):
            yield Finding("tiny", name, f"{seen.width}×{seen.height} pixels")
        if seen.turned:
            yield Finding("turned", name, "")
        if seen.ignored_profile:
            yield Finding("profile", name, printable(seen.ignored_profile))
        suffixes = SUFFIXES_OF.get(seen.format)
        if suffixes and Path(seen.entry.name).suffix.lower() not in suffixes:
            yield Finding("wrong_suffix", name, f"holds {seen.format}")
    if len(grey) <= sum(not seen.blank for seen in facts) / 2:
        for seen in grey:
            yield Finding("grey", (printable(seen.entry.name),), ", ".join(map(printable, seen.entry.classes)))


def _of_depths(facts: list[ImageFacts]) -> Iterator[Finding]:
    """Report which values ``train`` would use as black and white, and which images have values outside."""
    silent = [seen for seen in facts if seen.values and seen.value_range is None]
    learnt = [seen for seen in silent if seen.entry.split in ("train", "")]
    common = joined(seen.values for seen in learnt or silent if seen.values)
    if common:
        names = tuple(printable(seen.entry.name) for seen in silent)
        yield Finding("deep", names, described(common.usual_range))
    for seen in facts:
        allowed = seen.value_range or (common and common.usual_range)
        if seen.values and allowed and not allowed[0] <= seen.values.lowest <= seen.values.highest <= allowed[1]:
            has, may = (
                f"{low:.10g} to {high:.10g}" for low, high in ((seen.values.lowest, seen.values.highest), allowed)
            )
            yield Finding("clipped", (printable(seen.entry.name),), f"values {has}, not {may}")


def _of_shapes(facts: list[ImageFacts]) -> Iterator[Finding]:
    if not facts:
        return
    sides = np.array([(seen.width, seen.height) for seen in facts])
    lost = 1 - sides.min(axis=1) / sides.max(axis=1)
    much = np.flatnonzero(lost > MAX_CROP_LOSS)
    if len(much) > MIN_CROPPED_SHARE * len(facts):
        yield Finding(
            "crop_loss",
            tuple(printable(facts[i].entry.name) for i in much),
            f"{len(much) / len(facts):.0%} of the images lose more than a quarter of their area, "
            f"the median image {np.median(lost):.0%}",
        )


def same_images(facts: Iterable[ImageFacts]) -> list[list[ImageFacts]]:
    """Return the groups of two and more images with the same pixels, by name."""
    groups = defaultdict(list)
    for seen in sorted(facts, key=lambda seen: seen.entry.name):
        groups[seen.pixels].append(seen)
    return [group for group in groups.values() if len(group) > 1]


def _copies(facts: list[ImageFacts]) -> Iterator[Finding]:
    for group in same_images(facts):
        names = tuple(printable(seen.entry.name) for seen in group)
        how = "identical files" if len({seen.file for seen in group}) == 1 else "the same pixels"
        for kind, where in _relations(group):
            yield Finding(kind, names, f"{where}: {how}" if where else how)


def _relations(group: list[ImageFacts]) -> list[tuple[str, str]]:
    """Return how copies of an image are related: in several classes, in several splits, or mere copies."""
    classes = sorted({", ".join(seen.entry.classes) or "no class" for seen in group})
    splits = [split for split in SPLITS if any(seen.entry.split == split for seen in group)]
    found = []
    if len(classes) > 1:
        found.append(("two_classes", printable(" and ".join(classes))))
    if len(splits) > 1:
        found.append(("leak", " and ".join(splits)))
    return found or [("duplicate", "")]


def _near_copies(facts: list[ImageFacts], progress: Callable[[int, int], None]) -> Iterator[Finding]:
    # Images of one colour, or with fewer pixels than the hash needs, look like any other such image.
    telling = [seen for seen in facts if not seen.blank and min(seen.width, seen.height) >= MIN_SIDE_PIXELS]
    # One image of each group of copies in a split is enough.
    some = list({(seen.pixels, seen.entry.split): seen for seen in reversed(telling)}.values())[::-1]
    if not some:
        return
    pairs = near_pairs(np.stack([seen.phash for seen in some]), MAX_NEAR_PAIRS, progress)
    for distance, i, j in pairs:
        if some[i].pixels == some[j].pixels:
            continue
        names = (printable(some[i].entry.name), printable(some[j].entry.name))
        full = f"; only the first {MAX_NEAR_PAIRS:,} pairs were kept" if len(pairs) == MAX_NEAR_PAIRS else ""
        for kind, where in _relations([some[i], some[j]]):
            alike = f"{distance} of 256 bits differ{full}"
            yield Finding(f"near_{kind}", names, f"{where}: {alike}" if where else alike)
