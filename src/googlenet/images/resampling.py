"""Resampling, as Pillow's bilinear filter does it, with the vector instructions of the processor where they are there.

No pixel differs from Pillow's by more than one level (of 255). Where no build of ``cykooz_resizer`` exists for a
machine, and for parts of more than 4 megapixels, Pillow does it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from googlenet.images.pixels import COLOURS, Pixels

Box = tuple[float, float, float, float]  # left, top, right, bottom
MAX_PIXELS = 1 << 22  # that are copied to be resampled: an image of the largest size is held twice at most
_MAX_BANDS = 4  # that are resampled at a time


def resample(image: Pixels | Image.Image, size: tuple[int, int], box: Box) -> Pixels:
    """Resize the part inside ``box`` of (H, W, C) uint8, or of an image of mode L or RGB, to ``size`` (width, height).

    Pixels around the box contribute at its edges: anti-aliasing averages over them.
    """
    left, right = _span(box[0], box[2], size[0], _width(image))
    top, bottom = _span(box[1], box[3], size[1], _height(image))
    if not has_vector_resampling() or (right - left) * (bottom - top) > MAX_PIXELS:
        return _by_pillow(image, size, box)
    inner = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    part = _part(image, left, top, right, bottom)
    if part.shape[2] <= _MAX_BANDS:
        return _by_vectors(part, size, inner)
    return np.concatenate([_by_vectors(band[:, :, None], size, inner) for band in np.moveaxis(part, 2, 0)], axis=2)


def _width(image: Pixels | Image.Image) -> int:
    return image.width if isinstance(image, Image.Image) else image.shape[1]


def _height(image: Pixels | Image.Image) -> int:
    return image.height if isinstance(image, Image.Image) else image.shape[0]


def _part(image: Pixels | Image.Image, left: int, top: int, right: int, bottom: int) -> Pixels:
    if isinstance(image, Image.Image):
        return np.atleast_3d(np.asarray(image.crop((left, top, right, bottom))))
    return image[top:bottom, left:right]


def _span(start: float, end: float, count: int, side: int) -> tuple[int, int]:
    """Return the pixels of a side that contribute when ``start`` to ``end`` is resized to ``count`` pixels."""
    reach = max(1.0, (end - start) / count) + 1
    return max(0, math.floor(start - reach)), min(side, math.ceil(end + reach))


@cache
def has_vector_resampling() -> bool:
    """Whether a build of ``cykooz_resizer`` for this machine is installed."""
    try:
        import cykooz_resizer  # noqa: F401
    except ImportError:
        return False
    return True


def _by_vectors(pixels: Pixels, size: tuple[int, int], box: Box) -> Pixels:
    import cykooz_resizer as fast

    (height, width, bands), (left, top, right, bottom) = pixels.shape, box
    kind = (fast.PixelType.U8, fast.PixelType.U8x2, fast.PixelType.U8x3, fast.PixelType.U8x4)[bands - 1]
    source, target = fast.ImageData(width, height, kind, pixels.tobytes()), fast.ImageData(*size, kind)
    fast.Resizer().resize(
        source,
        target,
        fast.ResizeOptions(_bilinear(), use_alpha=False, crop_box=fast.CropBox(left, top, right - left, bottom - top)),
    )
    return np.frombuffer(target.get_buffer(), np.uint8).reshape(size[1], size[0], bands)


@cache
def _bilinear() -> Any:
    import cykooz_resizer as fast

    return fast.ResizeAlg.convolution(fast.FilterType.bilinear)


def _by_pillow(image: Pixels | Image.Image, size: tuple[int, int], box: Box) -> Pixels:
    if isinstance(image, np.ndarray) and image.shape[2] == COLOURS:
        image = Image.fromarray(image)
    if isinstance(image, Image.Image):
        return np.atleast_3d(np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box)))
    # Band by band gives the same pixels, except for RGBA, whose colours Pillow would weight by their opacity.
    bands = (Image.fromarray(band) for band in np.moveaxis(image, 2, 0))
    return np.stack([np.asarray(band.resize(size, Image.Resampling.BILINEAR, box=box)) for band in bands], axis=2)
