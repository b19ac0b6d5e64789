"""One image → the facts that ``doctor`` keeps: size, format, hashes. Nothing that grows with the number of pixels."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from googlenet.files import open_regular
from googlenet.images import colour, depth
from googlenet.images.convert import orientation
from googlenet.images.decode import decode, opened
from googlenet.images.pixels import Pixels

HASH_SIDE = 16  # the perceptual hash has 16 × 16 bits
MAX_HASHED_PIXELS = 1 << 24  # of a larger image every second pixel, or fewer, is hashed
SAMPLED_SIDE = 256  # pixels of a side that colour and contrast are computed from
BLANK_DEVIATION = 2.0  # grey levels (0 to 127): the largest standard deviation of an image that shows nothing
CHUNK = 1 << 20
SUFFIXES_OF = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif"),  # a JPEG followed by further images, as phones write it
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """An image to read. ``name`` is its path below DATA; ``split`` is empty if there is none yet."""

    name: str
    source: Path | Pixels
    split: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What was measured of an image. ``file`` and ``pixels`` are sha256 of its bytes, and of its decoded pixels.

    ``phash`` (32,) uint8 has the 256 bits of its perceptual hash. ``format`` is Pillow's name, empty if there is no
    file.

    Of an image deeper than 8 bits, ``values`` are the lowest and the highest, and ``value_range`` black and white
    according to its file, ``None`` if it does not say. ``ignored_profile`` is why its colour profile is not applied.
    """

    entry: Entry
    width: int
    height: int
    format: str
    turned: bool
    grey: bool
    blank: bool
    file: bytes
    pixels: bytes
    phash: Pixels
    values: depth.Extent | None = None
    value_range: depth.ValueRange | None = None
    ignored_profile: str | None = None


def look(entry: Entry) -> ImageFacts:
    """Read one image. Raises :class:`ImageError` if it cannot be read."""
    source = entry.source
    kind, turned, file = "", False, b""
    values = value_range = ignored_profile = None
    if isinstance(source, Path):
        with opened(source) as image:
            kind, turned = image.format or "", orientation(image) != 1
            ignored_profile = colour.ignored_profile(image)
            if depth.is_deep(image):
                values, value_range = depth.extent(image), depth.range_in_file(image)
        pixels = decode(source)
        file = _sha256(source)
    else:
        pixels = source
    height, width = pixels.shape[:2]
    step = max(1, min(height, width) // SAMPLED_SIDE)
    some = pixels[::step, ::step].astype(np.int16)
    return ImageFacts(
        entry, width, height, kind, turned,
        grey=bool((some == some[:, :, :1]).all()),
        blank=bool(some.std(axis=(0, 1)).max() < BLANK_DEVIATION),
        file=file,
        pixels=_sha256_of(pixels),
        phash=_perceptual_hash(pixels),
        values=values,
        value_range=value_range,
        ignored_profile=ignored_profile,
    )  # fmt: skip


def _perceptual_hash(pixels: Pixels) -> Pixels:
    step = math.isqrt(pixels.shape[0] * pixels.shape[1] // MAX_HASHED_PIXELS) + 1  # copying all would cost too much
    image = Image.fromarray(np.ascontiguousarray(pixels[::step, ::step]))
    return np.packbits(imagehash.phash(image, HASH_SIDE).hash)


def _sha256_of(pixels: Pixels) -> bytes:
    digest = hashlib.sha256(np.ascontiguousarray(pixels).data)
    digest.update(f"{pixels.shape[1]}×{pixels.shape[0]}".encode())
    return digest.digest()


def _sha256(path: Path) -> bytes:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.digest()
