"""Ordinary JPEGs, decoded by libjpeg-turbo straight into an array: the pixels are Pillow's, with less copying."""

from __future__ import annotations

import os
from typing import BinaryIO

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from googlenet.images import colour
from googlenet.images.budget import MAX_BYTES_PER_PIXEL
from googlenet.images.convert import STRIP_PIXELS, orientation
from googlenet.images.pixels import Pixels
from googlenet.preprocessing import ColorProfiles

MIN_BYTES = 1 << 20  # a file up to this size is read at once, whatever its number of pixels
_SPACES = {"RGB": "RGB", "L": "GRAY"}  # of Pillow's modes


def decoded(image: Image.Image, file: BinaryIO, channels: int, color_profiles: ColorProfiles) -> Image.Image | Pixels:
    """Decode a file that Pillow opened and whose header was checked, if it is an ordinary JPEG.

    Returns the pixels, (H, W, channels) uint8; Pillow's image of them if they are still to be turned or converted; or
    ``image`` unchanged where Pillow should decode it: it is no JPEG in RGB or grey, its file is far larger than its
    pixels need, or it is damaged in any way, which Pillow may forgive, or say what is wrong.
    """
    if type(image) is not JpegImageFile or image.mode not in _SPACES:
        return image
    applied = color_profiles == "applied" and colour.would_change(image)
    converted = applied or orientation(image) != 1 or channels != len(image.getbands())
    if converted and image.width * image.height > STRIP_PIXELS:  # which would be one more whole copy
        return image
    pixels = _pixels_of(image, file)
    if pixels is None:
        return image
    if not converted:
        return pixels
    found = Image.fromarray(pixels if image.mode == "RGB" else pixels[:, :, 0])
    found.info = image.info
    return found


def _pixels_of(image: JpegImageFile, file: BinaryIO) -> Pixels | None:
    scale = image.decoderconfig[0] if image.decoderconfig else 1
    if file.seek(0, os.SEEK_END) > max(MIN_BYTES, MAX_BYTES_PER_PIXEL * image.width * image.height * scale**2):
        return None
    import simplejpeg

    file.seek(0)
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            file.read(), _SPACES[image.mode], min_height=image.height, min_width=image.width, min_factor=scale
        )
    except ValueError:
        return None
    return pixels if pixels.shape[:2] == (image.height, image.width) else None
