"""A decoded image → the exact pixels that a network sees: the same in validation, evaluation and prediction."""

from __future__ import annotations

import numpy as np
from PIL import Image

from googlenet.images.decode import decode, open_image
from googlenet.images.pixels import ImageSource, Pixels
from googlenet.images.resampling import Box, resample
from googlenet.preprocessing import Preprocessing, ResizeMode

MID_GREY = 127  # of every channel, where there is no image


def open_for(source: ImageSource, preprocessing: Preprocessing) -> Image.Image | Pixels:
    """Read an image as :func:`load_image` does, before it is resized and cropped: a JPEG only as large as needed."""
    return open_image(
        source,
        preprocessing.channels,
        at_least=preprocessing.resized_side,
        value_range=preprocessing.value_range,
        color_profiles=preprocessing.color_profiles,
    )


def load_image(source: ImageSource, preprocessing: Preprocessing) -> Pixels:
    """Read, resize and crop an image to (size, size, C) uint8: what a network sees.

    The pixels are those of :func:`resize_and_crop` of the decoded image, with less copying. Raises
    :class:`ImageError` if the image cannot be read.
    """
    return resize_and_crop(open_for(source, preprocessing), preprocessing)


def read(source: ImageSource, preprocessing: Preprocessing, at_least: int | None = None) -> Pixels:
    """Decode an image with the channels, value range and colours of ``preprocessing``: (H, W, C) uint8."""
    return decode(
        source,
        preprocessing.channels,
        at_least=at_least,
        value_range=preprocessing.value_range,
        color_profiles=preprocessing.color_profiles,
    )


def resize_and_crop(pixels: Pixels | Image.Image, preprocessing: Preprocessing) -> Pixels:
    """Resize and crop (H, W, C) uint8 to (size, size, C) uint8. Normalisation is inside the network's graph.

    >>> resize_and_crop(np.zeros((30, 50, 3), np.uint8), Preprocessing(size=24)).shape
    (24, 24, 3)
    """
    width, height = pixels.size if isinstance(pixels, Image.Image) else pixels.shape[1::-1]
    return cut(pixels, preprocessing.size, crop_box(width, height, preprocessing))


def cut(pixels: Pixels | Image.Image, size: int, box: Box) -> Pixels:
    """Resize the part of (H, W, C) uint8 inside ``box`` to (size, size, C) uint8; grey where the box leaves the image.

    >>> cut(np.zeros((30, 50, 3), np.uint8), 24, (0.0, -10.0, 50.0, 40.0))[0, 0].tolist()
    [127, 127, 127]
    """
    width, height = pixels.size if isinstance(pixels, Image.Image) else pixels.shape[1::-1]
    seen = inside(box, width, height)
    wide = max(round(size * (seen[2] - seen[0]) / (box[2] - box[0])), 1)
    high = max(round(size * (seen[3] - seen[1]) / (box[3] - box[1])), 1)
    # Resampling only the part that survives the crop gives the same pixels as resizing first and then cropping.
    return _centred(resample(pixels, (wide, high), seen), size)


def crop_and_resize(pixels: Pixels, side: int, box: Box) -> Pixels:
    """Resize the part of (H, W, C) uint8 inside ``box`` to (side, side, C) uint8.

    >>> crop_and_resize(np.zeros((30, 50, 3), np.uint8), 24, (10.5, 0.0, 40.5, 30.0)).shape
    (24, 24, 3)
    """
    return resample(pixels, (side, side), box)


def crop_box(width: int, height: int, preprocessing: Preprocessing) -> Box:
    """Return the part of an image that the network sees: left, top, right, bottom in pixels of the image.

    With ``resize="pad"`` the box is larger than the image.

    >>> crop_box(500, 400, Preprocessing(size=224, crop_fraction=0.875))
    (75.0, 25.0, 425.0, 375.0)
    >>> crop_box(500, 400, Preprocessing(size=224, resize="pad"))
    (0.0, -50.0, 500.0, 450.0)
    """
    share = preprocessing.size / preprocessing.resized_side
    wide, high = (side * share for side in square_sides(width, height, preprocessing.resize))
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


def square_sides(width: int, height: int, resize: ResizeMode) -> tuple[int, int]:
    """Return width and height of the part of an image that becomes a square, before any crop, in its pixels.

    >>> square_sides(500, 400, "crop"), square_sides(500, 400, "pad"), square_sides(500, 400, "squash")
    ((400, 400), (500, 500), (500, 400))
    """
    sides = {"crop": (min(width, height),) * 2, "pad": (max(width, height),) * 2, "squash": (width, height)}
    wide, high = sides[resize]
    return wide, high


def inside(box: Box, width: int, height: int) -> Box:
    """Return the part of a box that is inside the image."""
    left, top, right, bottom = box
    return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))


def make_square(pixels: Pixels, resize: ResizeMode, at_most: int) -> Pixels:
    """Make an image square before a random crop, by ``resize``; ``"crop"`` leaves it as it is.

    Its side is the longer one of the image, but at most ``at_most`` pixels: a panorama must not fill the memory.

    >>> make_square(np.zeros((30, 50, 3), np.uint8), "pad", at_most=224).shape
    (50, 50, 3)
    """
    if resize == "crop":
        return pixels
    return resize_and_crop(pixels, Preprocessing(min(max(pixels.shape[:2]), at_most), resize=resize))


def _centred(pixels: Pixels, side: int) -> Pixels:
    high, wide, channels = pixels.shape
    if (high, wide) == (side, side):
        return pixels
    square = np.full((side, side, channels), MID_GREY, np.uint8)
    left, top = round((side - wide) / 2), round((side - high) / 2)
    square[top : top + high, left : left + wide] = pixels
    return square
