"""A map of what the network saw, laid over the image that this was cut from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from googlenet.images.resampling import Box
from googlenet.images.resize import crop_box, inside
from googlenet.preprocessing import Preprocessing

Floats = NDArray[np.float32]


def lay_over(evidence: Floats, width: int, height: int, preprocessing: Preprocessing) -> Floats:
    """Enlarge a map (h, w) of the crop that the network saw to the image (H, W). Outside of the crop it is 0."""
    whole = crop_box(width, height, preprocessing)
    seen = inside(whole, width, height)
    across = evidence.shape[1] / (whole[2] - whole[0])
    down = evidence.shape[0] / (whole[3] - whole[1])
    on_map = (
        (seen[0] - whole[0]) * across, (seen[1] - whole[1]) * down,
        (seen[2] - whole[0]) * across, (seen[3] - whole[1]) * down,
    )  # fmt: skip
    left, top, right, bottom = (round(edge) for edge in seen)
    size = (max(right - left, 1), max(bottom - top, 1))
    enlarged = Image.fromarray(evidence.astype(np.float32)).resize(size, Image.Resampling.BILINEAR, box=on_map)
    heat = np.zeros((height, width), np.float32)
    heat[top : top + size[1], left : left + size[0]] = np.asarray(enlarged)
    return heat


def relative_box(width: int, height: int, preprocessing: Preprocessing) -> Box:
    """Return the part of an image that the network sees, as fractions of its width and height.

    >>> relative_box(500, 400, Preprocessing(size=224, crop_fraction=0.875))
    (0.15, 0.0625, 0.85, 0.9375)
    """
    left, top, right, bottom = crop_box(width, height, preprocessing)
    return left / width, top / height, right / width, bottom / height
