"""Which images are for training, which are held out, and the record of it: split, hash and name of each image."""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from googlenet.errors import DataError
from googlenet.files import open_regular
from googlenet.stages import stage
from googlenet.text import csv_line, escape_surrogates, from_no_formula_path, no_formula_path, printable

if TYPE_CHECKING:
    from googlenet.data.image_set import LabelledImage

SPLITS = ("train", "val", "test")  # what DATA may say itself: for training, to choose the best epoch, to report
RECORDED = ("train", "val", "calibrate", "test")  # the splits of a run: see googlenet.data.roles
DRAWN, BY_NAME = "drawn within each class", "by file name"  # how images were split, on cards; by file name in 0.1.0
RECORD = "split.csv"
COLUMNS = ("split", "sha256", "name")
MAX_RECORD_BYTES = 1 << 30  # of ten million images
HASH_BATCH = 256  # images that are hashed between two looks at the clock
REPORT_SECONDS = 10.0
CHUNK_BYTES = 1 << 20
THREADS = 8  # more than cores, since reading files is mostly waiting


def name_bytes(name: str) -> bytes:
    """Encode a name. One that is not UTF-8 has lone surrogates, which plain UTF-8 refuses."""
    return name.encode("utf-8", "surrogatepass")


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(name_bytes(f"{seed}/{name}")).digest()


# Drawing.


@dataclass(frozen=True, eq=False)
class _Unit:
    """What stays together: an image, or all images of a group. ``counts``: images of each class."""

    members: tuple[int, ...]
    counts: Mapping[int, int]


def draw(items: Sequence[LabelledImage], seed: int, fractions: Mapping[str, float]) -> list[str]:
    """Draw a split for each image, within each class: the named fractions, and ``train`` for the rest.

    Of a class with n images, ``fraction * n`` are held out, rounded; at least one if there are two, and never the last
    one. A hash of ``seed`` and the name (or group) decides which. Images of a group stay together, so the fractions are
    only as close as groups allow; the class with the fewest groups goes first (iterative stratification: Sechidis et
    al., *On the stratification of multi-label data*, 2011).

    >>> from googlenet.data.image_set import LabelledImage
    >>> birds = [LabelledImage(f"bird/{n}.jpg", (0,)) for n in range(12)]
    >>> Counter(draw(birds, 0, {"test": 0.1, "val": 0.2})) == {"train": 9, "val": 2, "test": 1}
    True
    """
    splits = ["train"] * len(items)
    free = _units(items, seed)
    wanted = [(split, fraction) for split, fraction in fractions.items() if fraction]
    total = _counts(items)
    for drawn, (split, fraction) in enumerate(wanted):
        targets = {label: fraction * count for label, count in total.items()}
        held = _HeldOut(free, targets, keep=len(wanted) - drawn).units
        for unit in held:
            for index in unit.members:
                splits[index] = split
        free = [unit for unit in free if unit not in held]
    return splits


def _units(items: Sequence[LabelledImage], seed: int) -> list[_Unit]:
    """Return what stays together, in the order of a hash that depends on nothing but seed and name."""
    members: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        members[(item.group is not None, item.group or item.name)].append(index)
    ranked = sorted(members, key=lambda key: (_rank(seed, key[1]), key))
    return [_Unit(tuple(members[key]), _counts(items[i] for i in members[key])) for key in ranked]


def _counts(items: Iterable[LabelledImage]) -> dict[int, int]:
    """Count the images of each class. Those without a label count as a class of their own."""
    counts: dict[int, int] = {}  # a Counter for each of a million images takes seconds
    for item in items:
        for label in item.labels or (-1,):
            counts[label] = counts.get(label, 0) + 1
    return counts


class _HeldOut:
    """Chooses units so that each class gets as close to its target as possible, and leaves ``keep`` of each class."""

    def __init__(self, units: Sequence[_Unit], targets: Mapping[int, float], keep: int) -> None:
        self.targets, self.keep = targets, keep
        self.units: dict[_Unit, None] = {}  # those that were chosen
        self.images: Counter[int] = Counter()
        by_class: dict[int, list[_Unit]] = defaultdict(list)
        for unit in units:
            for label in unit.counts:
                by_class[label].append(unit)
        self.left = {label: len(those) for label, those in by_class.items()}
        for label in sorted(by_class, key=lambda label: (len(by_class[label]), label)):
            self._choose(label, by_class[label])

    def _choose(self, label: int, units: Sequence[_Unit]) -> None:
        for unit in units:
            if self.images[label] < self.targets[label] and self._may_go(unit) and self._change(unit) < 0:
                self._take(unit)
        if not self.images[label] and (able := [unit for unit in units if self._may_go(unit)]):
            self._take(min(able, key=self._change))

    def _may_go(self, unit: _Unit) -> bool:
        return unit not in self.units and all(self.left[label] > self.keep for label in unit.counts)

    def _change(self, unit: _Unit) -> float:
        """Return how much farther from their targets the classes of a unit would be with it, relative to these."""
        return sum(
            (abs(self.images[label] + count - target) - abs(self.images[label] - target)) / target
            for label, count in unit.counts.items()
            for target in [self.targets[label]]
        )

    def _take(self, unit: _Unit) -> None:
        self.units[unit] = None
        for label, count in unit.counts.items():
            self.images[label] += count
            self.left[label] -= 1


def draw_by_name(items: Sequence[LabelledImage], seed: int, val_fraction: float) -> list[str]:
    """Split as runs of 0.1.0 did: each image, or group, by a hash of its name only."""
    limit = val_fraction * 2**64
    ranks = (int.from_bytes(_rank(seed, item.group or item.name)[:8], "big") for item in items)
    return ["val" if rank < limit else "train" for rank in ranks]


# Hashing.


def content_hashes(items: Sequence[LabelledImage]) -> list[str]:
    """Return the sha256 of each file, or of the pixels if there is none; ``""`` if it cannot be read."""
    with ThreadPoolExecutor(THREADS, "hashing") as pool:
        return list(pool.map(_content_hash, items))


def hashes_with_progress(
    items: Sequence[LabelledImage],
    hashes: Callable[[Sequence[LabelledImage]], list[str]] = content_hashes,
    batch_size: int = HASH_BATCH,
) -> list[str]:
    """Hash images, ``batch_size`` at a time. If it takes long, progress is printed on stderr."""
    found: list[str] = []
    while len(found) < len(items):
        until = time.monotonic() + REPORT_SECONDS
        with stage(f"hashing {len(items):,} images to recognise them later: {len(found):,} done"):
            while len(found) < len(items) and time.monotonic() < until:
                found += hashes(items[len(found) : len(found) + batch_size])
    return found


def _content_hash(item: LabelledImage) -> str:
    digest = hashlib.sha256()
    if item.path is None:
        assert item.pixels is not None
        digest.update(repr((item.pixels.shape, item.pixels.dtype.str)).encode())
        digest.update(item.pixels.tobytes())
        return digest.hexdigest()
    try:
        with open_regular(item.path) as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return ""
    return digest.hexdigest()


# The record of a run.


@dataclass(frozen=True)
class Recorded:
    """An image of a run: its split, the sha256 of its content ("" if it could not be read), its name."""

    split: str
    sha256: str
    name: str


def record_of(splits: Mapping[str, Sequence[LabelledImage]], hashes: Iterable[str]) -> bytes:
    """Return split.csv: the images of each split, in order, with their ``hashes``, in the same order."""
    lines = [csv_line(COLUMNS)]
    pairs = ((split, item) for split, items in splits.items() for item in items)
    for (split, item), sha256 in zip(pairs, hashes, strict=True):
        lines.append(csv_line((split, sha256, no_formula_path(escape_surrogates(item.name)))))
    return "".join(lines).encode()


def read_record(path: Path, sha256: str) -> list[Recorded]:
    """Read split.csv of a run. Raises :class:`DataError` if its hash is not the one on the card."""
    try:
        with open_regular(path) as file:
            content = file.read(MAX_RECORD_BYTES)
    except OSError as error:
        why = f"{printable(str(path))} cannot be read: {error.strerror or error}"
        raise DataError(f"{why}; put back the file that was there, or train again") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(
            f"{printable(str(path))} is not the record that was written with this run: its sha256 is another one; "
            "put back the file that was there"
        )
    try:
        lines = list(csv.reader(io.StringIO(content.decode(), newline="")))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{printable(str(path))} is no record of images: {error}") from error
    whole = (fields for fields in lines[1:] if len(fields) == len(COLUMNS))
    return [Recorded(split, content, from_no_formula_path(name)) for split, content, name in whole]


class Record:
    """Recognises the images of a run: by content, and by name if copies of one are in several splits."""

    def __init__(self, rows: Sequence[Recorded]) -> None:
        self.rows = rows
        self._by_hash: dict[str, list[Recorded]] = defaultdict(list)
        for row in rows:
            if row.sha256:
                self._by_hash[row.sha256].append(row)

    def split_of(self, item: LabelledImage, sha256: str, given: str = "") -> str | None:
        """Return the split of an image in the run; ``None`` if the run has no such image.

        If copies of it are in several splits, those with its name count, then the one in the split that DATA has
        ``given``; otherwise the first of ``RECORDED``.
        """
        same = self._by_hash.get(sha256, []) if sha256 else []
        name = escape_surrogates(item.name)
        splits = {row.split for row in same if row.name == name} or {row.split for row in same}
        return given if given in splits else next((split for split in RECORDED if split in splits), None)

    def order(
        self, items: Sequence[tuple[str, LabelledImage]], hashes: Sequence[str]
    ) -> tuple[list[int | None], list[int]]:
        """Find the image of each row among ``items``, each with its split in DATA, or "".

        Returns an index for each row, ``None`` if there is none, and the indices that no row has. An image that could
        not be read is recognised by its name.
        """
        found: list[int | None] = [None] * len(self.rows)
        left = list(range(len(items)))
        for key in _KEYS:
            waiting: dict[tuple[str, ...], list[int]] = defaultdict(list)
            for index in reversed(left):
                given, item = items[index]
                waiting[key(Recorded(given, hashes[index], escape_surrogates(item.name)))].append(index)
            for at, row in enumerate(self.rows):
                if found[at] is None and (those := waiting.get(key(row))):
                    found[at] = those.pop()
            taken = set(found)
            left = [index for index in left if index not in taken]
        return found, left


# What an image is recognised by, the surest first.
_KEYS: tuple[Callable[[Recorded], tuple[str, ...]], ...] = (
    lambda row: (row.split, row.sha256, row.name),
    lambda row: (row.sha256, row.name),
    lambda row: (row.sha256 or row.name,),
)
