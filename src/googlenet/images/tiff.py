"""Reads the first directory of a TIFF: enough to limit its cost, and to describe its pixels."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

JPEG_COMPRESSIONS = (6, 7)
MAX_TAGS = 4096
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_LETTERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}  # of unsigned whole numbers
_TAGS = {
    "width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "samples": 277, "format": 339,
    "tile_width": 322, "tile_height": 323,
}  # fmt: skip
_OFFSETS, _COUNTS = (273, 324), (279, 325)  # of strips, of tiles
_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}


@dataclass(frozen=True)
class Directory:
    """The first directory. ``tags`` maps each tag to its type, the number of its values, and their offset."""

    order: str
    tags: dict[int, tuple[int, int, int]]
    small: dict[int, tuple[int, ...]]  # the values of tags that have few
    whole: bool  # all entries and their values are inside the file

    @property
    def total_bytes(self) -> int:
        """The length of all values, as declared."""
        return sum(_SIZES.get(kind, 0) * count for kind, count, _ in self.tags.values())

    @property
    def parts(self) -> int:
        """The number of strips or tiles."""
        return max((self.tags[tag][1] for tag in _OFFSETS if tag in self.tags), default=0)

    def first(self, name: str) -> int:
        """Return the first value of a tag; 0 if it has none."""
        return next(iter(self.small.get(_TAGS[name], ())), 0)

    def strips(self, file: BinaryIO) -> Iterator[tuple[int, int]]:
        """Yield the offset and the length, in bytes, of each strip or tile."""
        offsets, counts = (
            (self._values(file, tag) for tag in tags if tag in self.tags) for tags in (_OFFSETS, _COUNTS)
        )
        yield from zip(next(offsets, ()), next(counts, ()), strict=False)

    def _values(self, file: BinaryIO, tag: int) -> tuple[int, ...]:
        if tag in self.small:
            return self.small[tag]
        kind, count, at = self.tags[tag]
        file.seek(at)
        return _unpack(self.order, kind, file.read(count * _SIZES.get(kind, 1)))

    def kind(self) -> str:
        """Describe its pixels: "3 samples of 32 bits, floating-point"."""
        samples = self.first("samples") or 1
        bits = "/".join(map(str, sorted(set(self.small.get(_TAGS["bits"], (1,))))))
        return f"{samples} sample{'s' * (samples > 1)} of {bits} bits, {_FORMATS.get(self.first('format'), 'unsigned')}"


def read_directory(file: BinaryIO) -> Directory | None:
    """Read the directory of the first page; ``None`` if the file is no TIFF, or damaged."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    try:
        if order is None:
            return None
        big = struct.unpack_from(order + "H", head, 2)[0] == 43
        file.seek(*struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4))
        (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
        width = 20 if big else 12
        entries = file.read(min(count, MAX_TAGS) * width)
        rows = [entries[at : at + width] for at in range(0, len(entries) - width + 1, width)]
        return _directory(file, order, big, rows, whole=len(rows) == min(count, MAX_TAGS))
    except (struct.error, OSError, ValueError, OverflowError):
        return None


def _directory(file: BinaryIO, order: str, big: bool, entries: list[bytes], whole: bool) -> Directory:
    tags, small = {}, {}
    size = file.seek(0, os.SEEK_END)
    for entry in entries:
        tag, kind, count = struct.unpack_from(order + ("HHQ" if big else "HHI"), entry)
        inside = entry[12:] if big else entry[8:]
        length = count * _SIZES.get(kind, 0)
        (at,) = struct.unpack(order + ("Q" if big else "I"), inside)
        tags[tag] = kind, count, at
        whole = whole and (length <= len(inside) or at + length <= size)
        if length <= len(inside):
            small[tag] = _unpack(order, kind, inside[:length])
        elif count <= MAX_TAGS and tag in _TAGS.values():
            file.seek(at)
            small[tag] = _unpack(order, kind, file.read(length))
    return Directory(order, tags, small, whole)


def _unpack(order: str, kind: int, data: bytes) -> tuple[int, ...]:
    letter = _LETTERS.get(kind)
    count = len(data) // _SIZES.get(kind, 1)
    return struct.unpack(f"{order}{count}{letter}", data[: count * _SIZES[kind]]) if letter else ()
