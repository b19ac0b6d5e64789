"""Random changes of a training image: a crop, then every entry of ``AUGMENTATIONS``. The generator decides alone.

Written out instead of composed of torchvision's transforms, which take three times as long for a small image: on a
CPU, the cores that augment images are those that train.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from googlenet.images.decode import Pixels
from googlenet.images.resampling import Box
from googlenet.images.resize import MID_GREY, crop_and_resize
from googlenet.training.recipe import Augmentation, Span

MAX_TRIES = 10  # to draw a crop that lies inside the image
ERASED_SCALE, ERASED_RATIO = (0.05, 0.25), (0.3, 3.3)  # share of the image and width / height (Zhong et al., 2017)


def augment(pixels: Pixels, side: int, how: Augmentation, random: np.random.Generator) -> Pixels:
    """Change (H, W, C) uint8 at random into (side, side, C) uint8.

    >>> augment(np.zeros((30, 50, 3), np.uint8), 24, Augmentation(), np.random.default_rng(0)).shape
    (24, 24, 3)
    """
    height, width = pixels.shape[:2]
    augmented = crop_and_resize(pixels, side, _crop(width, height, how, random))
    for setting, change in AUGMENTATIONS.items():
        augmented = change(augmented, getattr(how, setting), random)
    return augmented


def smallest_side(side: int, how: Augmentation) -> int:
    """Return the side in pixels of a square image whose smallest crop still has ``side``.

    >>> smallest_side(224, Augmentation(crop_scale=(0.25, 1.0)))
    448
    """
    return math.ceil(side / math.sqrt(how.crop_scale[0]))


def _crop(width: int, height: int, how: Augmentation, random: np.random.Generator) -> Box:
    """Draw a box by its share of the area and its width / height (Szegedy et al., 2014, section 6).

    Where none of the boxes drawn fits into the image, it is the largest one in the centre.
    """
    for _ in range(MAX_TRIES):
        wide, high = _sides(width * height, how.crop_scale, how.crop_ratio, random)
        if wide <= width and high <= height:
            left, top = random.random() * (width - wide), random.random() * (height - high)
            return left, top, left + wide, top + high
    wide = min(width, height * how.crop_ratio[1])
    high = min(height, width / how.crop_ratio[0])
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


def _sides(area: float, scale: Span, ratio: Span, random: np.random.Generator) -> tuple[float, float]:
    """Draw width and height of a rectangle: its share of ``area`` uniformly, its width / height log-uniformly."""
    share = area * random.uniform(*scale)
    aspect = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
    return math.sqrt(share * aspect), math.sqrt(share / aspect)


def _hflip(pixels: Pixels, probability: float, random: np.random.Generator) -> Pixels:
    return pixels[:, ::-1] if random.random() < probability else pixels


def _photometric_distort(pixels: Pixels, probability: float, random: np.random.Generator) -> Pixels:
    """Change brightness, contrast, saturation and hue (Howard, 2013), as torchvision does."""
    if not probability:
        return pixels
    seed = int(random.integers(2**62))
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also keep a stack trace for every GPU to come: slow, and never freed.
        torch.default_generator.manual_seed(seed)
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
        distorted: Tensor = v2.RandomPhotometricDistort(p=probability)(image)
    return distorted.permute(1, 2, 0).numpy()


def _random_erasing(pixels: Pixels, probability: float, random: np.random.Generator) -> Pixels:
    """Cover a random rectangle with grey."""
    if random.random() >= probability:
        return pixels
    side = pixels.shape[0]
    wide, high = (min(side, max(1, round(each))) for each in _sides(side**2, ERASED_SCALE, ERASED_RATIO, random))
    left, top = random.integers(side - wide + 1), random.integers(side - high + 1)
    erased: Pixels = pixels.copy()
    erased[top : top + high, left : left + wide] = MID_GREY
    return erased


# By the setting of ``Augmentation`` that is its probability, in the order in which they change an image. A new one
# draws no number at probability 0, so that existing recipes keep giving the same weights.
AUGMENTATIONS: dict[str, Callable[[Pixels, float, np.random.Generator], Pixels]] = {
    "hflip_prob": _hflip,
    "photometric_prob": _photometric_distort,
    "erasing_prob": _random_erasing,
}
