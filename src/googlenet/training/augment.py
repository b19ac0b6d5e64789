"""Random changes of a training image: a crop, then every entry of ``AUGMENTATIONS``. The generator decides alone."""

from __future__ import annotations

import math
from collections.abc import Callable

from googlenet.images.decode import Pixels
from googlenet.images.resampling import Box
from googlenet.images.resize import crop_and_resize
from googlenet.training import transforms
from googlenet.training.augmentation import Augmentation
from googlenet.training.function import Function, apply_function
from googlenet.training.transforms import Random, random_sides

MAX_TRIES = 10  # to draw a crop that lies inside the image
Change = Callable[[Pixels, Augmentation, Random], Pixels]


def augment(pixels: Pixels, side: int, how: Augmentation, random: Random, function: Function | None = None) -> Pixels:
    """Change (H, W, C) uint8 at random into (side, side, C) uint8, at last by a ``function`` of the user's.

    Raises :class:`RecipeError` where that function returns anything else.

    >>> import numpy as np
    >>> augment(np.zeros((30, 50, 3), np.uint8), 24, Augmentation(), np.random.default_rng(0)).shape
    (24, 24, 3)
    """
    height, width = pixels.shape[:2]
    augmented = crop_and_resize(pixels, side, _crop(width, height, how, random))
    for setting, change in AUGMENTATIONS.items():
        if _applies(setting, getattr(how, setting), random):
            augmented = change(augmented, how, random)
    return augmented if function is None else apply_function(function, augmented, random)


def smallest_side(side: int, how: Augmentation) -> int:
    """Return the side in pixels of a square image whose smallest crop still has ``side``.

    >>> smallest_side(224, Augmentation(crop_scale=(0.25, 1.0)))
    448
    """
    return math.ceil(side / math.sqrt(how.crop_scale[0]))


def _crop(width: int, height: int, how: Augmentation, random: Random) -> Box:
    """Draw a box by its share of the area and its width / height (Szegedy et al., 2014, section 6).

    Where none of the boxes drawn fits into the image, it is the largest one in the centre.
    """
    for _ in range(MAX_TRIES):
        wide, high = random_sides(width * height, how.crop_scale, how.crop_ratio, random)
        if wide <= width and high <= height:
            left, top = random.random() * (width - wide), random.random() * (height - high)
            return left, top, left + wide, top + high
    wide = min(width, height * how.crop_ratio[1])
    high = min(height, width / how.crop_ratio[0])
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


def _applies(setting: str, probability: float, random: Random) -> bool:
    """Decide whether an image is changed. At probability 0 no number is drawn, but for the two oldest entries."""
    if setting in DRAWN_AT_ZERO:
        return random.random() < probability
    return probability > 0 and (setting in DRAWN_WITHIN or random.random() < probability)


# By the setting of ``Augmentation`` that is its probability, in the order in which they change an image: geometry,
# policies, colours, quality, erasing. A new one draws no number at probability 0, so that existing recipes keep giving
# the same weights.
AUGMENTATIONS: dict[str, Change] = {
    "hflip_prob": transforms.hflip,
    "vflip_prob": transforms.vflip,
    "rot90_prob": transforms.quarter_turn,
    "rotation_prob": transforms.rotate,
    "perspective_prob": transforms.perspective,
    "trivial_augment_prob": transforms.trivial_augment,
    "rand_augment_prob": transforms.rand_augment,
    "photometric_prob": transforms.photometric_distort,
    "jitter_prob": transforms.jitter,
    "grey_prob": transforms.grey,
    "blur_prob": transforms.blur,
    "noise_prob": transforms.noise,
    "jpeg_prob": transforms.jpeg,
    "erasing_prob": transforms.random_erasing,
}
DRAWN_AT_ZERO = ("hflip_prob", "erasing_prob")
DRAWN_WITHIN = ("photometric_prob",)  # the probability of each of several changes
