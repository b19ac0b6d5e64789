"""Any image → (H, W, C) uint8, RGB unless told, safely. The one decoder of training, evaluation and prediction."""

from __future__ import annotations

import ctypes
import io
import logging
import math
import os
import struct
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.format import MAGIC_PREFIX, read_array_header_1_0, read_array_header_2_0, read_magic
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageSequence,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
)

from googlenet.errors import ImageTooLargeError, UnreadableImageError
from googlenet.files import NotARegularFileError, open_regular
from googlenet.images import budget, colour, depth
from googlenet.images.budget import Budget
from googlenet.images.kinds import PREVIEWED, advice_for, suffix_of
from googlenet.images.tiff import read_directory
from googlenet.images.truncated import is_truncated
from googlenet.preprocessing import ColorProfiles
from googlenet.text import printable

Pixels = NDArray[np.uint8]  # (H, W, C): RGB where C is 3, grey where it is 1
ImageSource = str | Path | bytes | BinaryIO | Image.Image | Pixels


class CalledPath(str):
    """The path of a file that messages call otherwise: one of an archive, which lies in a temporary folder."""

    called: str

    def __new__(cls, path: str | Path, called: str) -> CalledPath:  # noqa: D102
        made = super().__new__(cls, path)
        made.called = called
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return CalledPath, (str(self), self.called)


SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif"}
)
ARRAY = ".npy"
GREY, COLOURS = 1, budget.COLOURS  # channels that any image can be converted to
PAGES_MORE = 64  # of a TIFF than it may have, that are counted to say how many there are
STRIP = 1 << 22  # pixels that are converted at a time, so that no more than two whole copies are ever there
TRUNCATED = "the file is truncated"
READ = "JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, HEIC"

# Pillow's warnings, and what it logs, are of no use to whoever gave a folder of images: what is wrong is an error
# here. For good, as to catch them for each image would not be safe among threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


def suffixes(channels: int = COLOURS) -> frozenset[str]:
    """Name the suffixes of files that are read as images of so many channels.

    >>> sorted(suffixes(5) - suffixes(3))
    ['.npy']
    """
    return SUFFIXES if channels in (GREY, COLOURS) else SUFFIXES | {ARRAY}


def decode(
    source: ImageSource,
    channels: int = COLOURS,
    *,
    at_least: int | None = None,
    max_pixels: int | None = None,
    value_range: depth.ValueRange | None = None,
    color_profiles: ColorProfiles = "applied",
) -> Pixels:
    """Read an image as (H, W, channels) uint8: RGB, or grey where ``channels`` is 1.

    JPEG, PNG, WebP, BMP, GIF (first frame), TIFF, AVIF and (with the ``heic`` extra) HEIC, from a path, bytes, an open
    binary file, a Pillow image or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8. EXIF orientation is
    applied; grey, palette and CMYK become RGB; transparency lies over white. Grey is the luma of that. Colours of
    another space than sRGB are converted from it, unless ``color_profiles`` is ``"ignored"``.

    Deep grey, of 16 or 32 bits or floating-point, is scaled, from black to white: as the file says (a depth of 12 bits,
    a highest sample value); else by ``value_range``; else from 0 to 65535, or, of 32 bits, numbers with a sign and
    floating point, by its own values (see :class:`googlenet.images.depth.Extent`). What lies beyond is clipped. Of
    RGB of 16 bits the upper 8 are read. A PNG's sBIT is not looked at.

    With any other number, the channels are what is stored, and must be so many: the bands of a grey image with
    alpha, RGB or RGBA, nothing composited; those of all pages of a TIFF, one after the other; or an array
    (H, W, channels) of uint8, given or as a ``.npy`` file. Of deeper pages each is scaled on its own, colour profiles
    are not looked at.

    With ``at_least``, of a JPEG in a file or in bytes, fewer pixels are read: an eighth, a quarter or half of each
    side, as long as the shorter one keeps ``at_least`` of them. Of a photograph of 12 megapixels, for a network that
    sees 224, that takes a sixth of the time.

    Raises:
        UnreadableImageError: not an image, damaged, truncated, missing, no regular file, or of a kind or number of
            channels not supported.
        ImageTooLargeError: more than ``max_pixels`` pixels (100 million, or what GOOGLENET_MAX_MEGAPIXELS says) are to
            be decoded, half as many of WebP, AVIF and HEIC; too many passes over them; or, of more than 3 channels,
            more bytes than an RGB image of so many has. Nothing was decoded.

    >>> decode(np.zeros((2, 5), np.uint8)).shape
    (2, 5, 3)
    >>> decode(np.zeros((2, 5, 7), np.uint8), channels=7).shape
    (2, 5, 7)
    """
    found = open_image(
        source,
        channels,
        at_least=at_least,
        max_pixels=max_pixels,
        value_range=value_range,
        color_profiles=color_profiles,
    )
    return found if isinstance(found, np.ndarray) else _array(found)


def open_image(
    source: ImageSource,
    channels: int = COLOURS,
    *,
    at_least: int | None = None,
    max_pixels: int | None = None,
    value_range: depth.ValueRange | None = None,
    color_profiles: ColorProfiles = "applied",
) -> Image.Image | Pixels:
    """Read what :func:`decode` reads, and raise what it raises, without copying what Pillow has decoded.

    Gives Pillow's image, of mode RGB or L; where ``channels`` is neither 1 nor 3, the array.
    """
    stored = channels not in (GREY, COLOURS)
    limit = Budget(_name_of(source), budget.max_pixels() if max_pixels is None else max_pixels)
    with _errors_of(limit.name), _pillow_limit(limit.max_pixels):
        if isinstance(source, np.ndarray):
            if stored:
                return _Stored(channels, limit, value_range).array(source)
            source = _from_array(source)
        if isinstance(source, Image.Image):
            if stored:
                return _Stored(channels, limit, value_range).bands(source)
            limit.check_size(source.width, source.height)
            if not source.width * source.height:
                raise UnreadableImageError(f"{limit.name} has no pixels: it is {source.width}×{source.height}")
            return _converted(source, channels, value_range, color_profiles, ours=False)
        with _file_of(source) as file:
            if stored:
                return _Stored(channels, limit, value_range).read(file)
            image = _open(file, limit, at_least)
            return _converted(image, channels, value_range, color_profiles, ours=True)


@contextmanager
def opened(source: str | Path, max_pixels: int | None = None) -> Iterator[Image.Image]:
    """Open an image without decoding it, to look at what it says of itself. Raises what :func:`decode` raises."""
    limit = Budget(_name_of(source), budget.max_pixels() if max_pixels is None else max_pixels)
    with _errors_of(limit.name), _pillow_limit(limit.max_pixels), _file_of(source) as file:
        yield _open(file, limit, None)


# Opening.


@contextmanager
def _file_of(source: str | Path | bytes | BinaryIO) -> Iterator[BinaryIO]:
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
    """Say of a file whose reading fails that it is truncated, where it is."""
    try:
        yield
    except (UnreadableImageError, ImageTooLargeError, MemoryError):
        raise
    except Exception as error:
        file.seek(0)
        kind = _format_of(file.read(_HEAD))
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


_reported = threading.local()  # .errors: what libtiff said while this thread decoded


def _note_libtiff_error(module: bytes | None, format: bytes | None, values: int | None) -> None:
    """Count an error that libtiff reports, on the thread that decodes: it goes on decoding after some of them."""
    _reported.errors = getattr(_reported, "errors", 0) + 1


# Kept for good: libtiff calls it as long as the process lives.
_error_handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)(_note_libtiff_error)


@cache
def _listen_to_libtiff() -> None:
    """Have libtiff, which Pillow brings, report errors here, and print neither these nor warnings on stderr."""
    with suppress(AttributeError, OSError):  # a build that has it inside
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(_error_handler)
        library.TIFFSetWarningHandler(None)


class _Tiff(TiffImagePlugin.TiffImageFile):
    """A TIFF that is damaged where libtiff says so, and not only where it gives up."""

    def load(self) -> Any:
        if not self.tile:  # it is decoded already; Pillow asks for it again while it turns it upright
            return super().load()
        _reported.errors = 0
        pixels = cause = None
        try:
            pixels = super().load()
        except OSError as error:
            if "decoder error" not in str(error):  # a number, which is all that Pillow says where libtiff gives up
                raise
            cause = error
        if _reported.errors or cause:
            packed = printable(self.info.get("compression", "raw"))
            raise ValueError(f"its {packed} data cannot be decoded") from cause
        return pixels


def _tiff(file: BinaryIO, name: str) -> Image.Image:
    _listen_to_libtiff()
    return _Tiff(file, "")


# Pillow's own readers, called directly: Image.open would guess again, and warn of sizes that are allowed here.
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
_HEAD = 64  # bytes that tell the format


def _open(file: BinaryIO, limit: Budget, at_least: int | None, allowed: str = READ) -> Image.Image:
    """Open a file with the reader of its format, once its header is known to cost no more than it may."""
    kind = _format_of(file.read(_HEAD))
    if kind is None:
        advice = advice_for(limit.name)
        what = f"is of a kind that is not read: {advice}" if advice else f"is not an image ({allowed})"
        raise UnreadableImageError(f"{limit.name} {what}")
    if kind == "TIFF" and suffix_of(limit.name) in PREVIEWED:  # what opens of a camera's raw file is a small preview
        raise UnreadableImageError(f"{limit.name} is of a kind that is not read: {advice_for(limit.name)}")
    budget.check_header(file, kind, limit)
    try:
        image = _READERS[kind](file, limit.name)
    except SyntaxError as error:  # which is what Pillow's readers raise
        if kind == "TIFF" and (tags := read_directory(file)) and tags.whole:
            raise UnreadableImageError(
                f"{limit.name} is a TIFF of {tags.kind()}, which is not read: save it as grey of 8, 16 or 32 bits, as "
                "RGB of 8 bits, or, for a network of as many channels, one grey page for each"
            ) from error
        raise
    if at_least:
        image.draft(image.mode, (at_least, at_least))
    limit.check_size(image.width, image.height, kind=kind)
    return image


def _format_of(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(_HEAD, int.from_bytes(head[:4], "big")), 4))]
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


# Converting. At most two whole copies are there at a time.


def _converted(
    image: Image.Image,
    channels: int,
    value_range: depth.ValueRange | None,
    color_profiles: ColorProfiles,
    *,
    ours: bool,
) -> Image.Image:
    """Make an image RGB or grey; ``ours`` says that nobody else has it, so that it may be changed."""
    image = _as_deep_as_a_byte(_upright(image), value_range)
    if color_profiles == "applied" and image.info.get("icc_profile"):
        image = colour.to_srgb(image, in_place=ours)
    if image.has_transparency_data:
        image = _over_white(image)
    if channels == COLOURS:
        return image if image.mode == "RGB" else image.convert("RGB")
    return image if image.mode == "L" else image.convert("RGB").convert("L")


def _array(image: Image.Image) -> Pixels:
    if image.width * image.height <= STRIP:
        return np.atleast_3d(np.asarray(image))
    pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for top, strip in _strips(image):
        pixels[top : top + strip.height] = np.atleast_3d(np.asarray(strip))
    return pixels


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, STRIP // image.width)
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


class _Stored:
    """Reads an image of just so many ``channels``, as they are stored: nothing is converted or composited."""

    MODES = ("L", "LA", "RGB", "RGBA")

    def __init__(self, channels: int, limit: Budget, value_range: depth.ValueRange | None) -> None:
        self.channels, self.limit, self.value_range = channels, limit, value_range
        self._most_pages = channels + PAGES_MORE

    def read(self, file: BinaryIO) -> Pixels:
        if file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX:
            return self._array_file(file)
        file.seek(0)
        return self.bands(_open(file, self.limit, None, f"{READ}, or a {ARRAY} array"))

    def array(self, given: NDArray[np.generic]) -> Pixels:
        self._check_array(given.shape, given.dtype)
        return np.ascontiguousarray(given, np.uint8)

    def _array_file(self, file: BinaryIO) -> Pixels:
        """Read what numpy.save wrote: its header, and the rest only where that is as it must be."""
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        try:
            version = read_magic(file)
            if version not in _HEADERS:
                raise UnreadableImageError(
                    f"{self.limit.name} is a {ARRAY} file of version {version[0]}: write it with numpy.save"
                )
            shape, _, dtype = _HEADERS[version](file)
        except ValueError as error:
            raise ValueError(TRUNCATED if file.tell() == size else f"its {ARRAY} header is damaged") from error
        self._check_array(shape, dtype)
        if size - file.tell() < math.prod(shape):
            raise ValueError(TRUNCATED)
        file.seek(0)
        return np.ascontiguousarray(np.load(file, allow_pickle=False))

    def _check_array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if dtype != np.uint8 or len(shape) != 3 or shape[2] != self.channels or 0 in shape:
            raise UnreadableImageError(
                f"{self.limit.name} is an array {dtype} {shape}, uint8 (H, W, {self.channels}) is needed"
            )
        self.limit.check_size(shape[1], shape[0], channels=self.channels)

    def bands(self, image: Image.Image) -> Pixels:
        self._check_pages([(_kind(page), _samples(page), page.size) for page in self._pages(image)])
        pixels: Pixels | None = None
        first = 0
        for page in self._pages(image):
            bands = np.atleast_3d(np.asarray(_as_deep_as_a_byte(_upright(page), self.value_range)))
            if pixels is None:
                pixels = np.empty((*bands.shape[:2], self.channels), np.uint8)
            pixels[:, :, first : first + bands.shape[2]] = bands
            first += bands.shape[2]
        assert pixels is not None
        return pixels

    def _pages(self, image: Image.Image) -> Iterable[Image.Image]:
        """Give the pages of a TIFF, but not many more than there may be: each has a channel or more."""
        return islice(ImageSequence.Iterator(image), self._most_pages) if image.format == "TIFF" else [image]

    def _check_pages(self, pages: list[tuple[str, int, tuple[int, int]]]) -> None:
        """Hold what the pages say of themselves against what is needed, before one is decoded."""
        kinds, samples, sizes = zip(*pages, strict=True)
        wrong = [kind for kind in dict.fromkeys(kinds) if kind not in (*self.MODES, _DEEP)]
        if wrong or sum(samples) != self.channels:
            more = " or more" if len(pages) == self._most_pages else ""
            has = f"{sum(samples)}{more} channel{'s' if sum(samples) > 1 else ''} ({', '.join(dict.fromkeys(kinds))})"
            needed = f"{self.channels} are needed:"
            if sum(samples) == self.channels:
                needed = f"but {', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} not read as channels: give"
            rgba = "RGBA, " if self.channels == len("RGBA") else ""
            raise UnreadableImageError(
                f"{self.limit.name} has {has}, {needed} {rgba}a TIFF of {self.channels} grey pages, "
                f"or a {ARRAY} array of uint8 (H, W, {self.channels})"
            )
        if len(set(sizes)) > 1:
            raise UnreadableImageError(
                f"{self.limit.name} has pages of different sizes: its channels must lie on each other"
            )
        width, height = sizes[0]
        self.limit.check_size(width, height, channels=self.channels)


_DEEP = "deep grey"


def _samples(page: Image.Image) -> int:
    tags = getattr(page, "tag_v2", {})  # a TIFF has them
    return int(tags.get(_SAMPLES_PER_PIXEL, len(page.getbands())))


def _kind(page: Image.Image) -> str:
    """Give the mode, and whether the page stores more than Pillow reads: near infrared beside R, G and B, say."""
    kind = _DEEP if depth.is_deep(page) else page.mode
    return kind if _samples(page) == len(page.getbands()) else f"{kind} and more"


_SAMPLES_PER_PIXEL = 277
_HEADERS = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image) -> Image.Image:
    """Turn the image as its EXIF orientation says.

    ImageOps.exif_transpose also writes the EXIF block anew, and so refuses whole images with one odd tag in it.
    """
    image.load()
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def orientation(image: Image.Image) -> int:
    """Give the EXIF orientation, 1 (upright) to 8; 1 where there is none, or none that means anything."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - whatever is wrong with the EXIF block, the pixels are whole
        return 1
    return found if found in _TURNS else 1


def _as_deep_as_a_byte(image: Image.Image, value_range: depth.ValueRange | None) -> Image.Image:
    return depth.to_8_bits(image, value_range) if depth.is_deep(image) else image


def _over_white(image: Image.Image) -> Image.Image:
    whole = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        rgba = strip.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        whole.paste(Image.alpha_composite(white, rgba).convert("RGB"), (0, top))
    return whole


def _from_array(array: NDArray[np.generic]) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if (
        array.dtype != np.uint8
        or array.size == 0
        or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4)))
    ):
        raise UnreadableImageError(
            f"an array must be uint8 of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), "
            f"got {array.dtype} {array.shape}"
        )
    return Image.fromarray(array)


def _name_of(source: ImageSource) -> str:
    """Say what messages call the image: its file where it has one, always on one printable line."""
    name = getattr(source, "called", source)
    if not isinstance(name, (str, Path)):
        name = getattr(source, "name", getattr(source, "filename", None))
    if not name or not isinstance(name, (str, Path)):
        return "the data given"
    return str(name) if str(name).isprintable() else repr(str(name))


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises on a bad file into one typed, one-line error."""
    try:
        yield
    except (UnreadableImageError, ImageTooLargeError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableImageError(f"{name} {_what_is_wrong(error)}") from error


# What readers do not raise themselves, but Python, where a file is not as they expect.
_BY_ACCIDENT = (struct.error, AssertionError, AttributeError, ArithmeticError, EOFError, LookupError, TypeError)
_OF_READERS = ("not identified by this driver", "broken PNG file")
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
    if isinstance(first, _BY_ACCIDENT) or any(words in said for words in _OF_READERS):
        return "is damaged: its structure cannot be read"
    return f"is damaged: {TRUNCATED if 'truncated' in said.lower() else said}".removesuffix(": ")


# Some of Pillow's readers refuse more than 179 megapixels, by a global of its own. Our limit is checked before they are
# asked; theirs is only lifted while a caller who allows more is reading, and comes back with the last of them.
_lifting = threading.Lock()
_lifted: list[int | None] = []  # what it was, once for each that reads


@contextmanager
def _pillow_limit(max_pixels: int) -> Iterator[None]:
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
