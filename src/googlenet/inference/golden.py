"""The golden images of a bundle: what it answered where it was made. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from googlenet.bundle import GOLDEN, Bundle
from googlenet.checks.arrays import read_npz
from googlenet.errors import BundleError
from googlenet.images.decode import Pixels
from googlenet.text import printable

MAX_IMAGES = 64  # a bundle of ours has four


def golden(bundle: Bundle) -> tuple[Pixels, NDArray[np.float32]]:
    """Return the golden images of a bundle, (N, size, size, C) uint8, and their probabilities (N, K).

    Raises :class:`BundleError` if there are none, or they have other shapes.
    """
    preprocessing, classes = bundle.card.preprocessing, len(bundle.card.class_names)
    content = bundle.read(GOLDEN)
    try:
        arrays = read_npz(
            content,
            {
                "images": (
                    "u1",
                    (None, preprocessing.size, preprocessing.size, preprocessing.channels),
                    MAX_IMAGES,
                ),
                "probabilities": ("f4 f8", (None, classes), MAX_IMAGES),
            },
        )
        if len(arrays["images"]) != len(arrays["probabilities"]):
            raise ValueError("not as many probabilities as images")
    except ValueError as error:
        raise BundleError(f"{printable(str(bundle.path / GOLDEN))} is damaged: {printable(str(error))}") from error
    return arrays["images"], arrays["probabilities"]
