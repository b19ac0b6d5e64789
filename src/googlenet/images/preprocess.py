"""A decoded picture → the exact pixels a network sees: the same in validation, evaluation and prediction."""

from __future__ import annotations

import numpy as np
from PIL import Image

from googlenet.card import Preprocessing
from googlenet.images.decode import COLOURS, Pixels


def prepare(pixels: Pixels, rule: Preprocessing) -> Pixels:
    """Resize and crop (H, W, C) uint8 to (size, size, C) uint8. Normalisation is inside the network's graph.

    >>> prepare(np.zeros((30, 50, 3), np.uint8), Preprocessing(size=24)).shape
    (24, 24, 3)
    """
    if pixels.shape[2] == COLOURS:
        return np.asarray(_prepared(Image.fromarray(pixels), rule))
    # Band by band, which gives the same pixels; but Pillow would weigh the colours of RGBA by their opacity.
    bands = [np.asarray(_prepared(Image.fromarray(band), rule)) for band in np.moveaxis(pixels, 2, 0)]
    return np.stack(bands, axis=2)


def _prepared(image: Image.Image, rule: Preprocessing) -> Image.Image:
    # One resampling of the part that survives the crop gives the pixels of resizing first and cropping then.
    box = crop_box(image.width, image.height, rule)
    return image.resize((rule.size, rule.size), Image.Resampling.BILINEAR, box=box)


def crop_box(width: int, height: int, rule: Preprocessing) -> tuple[float, float, float, float]:
    """Find what the network sees of a picture: left, top, right, bottom in the picture's own pixels.

    >>> crop_box(500, 400, Preprocessing(size=224, crop_fraction=0.875))
    (75.0, 25.0, 425.0, 375.0)
    """
    side = min(width, height) * rule.size / rule.resize
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side
