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
from PIL import Image, ImageOps, UnidentifiedImageError

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
    name = str(source) if isinstance(source, (str, Path)) else "the picture"
    with _errors_of(name), _pillow_limit(max_pixels):
        if isinstance(source, Image.Image):
            return _to_rgb(source, name, max_pixels)
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(stream, formats=FORMATS) as image:
            return _to_rgb(image, name, max_pixels)


def _to_rgb(image: Image.Image, name: str, max_pixels: int) -> Pixels:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{name} has {width}×{height} = {width * height:,} pixels, {max_pixels:,} are allowed: "
            "shrink it, or raise max_pixels"
        )
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = _scaled_to_8_bits(image)
    if image.has_transparency_data:
        return _over_white(image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _scaled_to_8_bits(image: Image.Image) -> Image.Image:
    """Bring 16-bit, 32-bit and floating-point grey onto 0 to 255: Pillow's own conversion would clip to white."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    highest = float(values.max(initial=0.0))
    if image.mode == "F":
        full = 1.0 if highest <= 1.0 else 255.0 if highest <= 255.0 else max(highest, 65535.0)
    else:
        full = 65535.0 if highest <= 65535.0 else 2.0**32 - 1
    return Image.fromarray((np.clip(values / full, 0.0, 1.0) * 255.0).round().astype(np.uint8))


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


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises on a bad file into one typed, one-line error."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(f"{name}: {error}") from error
    except (UnreadableImageError, ImageTooLargeError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise UnreadableImageError(f"{name} does not exist") from error
    except IsADirectoryError as error:
        raise UnreadableImageError(f"{name} is a folder, not a picture") from error
    except PermissionError as error:
        raise UnreadableImageError(f"{name} may not be read: permission denied") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"{name} is not a picture (JPEG, PNG, WebP, BMP, GIF, TIFF)") from error
    except Exception as error:
        raise UnreadableImageError(f"{name} is damaged: {str(error) or type(error).__name__}") from error


# Pillow warns above 89 megapixels and refuses above 179, by a global of its own. The check in _to_rgb is ours;
# Pillow's limit is only lifted, under a lock, by a caller who asked for more than Pillow allows.
_lifting = threading.Lock()


@contextmanager
def _pillow_limit(max_pixels: int) -> Iterator[None]:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is None or max_pixels <= 2 * limit:
        yield
        return
    with _lifting:
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
