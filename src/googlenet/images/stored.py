"""Images of any number of channels, as they are stored: pages of a TIFF, bands, arrays. Nothing is converted."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.format import MAGIC_PREFIX, read_array_header_1_0, read_array_header_2_0, read_magic
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from googlenet.errors import UnreadableImageError
from googlenet.images import depth
from googlenet.images.budget import Budget
from googlenet.images.convert import to_byte_depth, upright
from googlenet.images.failures import TRUNCATED
from googlenet.images.pixels import ARRAY, Pixels
from googlenet.images.readers import READ, open_file

MAX_EXTRA_PAGES = 64  # of a TIFF, beyond those that it may have, that are counted to say how many there are


class StoredChannels:
    """Reads an image that must have just so many ``channels``. Raises :class:`UnreadableImageError` otherwise."""

    MODES = ("L", "LA", "RGB", "RGBA")

    def __init__(self, channels: int, limit: Budget, value_range: depth.ValueRange | None) -> None:
        self.channels, self.limit, self.value_range = channels, limit, value_range
        self._most_pages = channels + MAX_EXTRA_PAGES

    def read(self, file: BinaryIO) -> Pixels:
        """Read an image file or a ``.npy`` file: (H, W, channels)."""
        if file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX:
            return self._array_file(file)
        file.seek(0)
        return self.bands(open_file(file, self.limit, None, f"{READ}, or a {ARRAY} array"))

    def array(self, given: NDArray[np.generic]) -> Pixels:
        """Check an array: uint8 (H, W, channels)."""
        self._check_array(given.shape, given.dtype)
        return np.ascontiguousarray(given, np.uint8)

    def _array_file(self, file: BinaryIO) -> Pixels:
        """Read what numpy.save wrote: its header, and the rest only if the header is right."""
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        try:
            version = read_magic(file)
            if version not in _HEADERS:
                raise UnreadableImageError(
                    f"{self.limit.name} is a {ARRAY} file of version {version[0]}: write it with numpy.save"
                )
            shape, _, dtype = _HEADERS[version](file)
        except ValueError as error:
            raise ValueError(TRUNCATED if file.tell() == size else f"its {ARRAY} header is damaged") from error
        self._check_array(shape, dtype)
        if size - file.tell() < math.prod(shape):
            raise ValueError(TRUNCATED)
        file.seek(0)
        return np.ascontiguousarray(np.load(file, allow_pickle=False))

    def _check_array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if dtype != np.uint8 or len(shape) != 3 or shape[2] != self.channels or 0 in shape:
            raise UnreadableImageError(
                f"{self.limit.name} is an array {dtype} {shape}, uint8 (H, W, {self.channels}) is needed"
            )
        self.limit.check_size(shape[1], shape[0], channels=self.channels)

    def bands(self, image: Image.Image) -> Pixels:
        """Stack the bands of all pages of an image: (H, W, channels)."""
        self._check_pages([(_kind(page), _samples(page), page.size) for page in self._pages(image)])
        pixels: Pixels | None = None
        first = 0
        for page in self._pages(image):
            bands = np.atleast_3d(np.asarray(to_byte_depth(upright(page), self.value_range)))
            if pixels is None:
                pixels = np.empty((*bands.shape[:2], self.channels), np.uint8)
            pixels[:, :, first : first + bands.shape[2]] = bands
            first += bands.shape[2]
        assert pixels is not None
        return pixels

    def _pages(self, image: Image.Image) -> Iterable[Image.Image]:
        """Return the pages of a TIFF, but not many more than there may be: each has at least one channel."""
        return islice(ImageSequence.Iterator(image), self._most_pages) if image.format == "TIFF" else [image]

    def _check_pages(self, pages: list[tuple[str, int, tuple[int, int]]]) -> None:
        """Check the headers of all pages before one is decoded."""
        kinds, samples, sizes = zip(*pages, strict=True)
        wrong = [kind for kind in dict.fromkeys(kinds) if kind not in (*self.MODES, _DEEP)]
        if wrong or sum(samples) != self.channels:
            more = " or more" if len(pages) == self._most_pages else ""
            has = f"{sum(samples)}{more} channel{'s' if sum(samples) > 1 else ''} ({', '.join(dict.fromkeys(kinds))})"
            needed = f"{self.channels} are needed:"
            if sum(samples) == self.channels:
                needed = f"but {', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} not read as channels: give"
            rgba = "RGBA, " if self.channels == len("RGBA") else ""
            raise UnreadableImageError(
                f"{self.limit.name} has {has}, {needed} {rgba}a TIFF of {self.channels} grey pages, "
                f"or a {ARRAY} array of uint8 (H, W, {self.channels})"
            )
        if len(set(sizes)) > 1:
            raise UnreadableImageError(
                f"{self.limit.name} has pages of different sizes: its channels must lie on each other"
            )
        width, height = sizes[0]
        self.limit.check_size(width, height, channels=self.channels)


_DEEP = "deep grey"


def _samples(page: Image.Image) -> int:
    tags = getattr(page, "tag_v2", {})  # a TIFF has them
    return int(tags.get(_SAMPLES_PER_PIXEL, len(page.getbands())))


def _kind(page: Image.Image) -> str:
    """Return the mode, and whether the page stores more than Pillow reads, such as near infrared beside R, G and B."""
    kind = _DEEP if depth.is_deep(page) else page.mode
    return kind if _samples(page) == len(page.getbands()) else f"{kind} and more"


_SAMPLES_PER_PIXEL = 277
_HEADERS = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
