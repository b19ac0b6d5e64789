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


def to_colour(pixels: Pixels) -> Pixels:
    """Return (H, W, C) as (H, W, 3): grey as grey, and the first three of other channels as red, green and blue.

    >>> to_colour(np.full((1, 1, 1), 7, np.uint8)).tolist(), to_colour(np.zeros((4, 6, 5), np.uint8)).shape
    ([[[7, 7, 7]]], (4, 6, 3))
    """
    if pixels.shape[2] < COLOURS:
        return np.repeat(pixels[:, :, :1], COLOURS, axis=2)
    return np.ascontiguousarray(pixels[:, :, :COLOURS])


def suffixes(channels: int = COLOURS) -> frozenset[str]:
    """Return the suffixes of files that are read as images of that many channels.

    >>> sorted(suffixes(5) - suffixes(3))
    ['.npy']
    """
    return SUFFIXES if channels in (GREY, COLOURS) else SUFFIXES | {ARRAY}
