"""Whether a file that could not be read is truncated: by the lengths in it, not by the text of an error."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from googlenet.images.tiff import read_directory

_TAIL_BYTES = 4096  # at the end, that may be padding


def is_truncated(file: BinaryIO, kind: str) -> bool:
    """Whether the file, of a format, is shorter than it declares, or lacks the mark at its end.

    >>> import io
    >>> is_truncated(io.BytesIO(b"GIF89a"), "GIF"), is_truncated(io.BytesIO(b"GIF89a;"), "GIF")
    (True, False)
    """
    size = file.seek(0, os.SEEK_END)
    if kind in _LAST_MARKS:
        file.seek(max(0, size - _TAIL_BYTES))
        mark, within = _LAST_MARKS[kind]
        return mark not in file.read(_TAIL_BYTES).rstrip(b"\0")[-within:]
    file.seek(0)
    if kind == "TIFF":
        return _ends_in_strips(file, size)
    if kind in ("AVIF", "HEIF"):
        return _ends_in_box(file, size)
    head = file.read(8).ljust(8, b"\xff")
    length = struct.unpack_from("<I", head, 4)[0] + 8 if kind == "WEBP" else struct.unpack_from("<I", head, 2)[0]
    return bool(length > size)


_LAST_MARKS = {
    "JPEG": (b"\xff\xd9", 16),
    "PNG": (b"IEND", 16),
    "GIF": (b";", 1),
}  # in the last so many bytes


def _ends_in_strips(file: BinaryIO, size: int) -> bool:
    tags = read_directory(file)
    return tags is None or not tags.whole or any(at + length > size for at, length in tags.strips(file))


def _ends_in_box(file: BinaryIO, size: int) -> bool:
    at = 0
    while at < size:
        file.seek(at)
        length, _, long = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\xff"))
        if length == 0:  # up to the end of the file
            return False
        at += max(long if length == 1 else length, 8)
    return at > size
