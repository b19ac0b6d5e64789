"""Whatever goes wrong with an image → one typed error of one line; and Pillow's own limit, lifted while we read."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from googlenet.errors import ImageTooLargeError, UnreadableImageError
from googlenet.files import NotARegularFileError
from googlenet.images import budget
from googlenet.images.pixels import ImageSource

TRUNCATED = "the file is truncated"


def name_of(source: ImageSource) -> str:
    """Return what messages call an image: its file if it has one, always on one printable line."""
    name = getattr(source, "called", source)
    if not isinstance(name, (str, Path)):
        name = getattr(source, "name", getattr(source, "filename", None))
    if not name or not isinstance(name, (str, Path)):
        return "the data given"
    return str(name) if str(name).isprintable() else repr(str(name))


@contextmanager
def explain_errors(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises on a bad file into one typed, one-line error."""
    try:
        yield
    except (UnreadableImageError, ImageTooLargeError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableImageError(f"{name} {_what_is_wrong(error)}") from error


# What Python raises inside of a reader when a file is not as it expects.
_BY_ACCIDENT = (struct.error, AssertionError, AttributeError, ArithmeticError, EOFError, LookupError, TypeError)
_READERS_SAY = ("not identified by this driver", "broken PNG file")
_WRONG: dict[type[Exception], str] = {
    FileNotFoundError: "does not exist",
    PermissionError: "may not be read: permission denied",
}


def _what_is_wrong(error: Exception) -> str:
    if type(error) in _WRONG:
        return _WRONG[type(error)]
    if isinstance(error, NotARegularFileError):
        return str(error.strerror).replace("a file", "an image")  # a folder, a FIFO, a device, …
    if isinstance(error, OSError) and error.errno:
        return f"cannot be read: {error.strerror}"
    said = " ".join(str(error).split())
    first = error.__cause__ if isinstance(error, SyntaxError) else error  # Pillow wraps what Python raised
    if isinstance(first, _BY_ACCIDENT) or any(words in said for words in _READERS_SAY):
        return "is damaged: its structure cannot be read"
    return f"is damaged: {TRUNCATED if 'truncated' in said.lower() else said}".removesuffix(": ")


# Some of Pillow's readers refuse more than 179 megapixels, by a global. Our own limit is checked before they are
# called; theirs is lifted only while a caller that allows more is reading, and restored after the last of them.
_lifting = threading.Lock()
_lifted: list[int | None] = []  # its value before, once for each reader


@contextmanager
def lift_pillow_limit(max_pixels: int) -> Iterator[None]:
    """Lift Pillow's limit on pixels while an image of up to ``max_pixels`` is read."""
    if max_pixels <= budget.MEGAPIXELS * 1_000_000:
        yield
        return
    with _lifting:
        _lifted.append(_lifted[-1] if _lifted else Image.MAX_IMAGE_PIXELS)
        Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        with _lifting:
            before = _lifted.pop()
            if not _lifted:
                Image.MAX_IMAGE_PIXELS = before
