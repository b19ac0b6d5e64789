"""Pillow's image → upright RGB or grey of 8 bits. At most two whole copies exist at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from googlenet.errors import UnreadableImageError
from googlenet.images import colour, depth
from googlenet.images.pixels import COLOURS, Pixels
from googlenet.preprocessing import ColorProfiles

STRIP_PIXELS = 1 << 22  # converted at a time, so that no more than two whole copies exist


def to_rgb_or_grey(
    image: Image.Image,
    channels: int,
    value_range: depth.ValueRange | None,
    color_profiles: ColorProfiles,
    *,
    ours: bool,
) -> Image.Image:
    """Convert an image to RGB or grey. ``ours``: nobody else uses it, so it may be changed in place."""
    image = to_byte_depth(upright(image), value_range)
    if color_profiles == "applied" and image.info.get("icc_profile"):
        image = colour.to_srgb(image, in_place=ours)
    if image.has_transparency_data:
        image = _over_white(image)
    if channels == COLOURS:
        return image if image.mode == "RGB" else image.convert("RGB")
    return image if image.mode == "L" else image.convert("RGB").convert("L")


def to_array(image: Image.Image) -> Pixels:
    """Copy the pixels of an image: (H, W, C) uint8."""
    if image.width * image.height <= STRIP_PIXELS:
        return np.atleast_3d(np.asarray(image))
    pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for top, strip in _strips(image):
        pixels[top : top + strip.height] = np.atleast_3d(np.asarray(strip))
    return pixels


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, STRIP_PIXELS // image.width)
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation.

    ImageOps.exif_transpose also rewrites the EXIF block, and so fails on good images with one odd tag in it.
    """
    image.load()
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; 1 if there is none, or an invalid one."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - whatever is wrong with the EXIF block, the pixels are whole
        return 1
    return found if found in _TURNS else 1


def to_byte_depth(image: Image.Image, value_range: depth.ValueRange | None) -> Image.Image:
    """Scale deep grey to 8 bits; return any other image as it is."""
    return depth.to_8_bits(image, value_range) if depth.is_deep(image) else image


def _over_white(image: Image.Image) -> Image.Image:
    whole = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        rgba = strip.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        whole.paste(Image.alpha_composite(white, rgba).convert("RGB"), (0, top))
    return whole


def from_array(array: NDArray[np.generic]) -> Image.Image:
    """Turn a uint8 array into Pillow's image. Raises :class:`UnreadableImageError` for another type or shape."""
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
