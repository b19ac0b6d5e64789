"""Images deeper than 8 bits → 8 bits: which values are black and white, by the file or the data set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ValueRange = tuple[float, float]  # what becomes 0 and 255; the first is smaller

STRIP_PIXELS = 1 << 20  # converted at a time: they stay in the cache
MAX_OVERSHOOT = 0.1  # of the range: values of an enlarged image may lie outside
USUAL_WHITES = (1.0, 255.0, 65535.0)  # in floating point
MAX_WORD = 65535  # the highest value of 16 bits
_BITS, _PHOTOMETRIC, _FORMAT, _LOWEST, _HIGHEST = 258, 262, 339, 340, 341  # tags of a TIFF
_UNSIGNED, _SIGNED = 1, 2
_WHITE_IS_ZERO = 0


@dataclass(frozen=True)
class Extent:
    """The lowest and the highest value, and whether values are floating-point."""

    lowest: float
    highest: float
    floating: bool = False

    def __or__(self, other: Extent) -> Extent:
        """Return the extent of both."""
        lowest, highest = min(self.lowest, other.lowest), max(self.highest, other.highest)
        return Extent(lowest, highest, self.floating or other.floating)

    @property
    def usual_range(self) -> ValueRange:
        """The range that is assumed for such values.

        Whole numbers from 0: up to the next 2^n - 1, at least 255. Floating point: up to 1, 255 or 65535, with a
        tolerance of 10 %, else up to the highest. If some are negative: from the lowest to the highest.

        >>> Extent(0, 3000).usual_range, Extent(0.0, 1.02, floating=True).usual_range, Extent(-1000, 2000).usual_range
        ((0.0, 4095.0), (0.0, 1.0), (-1000.0, 2000.0))
        """
        if self.floating:
            white = next((each for each in USUAL_WHITES if self.highest <= each * (1 + MAX_OVERSHOOT)), self.highest)
        else:
            white = float(max(255, 2 ** math.ceil(math.log2(max(self.highest, 0) + 1)) - 1))
        if self.lowest < -MAX_OVERSHOOT * white * self.floating:
            return float(self.lowest), float(max(self.highest, self.lowest + 1))
        return 0.0, white


def is_deep(image: Image.Image) -> bool:
    """Whether the image has more than 8 bits, or signed bytes."""
    return image.mode in ("I", "F") or image.mode.startswith("I;") or _tag(image, _FORMAT) == _SIGNED


def range_in_file(image: Image.Image) -> ValueRange | None:
    """Return the range in the file: by its lowest and highest sample value, or a depth such as 12 bits."""
    lowest, highest = _tag(image, _LOWEST), _tag(image, _HIGHEST)
    if isinstance(highest, (int, float)) and math.isfinite(highest):
        black = float(lowest) if isinstance(lowest, (int, float)) and math.isfinite(lowest) else 0.0
        if black < highest:
            return black, float(highest)
    bits = _tag(image, _BITS)
    return (0.0, float(2**bits - 1)) if image.mode.startswith("I;16") and isinstance(bits, int) and bits < 16 else None


def extent(image: Image.Image) -> Extent:
    """Return the lowest and the highest finite value; 0 and 0 if there is none."""
    found = Extent(0.0, 0.0, image.mode == "F")
    each = [np.array([finite.min(), finite.max()]) for _, values in _strips(image) if (finite := _finite(values)).size]
    if each:
        found = Extent(float(min(low for low, _ in each)), float(max(high for _, high in each)), found.floating)
    return found


def value_range(image: Image.Image, given: ValueRange | None) -> ValueRange:
    """Return what becomes black and white: by the file, else as ``given``, else by its type, or by its values."""
    said = range_in_file(image) or given
    if said is None and image.mode.startswith("I;16"):
        return 0.0, float(MAX_WORD)
    return said or extent(image).usual_range


def described(given: ValueRange) -> str:
    """Describe a range in words.

    >>> described((0.0, 4095.0))
    'deep images: values 0 to 4095 are scaled to 0 to 255'
    """
    black, white = given
    return f"deep images: values {black:.10g} to {white:.10g} are scaled to 0 to 255"


def to_8_bits(image: Image.Image, given: ValueRange | None) -> Image.Image:
    """Scale deep grey to 0–255, mode L. Values outside of the range are clipped; NaN becomes black."""
    image.load()
    black, white = value_range(image, given)
    transparent = image.info.get("transparency")
    scale = _Scale(black, white, _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO, _is_word(image),
                   transparent if isinstance(transparent, int) else None)  # fmt: skip
    scaled, any_finite = Image.new("L", image.size), False
    for top, values in _strips(image):
        any_finite = any_finite or bool(_finite(values).size)
        scaled.paste(Image.fromarray(scale(values)), (0, top))
    if not any_finite:
        raise ValueError("every value is NaN or infinite")
    if profile := image.info.get("icc_profile"):
        scaled.info["icc_profile"] = profile
    return scaled


class _Scale:
    def __init__(self, black: float, white: float, negative: bool, word: bool, transparent: int | None) -> None:
        self.black, self.white, self.negative, self.transparent = black, white, negative, transparent
        self.table = self._scaled(np.arange(MAX_WORD + 1)) if word else None

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        return self._scaled(values) if self.table is None else self.table[values]

    def _scaled(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        scaled = values.astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            scaled -= np.float32(self.black)
            scaled /= np.float32(self.white - self.black)
            np.clip(scaled, 0, 1, out=scaled)
        if self.negative:
            np.subtract(1, scaled, out=scaled)
        scaled *= 255
        np.nan_to_num(scaled, copy=False)
        if self.transparent is not None:
            scaled[values == self.transparent] = 255
        return np.rint(scaled, out=scaled).astype(np.uint8)


def _strips(image: Image.Image) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the values of a few rows at a time, with the number of the first row."""
    rows = max(1, STRIP_PIXELS // max(1, image.width))
    kind = _type_of(image)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        values = np.asarray(strip)
        yield top, values.view(kind) if kind is not None else values


def _type_of(image: Image.Image) -> type[np.generic] | None:
    """Return the type of values that Pillow misreads: unsigned 32 bits, signed bytes."""
    if image.mode == "I" and _tag(image, _BITS) == 32 and _tag(image, _FORMAT) in (None, _UNSIGNED):
        return np.uint32
    return np.int8 if image.mode == "L" else None


def _is_word(image: Image.Image) -> bool:
    return image.mode.startswith("I;16")


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def _tag(image: Image.Image, tag: int) -> Any:
    """Return the first value of a TIFF tag; ``None`` if there is none."""
    found = getattr(image, "tag_v2", {}).get(tag)
    return next(iter(found), None) if isinstance(found, tuple) else found


def joined(extents: Iterable[Extent]) -> Extent | None:
    """Return the extent of all; ``None`` if there are none."""
    whole = None
    for each in extents:
        whole = each if whole is None else whole | each
    return whole
