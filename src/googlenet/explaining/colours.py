"""Colours of signed values: two hues in steps that look equal, over a photograph whose light and dark stay visible.

Colours are mixed in OKLab (Ottosson, *A perceptual color space for image processing*, 2020): lightness comes from the
photograph, hue from the sign of a value, and chroma from its size. Orange and blue differ to the colour-blind too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.images.pixels import Pixels

Array = NDArray[Any]

FOR, AGAINST = np.deg2rad(48.0), np.deg2rad(258.0)  # hues: orange, blue
CHROMA = 0.175  # of full values
GREYS = (0.36, 0.97)  # lightness of black and white of the photograph where there is no evidence
MIDDLE = 0.66  # lightness that full values are drawn towards, where both hues have most chroma
PULL = 0.55  # how far
STEPS = 24  # by which a chroma that the screen lacks is lowered

_TO_LMS = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                    [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
_TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                    [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip
_FROM_LAB, _FROM_LMS = np.linalg.inv(_TO_LAB), np.linalg.inv(_TO_LMS)


def lightness(pixels: Pixels) -> Array:
    """Return the lightness of (..., 3) uint8 in OKLab, 0 to 1.

    >>> lightness(np.array([[0, 0, 0], [255, 255, 255]], np.uint8)).round(2)
    array([0., 1.])
    """
    linear = _linear(pixels / 255.0)
    return np.asarray(np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB[0])


def tinted(light: Array, values: Array) -> Pixels:
    """Colour greys of a lightness (...), 0 to 1, by values (...) from -1 to 1: (..., 3) uint8.

    >>> tinted(np.full(3, 0.5), np.array([-1.0, 0.0, 1.0])).argmax(axis=1).tolist()  # blue, grey, orange
    [2, 0, 0]
    """
    size = np.clip(np.abs(values), 0, 1)
    grey = GREYS[0] + (GREYS[1] - GREYS[0]) * light
    level = grey + PULL * size * (MIDDLE - grey)
    hue = AGAINST + (FOR - AGAINST) * (np.asarray(values) >= 0)
    return to_pixels(level, CHROMA * size, hue)


def to_pixels(level: Array, chroma: Array, hue: Array) -> Pixels:
    """Return lightness, chroma and hue (radians), each (...), as sRGB (..., 3) uint8.

    A chroma that sRGB lacks is lowered.
    """
    chroma = np.asarray(chroma, np.float64)
    for _ in range(STEPS):
        linear = _to_linear(level, chroma, hue)
        outside = (linear < -1e-4).any(axis=-1) | (linear > 1 + 1e-4).any(axis=-1)
        if not outside.any():
            break
        chroma = np.where(outside, 0.92 * chroma, chroma)
    linear = np.clip(linear, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * srgb + 0.5).astype(np.uint8)


def _to_linear(level: Array, chroma: Array, hue: Array) -> Array:
    lab = np.stack([level, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1)
    return np.asarray((lab @ _FROM_LAB.T) ** 3 @ _FROM_LMS.T)


def _linear(srgb: Array) -> Array:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
