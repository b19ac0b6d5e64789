"""What an image is: pixels as an array, where they come from, and the suffixes of files that are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from googlenet.images import budget

Pixels = NDArray[np.uint8]  # (H, W, C): RGB where C is 3, grey where it is 1
ImageSource = str | Path | bytes | BinaryIO | Image.Image | Pixels


def as_shown(pixels: Pixels) -> Pixels:
    """Return what Pillow and Matplotlib show of an image (H, W, C): (H, W, 3), or (H, W) of a grey image.

    Of other channels the first three are red, green and blue; of two the first is grey.
    """
    return np.ascontiguousarray(pixels[:, :, :COLOURS] if pixels.shape[2] >= COLOURS else pixels[:, :, 0])


def as_rgb(pixels: Pixels) -> Pixels:
    """Return :func:`as_shown` as (H, W, 3), grey as grey."""
    shown = as_shown(pixels)
    return shown if shown.ndim == 3 else np.repeat(shown[:, :, None], COLOURS, axis=2)


class CalledPath(str):
    """The path of a file that has another name in messages: one from an archive, in a temporary folder."""

    called: str

    def __new__(cls, path: str | Path, called: str) -> CalledPath:  # noqa: D102
        made = super().__new__(cls, path)
        made.called = called
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return CalledPath, (str(self), self.called)


SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif"}
)
ARRAY = ".npy"
GREY, COLOURS = 1, budget.COLOURS  # channels that any image can be converted to


def suffixes(channels: int = COLOURS) -> frozenset[str]:
    """Return the suffixes of files that are read as images of that many channels.

    >>> sorted(suffixes(5) - suffixes(3))
    ['.npy']
    """
    return SUFFIXES if channels in (GREY, COLOURS) else SUFFIXES | {ARRAY}
