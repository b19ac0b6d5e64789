"""The golden images of a bundle: what it answered where it was made. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from googlenet.bundle import GOLDEN, Bundle
from googlenet.checks.arrays import ArrayLimits, read_npz
from googlenet.errors import BundleError
from googlenet.images.decode import Pixels
from googlenet.text import printable

MAX_IMAGES = 64  # a bundle of ours has four
MAX_SIDE = 4096  # of a map

Floats = NDArray[np.float32]


def golden(bundle: Bundle) -> tuple[Pixels, Floats]:
    """Return the golden images of a bundle, (N, size, size, C) uint8, and their probabilities (N, K).

    Raises :class:`BundleError` if there are none, or they have other shapes.
    """
    return golden_answers(bundle)[:2]


def golden_answers(bundle: Bundle) -> tuple[Pixels, Floats, Floats | None]:
    """Return the golden images, their probabilities and, where the network has them, their maps (N, K, h, w).

    Raises :class:`BundleError` as :func:`golden` does.
    """
    preprocessing, classes = bundle.card.preprocessing, len(bundle.card.class_names)
    content, size = bundle.read(GOLDEN), preprocessing.size
    wanted: dict[str, ArrayLimits] = {
        "images": ("u1", (None, size, size, preprocessing.channels), MAX_IMAGES),
        "probabilities": ("f4 f8", (None, classes), MAX_IMAGES),
    }
    try:
        arrays = read_npz(content, wanted)
        maps = read_npz(content, {"maps": ("f4 f8", (None, classes, None, None), MAX_SIDE)}, optional=True).get("maps")
        if any(len(each) != len(arrays["images"]) for each in (arrays["probabilities"], maps) if each is not None):
            raise ValueError("not as many answers as images")
    except ValueError as error:
        raise BundleError(f"{printable(str(bundle.path / GOLDEN))} is damaged: {printable(str(error))}") from error
    return arrays["images"], arrays["probabilities"], maps
