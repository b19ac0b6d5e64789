"""Any image → (H, W, C) uint8, RGB by default, safely. The one decoder of training, evaluation and prediction."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from googlenet.errors import UnreadableImageError
from googlenet.images import budget, depth, jpeg
from googlenet.images.budget import Budget
from googlenet.images.convert import from_array, to_array, to_rgb_or_grey
from googlenet.images.failures import explain_errors, lift_pillow_limit, name_of
from googlenet.images.pixels import COLOURS, GREY, ImageSource, Pixels
from googlenet.images.readers import file_of, open_file
from googlenet.images.stored import StoredChannels
from googlenet.preprocessing import ColorProfiles

__all__ = ["COLOURS", "ImageSource", "Pixels", "decode", "open_image", "opened"]

# Pillow's warnings and logs do not help: whatever is wrong becomes an error here. They are switched off for good, since
# catching them for each image is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


def decode(
    source: ImageSource,
    channels: int = COLOURS,
    *,
    at_least: int | None = None,
    max_pixels: int | None = None,
    value_range: depth.ValueRange | None = None,
    color_profiles: ColorProfiles = "applied",
) -> Pixels:
    """Read an image as (H, W, channels) uint8: RGB, or grey if ``channels`` is 1.

    JPEG, PNG, WebP, BMP, GIF (first frame), TIFF, AVIF and (with the ``heic`` extra) HEIC, from a path, bytes, an open
    binary file, a Pillow image or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8. EXIF orientation is
    applied; grey, palette and CMYK become RGB; transparent pixels are composited over white. Grey is the luma of that.
    Other colour spaces are converted to sRGB, unless ``color_profiles`` is ``"ignored"``.

    Deep grey (16 or 32 bits, or floating point) is scaled to 0–255 by the first of: the range in the file (a depth of
    12 bits, a highest sample value); ``value_range``; 0 to 65535 for unsigned 16 bits; else the values of the image
    itself (see :class:`googlenet.images.depth.Extent`). Values outside are clipped. Of 16-bit RGB the upper 8 bits are
    read. The sBIT chunk of a PNG is ignored.

    Any other number of ``channels`` is read as stored, and must match: the bands of a grey image with alpha, RGB or
    RGBA, nothing composited; those of all pages of a TIFF in order; or a uint8 array (H, W, channels), in memory or in
    a ``.npy`` file. Deep pages are scaled one by one, colour profiles are ignored.

    With ``at_least``, a JPEG in a file or in bytes is decoded at 1/8, 1/4 or 1/2 of its size, as long as the shorter
    side keeps ``at_least`` pixels: for a photograph of 12 megapixels and a network that sees 224, in a sixth of the
    time.

    Raises:
        UnreadableImageError: not an image, damaged, truncated, missing, no regular file, or of a format or number of
            channels that is not supported.
        ImageTooLargeError: it has more than ``max_pixels`` pixels (100 million, or GOOGLENET_MAX_MEGAPIXELS; half as
            many for WebP, AVIF and HEIC); too many passes over them; or, with more than 3 channels,
            more bytes than an RGB image of that size. Nothing was decoded.

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
    return found if isinstance(found, np.ndarray) else to_array(found)


def open_image(
    source: ImageSource,
    channels: int = COLOURS,
    *,
    at_least: int | None = None,
    max_pixels: int | None = None,
    value_range: depth.ValueRange | None = None,
    color_profiles: ColorProfiles = "applied",
) -> Image.Image | Pixels:
    """Decode as :func:`decode` does, but without the copy into an array.

    Returns Pillow's image, of mode RGB or L; of an ordinary JPEG, or if ``channels`` is neither 1 nor 3, the array.
    """
    stored = channels not in (GREY, COLOURS)
    limit = Budget(name_of(source), budget.max_pixels() if max_pixels is None else max_pixels)
    with explain_errors(limit.name), lift_pillow_limit(limit.max_pixels):
        if isinstance(source, np.ndarray):
            if stored:
                return StoredChannels(channels, limit, value_range).array(source)
            source = from_array(source)
        if isinstance(source, Image.Image):
            if stored:
                return StoredChannels(channels, limit, value_range).bands(source)
            limit.check_size(source.width, source.height)
            if not source.width * source.height:
                raise UnreadableImageError(f"{limit.name} has no pixels: it is {source.width}×{source.height}")
            return to_rgb_or_grey(source, channels, value_range, color_profiles, ours=False)
        with file_of(source) as file:
            if stored:
                return StoredChannels(channels, limit, value_range).read(file)
            image = jpeg.decoded(open_file(file, limit, at_least), file, channels, color_profiles)
            if isinstance(image, np.ndarray):
                return image
            return to_rgb_or_grey(image, channels, value_range, color_profiles, ours=True)


@contextmanager
def opened(
    source: str | Path | BinaryIO, max_pixels: int | None = None, at_least: int | None = None
) -> Iterator[Image.Image]:
    """Open an image without decoding it, to read its header. Raises what :func:`decode` raises.

    With ``at_least``, a JPEG has the size at which :func:`decode` would decode it.
    """
    limit = Budget(name_of(source), budget.max_pixels() if max_pixels is None else max_pixels)
    with explain_errors(limit.name), lift_pillow_limit(limit.max_pixels), file_of(source) as file:
        yield open_file(file, limit, at_least)
