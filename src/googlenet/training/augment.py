"""An image, varied: random crop, mirror, colours, a rectangle erased. The generator given decides, nothing else.

Written out instead of composed of torchvision's transforms, which take three times as long for a small image: on a
processor the cores that vary images are those that train.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from googlenet.images.decode import Pixels
from googlenet.images.resize import MID_GREY, Box, crop_and_resize
from googlenet.training.recipe import Augmentation, Span

TRIES = 10  # to find a crop of the area and proportions drawn that lies inside the image
ERASED_AREA, ERASED_ASPECT = (0.05, 0.25), (0.3, 3.3)  # of the image (Zhong et al., 2017)


def augment(pixels: Pixels, side: int, how: Augmentation, random: np.random.Generator) -> Pixels:
    """Vary (H, W, C) uint8 as ``how`` says: (side, side, C) uint8.

    >>> augment(np.zeros((30, 50, 3), np.uint8), 24, Augmentation(), np.random.default_rng(0)).shape
    (24, 24, 3)
    """
    height, width = pixels.shape[:2]
    varied = crop_and_resize(pixels, side, _crop(width, height, how, random))
    if random.random() < how.hflip_prob:
        varied = varied[:, ::-1]
    if how.photometric_prob:
        varied = _photometric_distort(varied, how.photometric_prob, int(random.integers(2**62)))
    if random.random() < how.erasing_prob:
        varied = _random_erasing(varied, random)
    return varied


def smallest_side(side: int, how: Augmentation) -> int:
    """Give the pixels of a square image's side of which the smallest crop still has ``side``.

    >>> smallest_side(224, Augmentation(crop_scale=(0.25, 1.0)))
    448
    """
    return math.ceil(side / math.sqrt(how.crop_scale[0]))


def _crop(width: int, height: int, how: Augmentation, random: np.random.Generator) -> Box:
    """Draw a box of a share of the area and a width/height (Szegedy et al., 2014, section 6); the centre at last."""
    for _ in range(TRIES):
        wide, high = _sides(width * height, how.crop_scale, how.crop_ratio, random)
        if wide <= width and high <= height:
            left, top = random.random() * (width - wide), random.random() * (height - high)
            return left, top, left + wide, top + high
    wide = min(width, height * how.crop_ratio[1])
    high = min(height, width / how.crop_ratio[0])
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


def _sides(whole: float, area: Span, aspect: Span, random: np.random.Generator) -> tuple[float, float]:
    """Draw width and height of a rectangle: its share of the ``whole`` evenly, its proportions evenly in logarithms."""
    share = whole * random.uniform(*area)
    ratio = math.exp(random.uniform(math.log(aspect[0]), math.log(aspect[1])))
    return math.sqrt(share * ratio), math.sqrt(share / ratio)


def _photometric_distort(pixels: Pixels, probability: float, seed: int) -> Pixels:
    """Change brightness, contrast, saturation and hue (Howard, 2013), as torchvision does."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also note a stack trace for every GPU to come: slow, and kept for ever.
        torch.default_generator.manual_seed(seed)
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
        distorted: Tensor = v2.RandomPhotometricDistort(p=probability)(image)
    return distorted.permute(1, 2, 0).numpy()


def _random_erasing(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Lay a grey rectangle over the image."""
    side = pixels.shape[0]
    wide, high = (min(side, max(1, round(each))) for each in _sides(side**2, ERASED_AREA, ERASED_ASPECT, random))
    left, top = random.integers(side - wide + 1), random.integers(side - high + 1)
    erased: Pixels = pixels.copy()
    erased[top : top + high, left : left + wide] = MID_GREY
    return erased
