"""One picture → what the doctor keeps of it: its size, format, hashes. Nothing that grows with its pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from googlenet.files import open_regular
from googlenet.images.decode import FORMATS, Pixels, decode, orientation

HASH_SIDE = 16  # the perceptual hash has 16 × 16 bits
SAMPLED = 256  # pixels a side that colour and contrast are told from
BLANK = 2.0  # standard deviation of the grey levels of a picture that shows nothing, 0 to 127
CHUNK = 1 << 20
SUFFIXES_OF = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif"),  # a JPEG with further pictures behind it, as telephones write it
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture to look at. ``name`` is its place below DATA; ``split`` is empty where there is none yet."""

    name: str
    source: Path | Pixels
    split: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a picture. ``file`` and ``pixels`` are sha256, of its bytes and as decoded.

    ``phash`` (32,) uint8 holds the 256 bits of its perceptual hash. ``format`` is Pillow's name, empty where there
    is no file.
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


def look(entry: Entry) -> Look:
    """Look at one picture. Raises :class:`ImageError` when it cannot be read."""
    source = entry.source
    kind, turned, file = "", False, b""
    if isinstance(source, Path):
        pixels = decode(source)
        with open_regular(source) as opened, Image.open(opened, formats=FORMATS) as image:
            kind, turned = image.format or "", orientation(image) != 1
        file = _sha256(source)
    else:
        pixels = source
    height, width = pixels.shape[:2]
    step = max(1, min(height, width) // SAMPLED)
    some = pixels[::step, ::step].astype(np.int16)
    return Look(
        entry, width, height, kind, turned,
        grey=bool((some == some[:, :, :1]).all()),
        blank=bool(some.std(axis=(0, 1)).max() < BLANK),
        file=file,
        pixels=hashlib.sha256(np.ascontiguousarray(pixels).tobytes() + f"{width}×{height}".encode()).digest(),
        phash=np.packbits(imagehash.phash(Image.fromarray(pixels), HASH_SIDE).hash),
    )  # fmt: skip


def _sha256(path: Path) -> bytes:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.digest()
