"""Whether a map names what an answer depends on: the image is taken apart in the order of the map, and put together.

Three measures, each of which is higher for a better map, but for deletion:

- deletion (Petsiuk et al., *RISE*, 2018): the most relevant pixels are covered first; the mean probability on the way;
- insertion (the same): the most relevant pixels are put into a blurred image first;
- ROAD (Rong et al., *A consistent and efficient evaluation strategy for attribution methods*, 2022): how much less is
  left of the probability without the most relevant pixels than without the least relevant, filled in from around.

A map is judged beside two that know nothing of the image: itself, turned over and moved to a random place, and the
distance from the middle of the image, where photographers put things.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from googlenet.explaining.imputing import blurred, impute
from googlenet.explaining.projection import Floats
from googlenet.images.pixels import Pixels

Array = NDArray[Any]
STEPS = 10  # from the whole image to none of it
SHARES = (0.2, 0.4, 0.6, 0.8)  # that ROAD removes
RUNS = 2 * (STEPS - 1) + 2 * len(SHARES)  # of the network for each map
ENDS = 3  # and for each image: whole, covered, blurred
MEASURES = ("deletion", "insertion", "road")
LOWER_IS_BETTER = ("deletion",)


def enlarged(values: Floats, size: int) -> Floats:
    """Return a map (h, w) at the size of the image that the network sees, (S, S)."""
    large = Image.fromarray(np.ascontiguousarray(values, np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(large, np.float32)


def moved_map(values: Floats, random: np.random.Generator) -> Floats:
    """Return a map (h, w) turned over and moved round by random amounts: the same values, as scattered, elsewhere."""
    turned = values[:: random.choice((-1, 1)), :: random.choice((-1, 1))]
    return np.roll(turned, [int(random.integers(side)) for side in values.shape], axis=(0, 1))


def centre_map(size: int) -> Floats:
    """Return a map that is highest in the middle, (S, S).

    >>> centre_map(4)[1].tolist()
    [-0.625, -0.125, -0.125, -0.625]
    """
    away = (np.arange(size) + 0.5) / size * 2 - 1
    return np.asarray(-(away[:, None] ** 2 + away[None, :] ** 2), np.float32)


def ranking(values: Floats, size: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return the pixels (S · S,) of an image in the order of a map, the most relevant first; ties in a random order."""
    flat = enlarged(values, size).ravel()
    return np.lexsort((random.random(flat.size), -flat)).astype(np.int64)


def ends(image: Pixels, cover: Pixels) -> list[Pixels]:
    """Return the image (S, S, C), covered by a colour (C,), and blurred: where the ways begin and end."""
    return [image, np.broadcast_to(cover, image.shape).astype(np.uint8), blurred(image)]


def taken_apart(between: list[Pixels], order: NDArray[np.int64], random: np.random.Generator) -> Iterator[Pixels]:
    """Yield the images by which :func:`measure` judges an ``order`` of pixels, ``RUNS`` of them."""
    image, covered, blank = between
    counts = [round(order.size * step / STEPS) for step in range(1, STEPS)]
    yield from (_mixed(image, covered, order[:count]) for count in counts)
    yield from (_mixed(blank, image, order[:count]) for count in counts)
    for share in SHARES:
        count = round(order.size * share)
        for part in (order[:count], order[-count:]):
            missing = np.zeros(order.size, bool)
            missing[part] = True
            yield impute(image, missing.reshape(image.shape[:2]), random)


def _mixed(image: Pixels, other: Pixels, part: NDArray[np.int64]) -> Pixels:
    channels = image.shape[2]
    mixed = image.reshape(-1, channels).copy()
    mixed[part] = other.reshape(-1, channels)[part]
    return np.asarray(mixed.reshape(image.shape), np.uint8)


def measure(of_ends: Array, scores: Array) -> dict[str, float]:
    """Return the three measures, from the scores of :func:`ends` and of :func:`taken_apart`.

    >>> falling = np.concatenate([np.linspace(0.9, 0.1, 9), np.linspace(0.1, 0.9, 9), [0.25, 0.75] * 4])
    >>> {name: round(value, 3) for name, value in measure(np.array([1.0, 0.0, 0.0]), falling).items()}
    {'deletion': 0.5, 'insertion': 0.5, 'road': 0.5}
    """
    whole, covered, blank = of_ends.tolist()
    deleted, inserted, imputed = np.split(scores, [STEPS - 1, 2 * (STEPS - 1)])
    return {
        "deletion": float(np.mean(deleted) * (STEPS - 1) / STEPS + (whole + covered) / (2 * STEPS)),
        "insertion": float(np.mean(inserted) * (STEPS - 1) / STEPS + (whole + blank) / (2 * STEPS)),
        "road": float(np.mean(imputed[1::2] - imputed[::2])),
    }
