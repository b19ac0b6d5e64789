"""Any picture → (H, W, 3) uint8 RGB, safely. The one decoder of training, evaluation and prediction."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from googlenet.errors import ImageTooLargeError, UnreadableImageError

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB
ImageSource = str | Path | bytes | BinaryIO | Image.Image | Pixels

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 100_000_000


def decode(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read a picture as (H, W, 3) uint8 RGB.

    JPEG, PNG, WebP, BMP, GIF (first frame) and TIFF, from a path, bytes, an open binary file, a Pillow image or an
    array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8. EXIF orientation is applied; grey, palette and CMYK
    become RGB; 16-bit and floating-point pictures are scaled, not clipped; transparency lies over white.

    Raises:
        UnreadableImageError: not a picture, damaged, cut short, missing, or of a kind not supported.
        ImageTooLargeError: more than ``max_pixels`` pixels; nothing was decoded.

    >>> decode(np.zeros((2, 5), np.uint8)).shape
    (2, 5, 3)
    """
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    name = _name_of(source)
    with _errors_of(name, max_pixels), _pillow_limit(max_pixels):
        if isinstance(source, Image.Image):
            return _to_rgb(source, name, max_pixels)
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        if not (isinstance(stream, (str, Path)) or hasattr(stream, "read")):
            raise UnreadableImageError(
                f"a picture must be a path, bytes, an open binary file, a Pillow image or an array, "
                f"got {type(source).__name__}"
            )
        with Image.open(stream, formats=FORMATS) as image:
            return _to_rgb(image, name, max_pixels)


def _to_rgb(image: Image.Image, name: str, max_pixels: int) -> Pixels:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{name} has {width}×{height} = {width * height:,} pixels, {max_pixels:,} are allowed: "
            "shrink it, or raise max_pixels"
        )
    image = _upright(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = _scaled_to_8_bits(image)
    if image.has_transparency_data:
        return _over_white(image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


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


def _over_white(image: Image.Image) -> Pixels:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))


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
        raise UnreadableImageError(f"{name} {_what_is_wrong(error)}") from error


_WRONG: dict[type[Exception], str] = {
    FileNotFoundError: "does not exist",
    IsADirectoryError: "is a folder, not a picture",
    PermissionError: "may not be read: permission denied",
    UnidentifiedImageError: "is not a picture (JPEG, PNG, WebP, BMP, GIF, TIFF)",
}


def _what_is_wrong(error: Exception) -> str:
    if type(error) in _WRONG:
        return _WRONG[type(error)]
    if isinstance(error, OSError) and error.errno:
        return f"cannot be read: {error.strerror}"
    return f"is damaged: {' '.join(str(error).split()) or type(error).__name__}"


# Pillow warns above 89 megapixels and refuses above 179, by a global of its own. The check in _to_rgb is ours;
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
