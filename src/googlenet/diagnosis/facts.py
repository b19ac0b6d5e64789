"""One image → what the doctor keeps of it: its size, format, hashes. Nothing that grows with its pixels."""

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
HASHED_PIXELS = 1 << 24  # of an image as large as this or larger every second pixel, or fewer, is hashed
SAMPLED = 256  # pixels a side that colour and contrast are told from
BLANK = 2.0  # standard deviation of the grey levels of an image that shows nothing, 0 to 127
CHUNK = 1 << 20
SUFFIXES_OF = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif"),  # a JPEG with further images behind it, as telephones write it
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
    """An image to look at. ``name`` is its place below DATA; ``split`` is empty where there is none yet."""

    name: str
    source: Path | Pixels
    split: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What was seen of an image. ``file`` and ``pixels`` are sha256, of its bytes and as decoded.

    ``phash`` (32,) uint8 holds the 256 bits of its perceptual hash. ``format`` is Pillow's name, empty where there
    is no file.

    Of an image deeper than 8 bits ``values`` are the lowest and the highest, and ``value_range`` what its file says is
    black and white, ``None`` where it does not. ``ignored_profile`` says why its colour profile is not applied.
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
    """Look at one image. Raises :class:`ImageError` when it cannot be read."""
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
    step = max(1, min(height, width) // SAMPLED)
    some = pixels[::step, ::step].astype(np.int16)
    return ImageFacts(
        entry, width, height, kind, turned,
        grey=bool((some == some[:, :, :1]).all()),
        blank=bool(some.std(axis=(0, 1)).max() < BLANK),
        file=file,
        pixels=_sha256_of(pixels),
        phash=_perceptual_hash(pixels),
        values=values,
        value_range=value_range,
        ignored_profile=ignored_profile,
    )  # fmt: skip


def _perceptual_hash(pixels: Pixels) -> Pixels:
    step = math.isqrt(pixels.shape[0] * pixels.shape[1] // HASHED_PIXELS) + 1  # a copy of all would cost too much
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
