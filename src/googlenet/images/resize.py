"""A decoded picture → the exact pixels a network sees: the same in validation, evaluation and prediction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from googlenet.card import Preprocessing, ToSquare
from googlenet.images.decode import COLOURS, ImageSource, Pixels, decode, open_picture

MID_GREY = 127  # of every channel: what stands where there is no picture
Box = tuple[float, float, float, float]  # left, top, right, bottom


def see(source: ImageSource, rule: Preprocessing) -> Pixels:
    """Read, resize and crop a picture to (size, size, C) uint8: what a network sees of it.

    The pixels of ``prepare(read(source, rule, rule.resize), rule)``, with less copying. Raises :class:`ImageError`
    where the picture cannot be read.
    """
    opened = open_picture(
        source, rule.channels, at_least=rule.resize, value_range=rule.value_range, color_profiles=rule.color_profiles
    )
    return prepare(opened, rule)


def read(source: ImageSource, rule: Preprocessing, at_least: int | None = None) -> Pixels:
    """Decode a picture as the rule says of its channels, values and colours: (H, W, C) uint8, of its own size."""
    return decode(
        source, rule.channels, at_least=at_least, value_range=rule.value_range, color_profiles=rule.color_profiles
    )


def prepare(pixels: Pixels | Image.Image, rule: Preprocessing) -> Pixels:
    """Resize and crop (H, W, C) uint8 to (size, size, C) uint8. Normalisation is inside the network's graph.

    >>> prepare(np.zeros((30, 50, 3), np.uint8), Preprocessing(size=24)).shape
    (24, 24, 3)
    """
    return _changed(pixels, lambda image: _prepared(image, rule))


def resized(pixels: Pixels, side: int, box: Box) -> Pixels:
    """Resize the part of (H, W, C) uint8 inside ``box`` to (side, side, C) uint8.

    >>> resized(np.zeros((30, 50, 3), np.uint8), 24, (10.5, 0.0, 40.5, 30.0)).shape
    (24, 24, 3)
    """
    return _changed(pixels, lambda image: image.resize((side, side), Image.Resampling.BILINEAR, box=box))


def _changed(pixels: Pixels | Image.Image, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    if isinstance(pixels, Image.Image):
        return np.atleast_3d(np.asarray(change(pixels)))
    if pixels.shape[2] == COLOURS:
        return np.asarray(change(Image.fromarray(pixels)))
    # Band by band, which gives the same pixels; but Pillow would weigh the colours of RGBA by their opacity.
    return np.stack([np.asarray(change(Image.fromarray(band))) for band in np.moveaxis(pixels, 2, 0)], axis=2)


def _prepared(image: Image.Image, rule: Preprocessing) -> Image.Image:
    whole = crop_box(image.width, image.height, rule)
    seen = inside(whole, image.width, image.height)
    wide = max(round(rule.size * (seen[2] - seen[0]) / (whole[2] - whole[0])), 1)
    high = max(round(rule.size * (seen[3] - seen[1]) / (whole[3] - whole[1])), 1)
    # One resampling of the part that survives the crop gives the pixels of resizing first and cropping then.
    return _centred(image.resize((wide, high), Image.Resampling.BILINEAR, box=seen), rule.size)


def crop_box(width: int, height: int, rule: Preprocessing) -> Box:
    """Find what the network sees of a picture: left, top, right, bottom in the picture's own pixels.

    With ``fit="pad"`` the box reaches beyond the picture.

    >>> crop_box(500, 400, Preprocessing(size=224, crop_fraction=0.875))
    (75.0, 25.0, 425.0, 375.0)
    >>> crop_box(500, 400, Preprocessing(size=224, fit="pad"))
    (0.0, -50.0, 500.0, 450.0)
    """
    square = {"crop": (min(width, height),) * 2, "pad": (max(width, height),) * 2, "squash": (width, height)}
    wide, high = (side * rule.size / rule.resize for side in square[rule.fit])
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


def inside(box: Box, width: int, height: int) -> Box:
    """Give the part of a box that lies inside the picture."""
    left, top, right, bottom = box
    return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))


def whole_square(pixels: Pixels, fit: ToSquare, at_most: int) -> Pixels:
    """Make a picture square before a random crop is taken of it, as ``fit`` says; ``"crop"`` leaves that to the crop.

    Its side is the picture's longer one, but not above ``at_most`` pixels: the square of a panorama fills no memory.

    >>> whole_square(np.zeros((30, 50, 3), np.uint8), "pad", at_most=224).shape
    (50, 50, 3)
    """
    if fit == "crop":
        return pixels
    return prepare(pixels, Preprocessing(min(max(pixels.shape[:2]), at_most), fit=fit))


def _centred(image: Image.Image, side: int) -> Image.Image:
    if image.size == (side, side):
        return image
    square = Image.new(image.mode, (side, side), (MID_GREY,) * len(image.getbands()))
    square.paste(image, (round((side - image.width) / 2), round((side - image.height) / 2)))
    return square
