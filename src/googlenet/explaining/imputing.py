"""Pixels that are removed, filled in from those around them: nothing shows where they were.

Rong et al., *A consistent and efficient evaluation strategy for attribution methods* (2022), section 4: a missing pixel
is the weighted mean of its eight neighbours, missing ones included, and a little noise. With a colour instead, the
outline of what was removed tells the network what was there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from googlenet.images.pixels import Pixels

Array = NDArray[Any]
SWEEPS, COARSE_SWEEPS, COARSE = 8, 40, 48  # of the equations; of those of up to 48 pixels a side, which cost little
STEP, MOMENTUM = 1.5, 0.5  # of a sweep (heavy ball): errors that are spread wide die out sooner than in plain sweeps
SMALLEST = 4  # pixels a side, from which on sizes are doubled
NOISE = 0.6  # levels of 255: 0.01 after normalisation
BLUR = 0.05  # of the side: the standard deviation in pixels of a blurred image


def impute(image: Pixels, missing: NDArray[np.bool_], random: np.random.Generator) -> Pixels:
    """Fill the ``missing`` pixels (S, S) of an image (S, S, C) from the others.

    The equations are solved from a small image up, each size beginning with the solution of the one before.

    >>> image = np.full((8, 8, 1), 100, np.uint8)
    >>> image[2:5, 3:6] = 255
    >>> bool((abs(impute(image, image[:, :, 0] == 255, np.random.default_rng(0)).astype(int) - 100) <= 3).all())
    True
    """
    if not missing.any() or missing.all():
        return image
    filled = _solve(image.astype(np.float32), (~missing).astype(np.float32)[:, :, None])
    filled += missing[:, :, None] * random.normal(0, NOISE, image.shape).astype(np.float32)
    return np.asarray(np.clip(filled + 0.5, 0, 255), np.uint8)


def _solve(image: Array, known: Array) -> Array:
    """Return ``image`` (H, W, C) with the mean of its neighbours where ``known`` (H, W, 1) is 0."""
    height, width = known.shape[:2]
    if min(height, width) > SMALLEST and not known.all():
        weight = _halved(known)
        small = _halved(image * known) / np.maximum(weight, 1e-6)
        start = _solve(small, (weight > 0).astype(np.float32))
        begun = np.repeat(np.repeat(start, 2, axis=0), 2, axis=1)[:height, :width]
    else:
        begun = np.broadcast_to((image * known).sum((0, 1)) / max(float(known.sum()), 1.0), image.shape)
    found = np.where(known > 0, image, begun)
    weights = STEP * (1 - known) / _neighbours(np.ones((height, width, 1), np.float32))
    pull, before = STEP * (1 - known), found
    for _ in range(COARSE_SWEEPS if max(height, width) <= COARSE else SWEEPS):
        change = weights * _neighbours(found) - pull * found + MOMENTUM * (found - before)
        found, before = found + change, found
    return np.asarray(found, np.float32)


def _halved(values: Array) -> Array:
    """Add up squares of four pixels; a side that is odd is repeated at its end."""
    values = np.pad(values, ((0, values.shape[0] % 2), (0, values.shape[1] % 2), (0, 0)))
    return np.asarray(values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2])


def _neighbours(values: Array) -> Array:
    """Add up the eight neighbours, those beside it with twice the weight of those across the corner."""
    tall = 2 * values
    tall[1:] += values[:-1]
    tall[:-1] += values[1:]
    wide = 2 * tall
    wide[:, 1:] += tall[:, :-1]
    wide[:, :-1] += tall[:, 1:]
    return np.asarray(wide - 4 * values)


def blurred(image: Pixels) -> Pixels:
    """Blur an image (S, S, C) until nothing can be made out."""
    soft = ImageFilter.GaussianBlur(max(BLUR * len(image), 1.0))
    bands = (np.asarray(Image.fromarray(np.ascontiguousarray(band)).filter(soft)) for band in np.moveaxis(image, 2, 0))
    return np.stack(list(bands), axis=2)
