"""Any picture → (H, W, C) uint8, RGB unless told, safely. The one decoder of training, evaluation and prediction."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.format import MAGIC_PREFIX, read_array_header_1_0, read_array_header_2_0, read_magic
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageSequence, UnidentifiedImageError

from googlenet.errors import ImageTooLargeError, UnreadableImageError
from googlenet.files import NotARegularFileError, open_regular
from googlenet.images.kinds import PREVIEWED, advice_for, suffix_of

Pixels = NDArray[np.uint8]  # (H, W, C): RGB where C is 3, grey where it is 1
ImageSource = str | Path | bytes | BinaryIO | Image.Image | Pixels

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
ARRAY = ".npy"
MAX_PIXELS = 100_000_000
MAX_PAGES = 4096  # of a TIFF that are looked at
GREY, COLOURS = 1, 3  # channels that any picture can be converted to


def suffixes(channels: int = COLOURS) -> frozenset[str]:
    """Name the suffixes of files that are read as pictures of so many channels.

    >>> sorted(suffixes(5) - suffixes(3))
    ['.npy']
    """
    return SUFFIXES if channels in (GREY, COLOURS) else SUFFIXES | {ARRAY}


def decode(
    source: ImageSource, channels: int = COLOURS, *, at_least: int | None = None, max_pixels: int = MAX_PIXELS
) -> Pixels:
    """Read a picture as (H, W, channels) uint8: RGB, or grey where ``channels`` is 1.

    JPEG, PNG, WebP, BMP, GIF (first frame) and TIFF, from a path, bytes, an open binary file, a Pillow image or an
    array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8. EXIF orientation is applied; grey, palette and CMYK
    become RGB; 16-bit and floating-point pictures are scaled, not clipped; transparency lies over white. Grey is
    the luma of that.

    With any other number, the channels are what is stored, and must be so many: the bands of a grey picture with
    alpha, RGB or RGBA, nothing composited; those of all pages of a TIFF, one after the other; or an array
    (H, W, channels) of uint8, given or as a ``.npy`` file. Of deeper pages each is scaled on its own.

    With ``at_least``, of a JPEG in a file or in bytes, fewer pixels are read: an eighth, a quarter or half of each
    side, as long as the shorter one keeps ``at_least`` of them. Of a photograph of 12 megapixels, for a network that
    sees 224, that takes a sixth of the time.

    Raises:
        UnreadableImageError: not a picture, damaged, cut short, missing, or of a kind or number of channels not
            supported.
        ImageTooLargeError: more than ``max_pixels`` pixels, or, of more than 3 channels, more bytes than an RGB picture
            of so many has; nothing was decoded.

    >>> decode(np.zeros((2, 5), np.uint8)).shape
    (2, 5, 3)
    >>> decode(np.zeros((2, 5, 7), np.uint8), channels=7).shape
    (2, 5, 7)
    """
    found = open_picture(source, channels, at_least=at_least, max_pixels=max_pixels)
    return found if isinstance(found, np.ndarray) else np.atleast_3d(np.asarray(found))


def open_picture(
    source: ImageSource, channels: int = COLOURS, *, at_least: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image | Pixels:
    """Read what :func:`decode` reads, and raise what it raises, without copying what Pillow has decoded.

    Gives Pillow's image, of mode RGB or L; where ``channels`` is neither 1 nor 3, the array.
    """
    name = _name_of(source)
    with _errors_of(name, max_pixels), _pillow_limit(max_pixels):
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        if not (isinstance(stream, (str, Path, Image.Image, np.ndarray)) or hasattr(stream, "read")):
            raise UnreadableImageError(
                f"a picture must be a path, bytes, an open binary file, a Pillow image or an array, "
                f"got {type(source).__name__}"
            )
        if channels not in (GREY, COLOURS):
            return _Stored(channels, name, max_pixels).read(stream)
        if isinstance(stream, np.ndarray):
            stream = _from_array(stream)
        with _opened(stream) as image:
            _refuse_preview(image, name)
            _check_size(image.width, image.height, channels, name, max_pixels)
            if at_least and stream is not image:  # a picture that was given is not changed
                image.draft(image.mode, (at_least, at_least))
            return _converted(image, channels)


@contextmanager
def _opened(source: str | Path | BinaryIO | Image.Image) -> Iterator[Image.Image]:
    if isinstance(source, Image.Image):
        yield source
        return
    opening = open_regular(source) if isinstance(source, (str, Path)) else nullcontext(source)
    with opening as file, Image.open(file, formats=FORMATS) as image:
        yield image


def _refuse_preview(image: Image.Image, name: str) -> None:
    """Refuse a camera's raw file: what opens as its first page is a small preview."""
    if image.format == "TIFF" and suffix_of(name) in PREVIEWED:
        raise UnreadableImageError(f"{name} is of a kind that is not read: {advice_for(name)}")


def _check_size(width: int, height: int, channels: int, name: str, max_pixels: int) -> None:
    allowed = max_pixels * COLOURS // max(channels, COLOURS)
    if width * height > allowed:
        raise ImageTooLargeError(
            f"{name} has {width}×{height} = {width * height:,} pixels, {allowed:,} are allowed: "
            "shrink it, or raise max_pixels"
        )


def _converted(image: Image.Image, channels: int) -> Image.Image:
    image = _as_deep_as_a_byte(_upright(image))
    if image.has_transparency_data:
        image = _over_white(image)
    if channels == COLOURS:
        return image if image.mode == "RGB" else image.convert("RGB")
    return image if image.mode == "L" else image.convert("RGB").convert("L")


class _Stored:
    """Reads a picture of just so many ``channels``, as they are stored: nothing is converted or composited."""

    MODES = ("L", "LA", "RGB", "RGBA")

    def __init__(self, channels: int, name: str, max_pixels: int) -> None:
        self.channels, self.name, self.max_pixels = channels, name, max_pixels

    def read(self, source: str | Path | BinaryIO | Image.Image | NDArray[np.generic]) -> Pixels:
        if isinstance(source, np.ndarray):
            self._check_array(source.shape, source.dtype)
            return np.ascontiguousarray(source, np.uint8)
        if isinstance(source, Image.Image):
            return self._bands(source)
        with open_regular(source) if isinstance(source, (str, Path)) else nullcontext(source) as file:
            file.seek(0)
            if file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX:
                return self._array(file)
            with Image.open(file, formats=FORMATS) as image:
                return self._bands(image)

    def _array(self, file: BinaryIO) -> Pixels:
        """Read what numpy.save wrote: its header, and the rest only where that is as it must be."""
        file.seek(0)
        version = read_magic(file)
        if version not in _HEADERS:
            raise UnreadableImageError(
                f"{self.name} is a {ARRAY} file of version {version[0]}: write it with numpy.save"
            )
        shape, _, dtype = _HEADERS[version](file)
        self._check_array(shape, dtype)
        file.seek(0)
        return np.ascontiguousarray(np.load(file, allow_pickle=False))

    def _check_array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if dtype != np.uint8 or len(shape) != 3 or shape[2] != self.channels or 0 in shape:
            raise UnreadableImageError(
                f"{self.name} is an array {dtype} {shape}, uint8 (H, W, {self.channels}) is needed"
            )
        _check_size(shape[1], shape[0], self.channels, self.name, self.max_pixels)

    def _bands(self, image: Image.Image) -> Pixels:
        self._check_pages([(_kind(page), _samples(page), page.size) for page in _pages(image)])
        upright = (np.asarray(_as_deep_as_a_byte(_upright(page))) for page in _pages(image))
        return np.concatenate([np.atleast_3d(bands) for bands in upright], axis=2)

    def _check_pages(self, pages: list[tuple[str, int, tuple[int, int]]]) -> None:
        """Hold what the pages say of themselves against what is needed, before one is decoded."""
        kinds, samples, sizes = zip(*pages, strict=True)
        if sum(samples) != self.channels or not all(kind in self.MODES or _is_deep(kind) for kind in kinds):
            has = f"{sum(samples)} channel{'s' if sum(samples) > 1 else ''} ({', '.join(dict.fromkeys(kinds))})"
            rgba = "RGBA, " if self.channels == len("RGBA") else ""
            raise UnreadableImageError(
                f"{self.name} has {has}, {self.channels} are needed: {rgba}a TIFF of {self.channels} grey pages, or a "
                f"{ARRAY} array of uint8 (H, W, {self.channels})"
            )
        if len(set(sizes)) > 1:
            raise UnreadableImageError(f"{self.name} has pages of different sizes: its channels must lie on each other")
        width, height = sizes[0]
        _check_size(width, height, self.channels, self.name, self.max_pixels)


def _pages(image: Image.Image) -> Iterable[Image.Image]:
    return islice(ImageSequence.Iterator(image), MAX_PAGES) if image.format == "TIFF" else [image]


def _samples(page: Image.Image) -> int:
    tags = getattr(page, "tag_v2", {})  # a TIFF has them
    return int(tags.get(_SAMPLES_PER_PIXEL, len(page.getbands())))


def _kind(page: Image.Image) -> str:
    """Give the mode, and whether the page stores more than Pillow reads: near infrared beside R, G and B, say."""
    return page.mode if _samples(page) == len(page.getbands()) else f"{page.mode} and more"


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
    """Turn the picture as its EXIF orientation says.

    ImageOps.exif_transpose also writes the EXIF block anew, and so refuses whole pictures with one odd tag in it.
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


def _is_deep(mode: str) -> bool:
    return mode in ("I", "F") or mode.startswith("I;")


def _as_deep_as_a_byte(image: Image.Image) -> Image.Image:
    return _scaled_to_8_bits(image) if _is_deep(image.mode) else image


def _scaled_to_8_bits(image: Image.Image) -> Image.Image:
    """Bring 16-bit, 32-bit and floating-point grey onto 0 to 255: Pillow's own conversion would clip to white."""
    values = np.array(image, dtype=np.float32)
    highest = float(values.max(initial=0.0, where=np.isfinite(values)))
    # What white is: 65535 in 16 bits; for the wider kinds, which do not say, the nearest usual value above.
    usual = {"I": (255.0, 65535.0), "F": (1.0, 255.0, 65535.0)}.get(image.mode, (65535.0,))
    white = next((value for value in usual if highest <= value), highest)
    if isinstance(transparent := image.info.get("transparency"), int):
        values[values == transparent] = white
    scaled = np.nan_to_num(np.clip(values / white, 0.0, 1.0)) * 255.0
    return Image.fromarray(scaled.round().astype(np.uint8))


def _over_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


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
    """Say what messages call the picture: its file where it has one, always on one printable line."""
    name = source if isinstance(source, (str, Path)) else getattr(source, "name", getattr(source, "filename", None))
    if not name or not isinstance(name, (str, Path)):
        return "the data given"
    return str(name) if str(name).isprintable() else repr(str(name))


@contextmanager
def _errors_of(name: str, max_pixels: int) -> Iterator[None]:
    """Turn whatever Pillow raises on a bad file into one typed, one-line error."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(
            f"{name} has too many pixels, {max_pixels:,} are allowed: shrink it, or raise max_pixels"
        ) from error
    except (UnreadableImageError, ImageTooLargeError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableImageError(f"{name} {_what_is_wrong(error, name)}") from error


_WRONG: dict[type[Exception], str] = {
    FileNotFoundError: "does not exist",
    PermissionError: "may not be read: permission denied",
    UnidentifiedImageError: "is not a picture (JPEG, PNG, WebP, BMP, GIF, TIFF)",
}


def _what_is_wrong(error: Exception, name: str) -> str:
    if isinstance(error, UnidentifiedImageError) and (advice := advice_for(name)):
        return f"is of a kind that is not read: {advice}"
    if isinstance(error, NotARegularFileError):
        return str(error.strerror).replace("a file", "a picture")  # a folder, a FIFO, a device, …
    if type(error) in _WRONG:
        return _WRONG[type(error)]
    if isinstance(error, OSError) and error.errno:
        return f"cannot be read: {error.strerror}"
    return f"is damaged: {' '.join(str(error).split()) or type(error).__name__}"


# Pillow warns above 89 megapixels and refuses above 179, by a global of its own. The check in _check_size is ours;
# Pillow's limit is only lifted, under a lock, by a caller who asked for more than our own limit, which is within
# Pillow's. The global is read under the lock too: outside of it, it may be what another thread lifted it to.
_lifting = threading.Lock()


@contextmanager
def _pillow_limit(max_pixels: int) -> Iterator[None]:
    if max_pixels <= MAX_PIXELS:
        yield
        return
    with _lifting:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
