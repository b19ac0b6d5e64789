"""What decoding one image may cost, checked by its header before anything is decoded.

By default an image may take 1 GB of memory and 5 seconds of one core. A decoder can hold neither limit, so what decides
both is limited: the number of pixels, weighted by their cost in the format, and of passes over them.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from googlenet.errors import ImageTooLargeError, UnreadableImageError
from googlenet.images.tiff import JPEG_COMPRESSIONS, Directory, read_directory

MEGAPIXELS = 100  # of an image, by default
MAX_MEGAPIXELS = 10_000  # no machine reads a larger image: raising the limit is not suggested
OPTION, VARIABLE = "--max-megapixels", "GOOGLENET_MAX_MEGAPIXELS"
COLOURS = 3

# Measured (tests/hostile): cost of a pixel relative to the limit of 10 bytes and 50 ns that all others stay below.
WEIGHTS = {"WEBP": 2, "AVIF": 2, "HEIF": 2, "BMP RLE": 10, "JPEG CMYK": 2}
MAX_PASSES = 20  # over the coefficients of the largest JPEG; an ordinary progressive one has 10
MAX_HEADER_BYTES = 16 << 20  # of a file, before its pixels
MAX_GAP_BYTES = 1 << 16  # of filling, between two parts of a JPEG
MAX_PARTS = 1 << 16  # chunks of a PNG, blocks of a GIF before its first frame; segments of a JPEG are fewer
MAX_SEGMENTS = 4096
MAX_STRIPS = 1 << 19  # strips or tiles of a TIFF
MAX_TAG_BYTES = 256 << 20  # of a TIFF: Photoshop stores its layers there
MAX_BYTES_PER_PIXEL = 4  # of files that are read completely before they are decoded


def max_pixels() -> int:
    """Return how many pixels an image may have: 100 million, or by GOOGLENET_MAX_MEGAPIXELS.

    ``--max-megapixels`` of a command sets that variable, so that worker processes see it, too.
    """
    given = os.environ.get(VARIABLE, "")
    try:
        return int(float(given or MEGAPIXELS) * 1e6)
    except (ValueError, OverflowError):
        return MEGAPIXELS * 1_000_000


@dataclass(frozen=True)
class Budget:
    """What the image called ``name`` may cost: as much as ``max_pixels`` ordinary pixels."""

    name: str
    max_pixels: int

    def check_size(self, width: int, height: int, *, kind: str = "", channels: int = COLOURS) -> None:
        """Raise :class:`ImageTooLargeError` if that many pixels of a format, or with channels, cost too much."""
        weight = max(WEIGHTS.get(kind, 1), channels / COLOURS)
        allowed = int(self.max_pixels / weight)
        if width * height > allowed:
            where = f" in {kind}" if weight > 1 and channels <= COLOURS else ""
            self._refuse(f"{width}×{height} = {width * height:,} pixels, {allowed:,} are allowed{where}",
                         width * height * weight)  # fmt: skip

    def check_passes(self, width: int, height: int, passes: int) -> None:
        """Raise :class:`ImageTooLargeError` if a decoder would pass over the pixels too often."""
        allowed = max(1, MAX_PASSES * self.max_pixels // max(1, width * height))
        if passes > allowed:
            self._refuse(f"{width}×{height} pixels in {passes:,} scans, {allowed:,} are allowed of so many",
                         width * height * passes / MAX_PASSES)  # fmt: skip

    def check_bytes(self, count: int) -> None:
        """Raise :class:`ImageTooLargeError` for a file too large to be read at once."""
        if count > MAX_BYTES_PER_PIXEL * self.max_pixels:
            self._refuse(f"{count:,} bytes, {MAX_BYTES_PER_PIXEL * self.max_pixels:,} are allowed in this format",
                         count / MAX_BYTES_PER_PIXEL)  # fmt: skip

    def _refuse(self, what: str, pixels: float) -> None:
        megapixels = math.ceil(pixels / 1e6)
        more = f", or raise max_pixels ({OPTION} {megapixels})" if megapixels <= MAX_MEGAPIXELS else ""
        raise ImageTooLargeError(f"{self.name} has {what}: shrink it{more}")

    def refuse_parts(self, what: str) -> None:
        """Raise :class:`UnreadableImageError` for a file with more parts than any program writes."""
        raise UnreadableImageError(f"{self.name} is damaged: {what}; save it again")


def check_header(file: BinaryIO, kind: str, budget: Budget) -> None:
    """Raise :class:`ImageError` if opening or decoding the file would cost too much. ``kind`` is its format.

    What the reader of the format finds out cheaply, above all the size, is checked after it is open.
    """
    check = _CHECKS.get(kind)
    if check is not None:
        file.seek(0)
        check(file, budget)
    file.seek(0)


def _size_of(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


# JPEG: passes are counted, since empty ones take no bytes.

_BASELINE = frozenset({0xC0, 0xC1, 0xC9})
_FRAMES = _BASELINE | {0xC2, 0xCA, 0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF}
_SCAN, _END = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # except those allowed between the blocks of a scan


def _check_jpeg(file: BinaryIO, budget: Budget) -> None:
    data = file.read(io.DEFAULT_BUFFER_SIZE)  # buffered anyway; most headers are shorter
    at = end = 2
    too_long = f"more than {MAX_GAP_BYTES >> 10} kB of filling, or {MAX_HEADER_BYTES >> 20} MB of header"
    frame: tuple[int, int, int, bool] | None = None  # width, height, components, whether one scan may be enough
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or found.end() + 10 > len(data):
            if found is None and len(data) - at > MAX_GAP_BYTES:
                budget.refuse_parts(too_long)
            data, more = _more(file, data)
            if not more:
                return  # the reader gives the error
            continue
        if found.end() - at > MAX_GAP_BYTES or at > MAX_HEADER_BYTES:
            budget.refuse_parts(too_long)
        marker, at = data[found.end() - 1], found.end()
        if marker == _SCAN:
            break
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, at + 3)
            frame = width, height, components, marker in _BASELINE
        at = end = at + max(length, 2)
    else:
        budget.refuse_parts(f"more than {MAX_SEGMENTS:,} segments before its pixels")
    if frame is None:
        return
    width, height, components, streams = frame
    passes = 1
    if not streams or data[at + 2] < components:  # then all coefficients are kept in memory
        budget.check_size(width, height, kind="JPEG CMYK" if components > COLOURS else "")
        passes = _count_scans(file, end, budget, MAX_PASSES * budget.max_pixels // max(1, width * height))
    budget.check_passes(width, height, passes)


def _more(file: BinaryIO, data: bytes) -> tuple[bytes, bool]:
    """Read as much again, so that each byte of a long header is copied only a few times."""
    if len(data) > 2 * MAX_HEADER_BYTES:
        return data, False
    new = file.read(len(data))
    return data + new, bool(new)


def _count_scans(file: BinaryIO, start: int, budget: Budget, enough: int) -> int:
    """Count the scans, until there are more than ``enough``."""
    budget.check_bytes(_size_of(file) - start)
    file.seek(start)
    return count_scans(file.read(), enough)


def count_scans(data: bytes, enough: int) -> int:
    """Count the scans in part of a JPEG, or up to its end; counting stops above ``enough``.

    >>> count_scans(b"\\xff\\xda\\0\\x02.\\xff\\0.\\xff\\xd0.\\xff\\xda\\0\\x02.\\xff\\xd9\\xff\\xda\\0\\x02", 9)
    2
    """
    scans = at = segments = 0
    while scans <= enough and segments < MAX_PARTS:
        found = _MARKER.search(data, at)
        if found is None or data[found.end() - 1] == _END:
            break
        scans += data[found.end() - 1] == _SCAN
        segments += 1
        at = found.end() + (
            int.from_bytes(data[found.end() : found.end() + 2], "big") if found.end() < len(data) else 0
        )
    return scans if segments < MAX_PARTS else enough + 1


# PNG and GIF: Pillow reads their parts one by one, in Python.


def _check_png(file: BinaryIO, budget: Budget) -> None:
    size = _size_of(file)
    if size < 12 * MAX_PARTS:  # too short for so many
        return
    at = 8
    for _ in range(MAX_PARTS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        length = int.from_bytes(head[:4], "big")
        if length > MAX_HEADER_BYTES and head[4:] != b"IDAT":
            budget.refuse_parts(f"a chunk of {length:,} bytes that are no pixels")
        at += 12 + length
    budget.refuse_parts(f"more than {MAX_PARTS:,} chunks")


def _check_gif(file: BinaryIO, budget: Budget) -> None:
    screen = file.read(13)
    if len(screen) < 13:
        return
    if screen[10] & 0x80:
        file.seek(3 << (screen[10] & 7) + 1, os.SEEK_CUR)
    blocks = 0
    while (kind := file.read(1)) and kind not in b",;":
        if kind == b"!":
            file.read(1)
            while (length := file.read(1)) and length != b"\0":
                file.seek(length[0], os.SEEK_CUR)
                blocks += 1
        blocks += 1
        if blocks > MAX_PARTS:
            budget.refuse_parts(f"more than {MAX_PARTS:,} blocks before its first frame")


# WebP: the reader allocates the whole canvas, several times, before it reports its size.


def _check_webp(file: BinaryIO, budget: Budget) -> None:
    budget.check_bytes(_size_of(file))
    file.seek(0)
    head = file.read(30).ljust(30, b"\0")
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        packed = int.from_bytes(head[21:25], "little")
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    budget.check_size(width, height, kind="WEBP")


def _check_whole(file: BinaryIO, budget: Budget) -> None:
    budget.check_bytes(_size_of(file))


def _check_bmp(file: BinaryIO, budget: Budget) -> None:
    head = file.read(34)
    if len(head) == 34 and int.from_bytes(head[30:34], "little") in (1, 2):  # Pillow unpacks these in Python
        width, height = struct.unpack_from("<ii", head, 18)
        budget.check_size(abs(width), abs(height), kind="BMP RLE")


# TIFF


def _check_tiff(file: BinaryIO, budget: Budget) -> None:
    tags = read_directory(file)
    if tags is None:
        return
    if tags.total_bytes > MAX_TAG_BYTES:
        budget.refuse_parts(f"{tags.total_bytes:,} bytes of tags, {MAX_TAG_BYTES:,} are allowed")
    if tags.parts > MAX_STRIPS:
        budget.refuse_parts(f"{tags.parts:,} strips, {MAX_STRIPS:,} are allowed")
    budget.check_size(tags.first("tile_width"), tags.first("tile_height"))
    if tags.first("compression") in JPEG_COMPRESSIONS:
        _check_scans(file, tags, budget)


def _check_scans(file: BinaryIO, tags: Directory, budget: Budget) -> None:
    """Count the passes over each strip of a TIFF of JPEGs; strips may share bytes."""
    width, height = tags.first("width"), tags.first("height")
    enough = MAX_PASSES * budget.max_pixels // max(1, width * height)
    left = 2 * _size_of(file)
    scans = 0
    for at, length in tags.strips(file):
        left -= length
        if left < 0:
            budget.refuse_parts("its strips overlap")
        file.seek(at)
        scans = max(scans, count_scans(file.read(length)[2:], enough))
    budget.check_passes(width, height, scans)


_CHECKS = {
    "JPEG": _check_jpeg,
    "PNG": _check_png,
    "GIF": _check_gif,
    "WEBP": _check_webp,
    "BMP": _check_bmp,
    "TIFF": _check_tiff,
    "AVIF": _check_whole,
    "HEIF": _check_whole,
}
