"""File → Pillow's image, opened by the reader of its format once its header is within the budget."""

from __future__ import annotations

import ctypes
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
)

from googlenet.errors import ImageTooLargeError, UnreadableImageError
from googlenet.files import open_regular
from googlenet.images import budget
from googlenet.images.budget import Budget
from googlenet.images.failures import TRUNCATED
from googlenet.images.kinds import PREVIEWED, advice_for, suffix_of
from googlenet.images.tiff import read_directory
from googlenet.images.truncated import is_truncated
from googlenet.text import printable

READ = "JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, HEIC"


@contextmanager
def file_of(source: str | Path | bytes | BinaryIO) -> Iterator[BinaryIO]:
    """Open a path or bytes, or rewind an open file. Raises :class:`UnreadableImageError` for anything else."""
    if isinstance(source, (str, Path)):
        with open_regular(source) as file, _truncation_of(file):
            yield file
    elif isinstance(source, bytes):
        with _truncation_of(file := io.BytesIO(source)):
            yield file
    elif hasattr(source, "read"):
        try:
            source.seek(0)
        except (AttributeError, io.UnsupportedOperation):
            source = io.BytesIO(source.read())
        with _truncation_of(source):
            yield source
    else:
        raise UnreadableImageError(
            f"an image must be a path, bytes, an open binary file, a Pillow image or an array, "
            f"got {type(source).__name__}"
        )


@contextmanager
def _truncation_of(file: BinaryIO) -> Iterator[None]:
    """If reading fails and the file is truncated, say that it is."""
    try:
        yield
    except (UnreadableImageError, ImageTooLargeError, MemoryError):
        raise
    except Exception as error:
        file.seek(0)
        kind = _format_of(file.read(_HEAD_BYTES))
        if kind is not None and is_truncated(file, kind):
            raise ValueError(TRUNCATED) from error
        raise


def _heif(file: BinaryIO, name: str) -> Image.Image:
    try:
        from pi_heif import HeifImageFile
    except ImportError as error:
        raise UnreadableImageError(f"{name} is a HEIC image, which needs: pip install 'googlenet[heic]'") from error
    return HeifImageFile(file, "")  # type: ignore[no-any-return]


def _avif(file: BinaryIO, name: str) -> Image.Image:
    if not AvifImagePlugin.SUPPORTED:
        raise UnreadableImageError(
            f"{name} is an AVIF image, which this build of Pillow does not read: pip install --upgrade pillow"
        )
    return AvifImagePlugin.AvifImageFile(file, "")


_reported = threading.local()  # .errors: how many libtiff reported while this thread decoded


def _note_libtiff_error(module: bytes | None, format: bytes | None, values: int | None) -> None:
    """Count an error that libtiff reports in the thread that decodes: it continues after some of them."""
    _reported.errors = getattr(_reported, "errors", 0) + 1


# Kept: libtiff calls it as long as the process lives.
_error_handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)(_note_libtiff_error)


@cache
def _listen_to_libtiff() -> None:
    """Make Pillow's libtiff report errors here, and print neither errors nor warnings on stderr."""
    with suppress(AttributeError, OSError):  # a build that has it inside
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(_error_handler)
        library.TIFFSetWarningHandler(None)


class _Tiff(TiffImagePlugin.TiffImageFile):
    """A TIFF that is damaged as soon as libtiff reports an error, not only if it gives up."""

    def load(self) -> Any:
        if not self.tile:  # decoded already: Pillow calls this again while it applies the EXIF orientation
            return super().load()
        _reported.errors = 0
        pixels = cause = None
        try:
            pixels = super().load()
        except OSError as error:
            if "decoder error" not in str(error):  # with a number: all that Pillow says if libtiff gives up
                raise
            cause = error
        if _reported.errors or cause:
            packed = printable(self.info.get("compression", "raw"))
            raise ValueError(f"its {packed} data cannot be decoded") from cause
        return pixels


def _tiff(file: BinaryIO, name: str) -> Image.Image:
    _listen_to_libtiff()
    return _Tiff(file, "")


# Pillow's own readers, called directly: Image.open would guess again, and warn about sizes that are allowed here.
_READERS: dict[str, Callable[[BinaryIO, str], Image.Image]] = {
    "JPEG": lambda file, _: JpegImagePlugin.jpeg_factory(file, ""),
    "PNG": lambda file, _: PngImagePlugin.PngImageFile(file, ""),
    "GIF": lambda file, _: GifImagePlugin.GifImageFile(file, ""),
    "WEBP": lambda file, _: WebPImagePlugin.WebPImageFile(file, ""),
    "BMP": lambda file, _: BmpImagePlugin.BmpImageFile(file, ""),
    "TIFF": _tiff,
    "AVIF": _avif,
    "HEIF": _heif,
}
_MAGIC = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"BM": "BMP",
    b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"MM*\0": "TIFF", b"II\0*": "TIFF",
}  # fmt: skip
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "HEIF"
)
_HEAD_BYTES = 64  # bytes that tell the format


def open_file(file: BinaryIO, limit: Budget, at_least: int | None, allowed: str = READ) -> Image.Image:
    """Open a file with the reader of its format, after its header was checked against the budget."""
    kind = _format_of(file.read(_HEAD_BYTES))
    if kind is None:
        advice = advice_for(limit.name)
        what = f"is of a kind that is not read: {advice}" if advice else f"is not an image ({allowed})"
        raise UnreadableImageError(f"{limit.name} {what}")
    if kind == "TIFF" and suffix_of(limit.name) in PREVIEWED:  # what opens in a camera raw file is only a small preview
        raise UnreadableImageError(f"{limit.name} is of a kind that is not read: {advice_for(limit.name)}")
    budget.check_header(file, kind, limit)
    try:
        image = _READERS[kind](file, limit.name)
    except SyntaxError as error:  # which is what Pillow's readers raise
        if kind == "TIFF" and (tags := read_directory(file)) and tags.whole:
            raise UnreadableImageError(
                f"{limit.name} is a TIFF of {tags.kind()}, with tags of a kind that is not read: save it anew as grey "
                "of 8, 16 or 32 bits, as RGB of 8 bits, or, for a network of as many channels, one grey page for each"
            ) from error
        raise
    if at_least:
        image.draft(image.mode, (at_least, at_least))
    limit.check_size(image.width, image.height, kind=kind)
    return image


def _format_of(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        brands = [
            head[8:12],
            *(head[at : at + 4] for at in range(16, min(_HEAD_BYTES, int.from_bytes(head[:4], "big")), 4)),
        ]
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
