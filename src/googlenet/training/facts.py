"""What the training images are like, as far as it decides how to train: a few of them are looked at. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from googlenet.data.image_set import LabelledData, LabelledImage
from googlenet.errors import ImageError
from googlenet.images.decode import opened
from googlenet.images.pixels import COLOURS, GREY, Pixels
from googlenet.parallel import in_batches

MAX_SAMPLED = 96  # images that are looked at, spread evenly over the classes
SAMPLED_SIDE = 384  # pixels of the shorter side from which on a JPEG is decoded smaller: thin lines stay dark
MAJORITY = 0.9  # of the images that must be of a kind

# Of an image of ink on a ground: most pixels are of the ground, and most of the others differ clearly from it.
GREY_SPREAD, COLOURLESS_SPREAD = 2, 16.0  # grey levels between the channels: at most, and on average
NEAR, FAR, MIN_GROUND, MIN_INK = 40, 96, 0.4, 0.01  # grey levels from the ground, and shares of the pixels
LIGHT_GROUND, MAX_GLYPH_SIDE = 160, 40  # paper is light; single characters, which are small, may be on a dark ground


@dataclass(frozen=True)
class Facts:
    """What is known of labelled images before they are trained on.

    Attributes:
        train, val: images to train on, and held out.
        classes: their number.
        smallest, largest: training images of the smallest class that has any, and of the largest class.
        multi_label: an image may be of several classes.
        side: median of the shorter side of the training images, in pixels; ``None`` where none could be read.
        aspect: median of their longer side as a multiple of the shorter one.
        channels: in which they are read: 1, 3, or as the files have them.
        grey: no image has colours.
        ink: they are ink on paper, or single characters: nearly no colours, on a ground of one brightness.
    """

    train: int
    val: int
    classes: int
    smallest: int
    largest: int
    multi_label: bool = False
    side: int | None = None
    channels: int = COLOURS
    grey: bool = False
    ink: bool = False
    aspect: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Return what ``run.json`` records."""
        return asdict(self)


@dataclass(frozen=True)
class _Look:
    """One image: its sides, and whether it is grey, and ink on a ground; ``None`` where that is unknown."""

    side: int
    longer: int
    grey: bool | None = None
    ink: bool | None = None


def facts_of(data: LabelledData, channels: int = COLOURS) -> Facts:
    """Look at up to 96 training images; those that cannot be read are left out here, and reported in training."""
    counts = [count for count in data.train.counts().values() if count]
    some = data.train.evenly(MAX_SAMPLED)
    looks = [
        found
        for batch in in_batches(lambda item: _look(item, channels), some, 8)
        for _, found in batch
        if isinstance(found, _Look)
    ]
    grey = [look.grey for look in looks if look.grey is not None]
    ink = [look.ink for look in looks if look.ink is not None]
    return Facts(
        train=len(data.train), val=len(data.val), classes=len(data.class_names), smallest=min(counts, default=0),
        largest=max(counts, default=0), multi_label=data.multi_label,
        side=round(median(look.side for look in looks)) if looks else None, channels=channels,
        grey=bool(grey) and all(grey), ink=bool(ink) and sum(ink) >= MAJORITY * len(ink),
        aspect=round(median(look.longer / look.side for look in looks), 3) if looks else 1.0,
    )  # fmt: skip


def _look(item: LabelledImage, channels: int) -> _Look:
    if channels not in (GREY, COLOURS):
        return _Look(*sorted(item.read(channels).shape[:2]))
    if item.pixels is None:
        assert item.path is not None
        with opened(item.path) as image:
            side, longer = sorted(image.size)
    else:
        side, longer = sorted(item.pixels.shape[:2])
    try:
        pixels = item.read(at_least=SAMPLED_SIDE)
    except ImageError:
        return _Look(side, longer)
    return _Look(side, longer, is_grey(pixels), is_ink(pixels, side))


def is_grey(pixels: Pixels) -> bool:
    """Whether an image (H, W, 3) has no colours, but for rounding.

    >>> is_grey(np.full((4, 4, 3), 7, np.uint8))
    True
    """
    return bool(_spread(pixels).max(initial=0) <= GREY_SPREAD)


def is_ink(pixels: Pixels, side: int) -> bool:
    """Whether an image (H, W, 3) of this shorter ``side`` is ink on a ground of one brightness.

    >>> page = np.full((64, 64, 3), 250, np.uint8)
    >>> page[8:12, 4:60] = 20
    >>> is_ink(page, 64), is_ink(255 - page, 64), is_ink(np.full_like(page, 250), 64)
    (True, False, False)
    """
    if not pixels.size or _spread(pixels).mean() > COLOURLESS_SPREAD:
        return False
    level = pixels.mean(axis=2)
    histogram, edges = np.histogram(level, bins=16, range=(0, 256))
    ground = level[(level >= edges[histogram.argmax()]) & (level <= edges[histogram.argmax() + 1])].mean()
    near, far = (np.abs(level - ground) <= NEAR).mean(), (np.abs(level - ground) >= FAR).mean()
    is_of_ground = near >= MIN_GROUND and (ground >= LIGHT_GROUND or side <= MAX_GLYPH_SIDE)
    return bool(is_of_ground and far >= max(MIN_INK, (1 - near) / 2))


def _spread(pixels: Pixels) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Return by how many levels the channels of each pixel differ."""
    levels = pixels.astype(np.int16)
    spread: np.ndarray[Any, np.dtype[np.int16]] = levels.max(axis=2) - levels.min(axis=2)
    return spread
