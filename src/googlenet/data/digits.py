"""The handwritten digits inside scikit-learn: data that needs no download."""

from __future__ import annotations

import numpy as np

from googlenet.data.image_set import ImageSet, LabelledData, LabelledImage
from googlenet.errors import MissingExtraError

DIGITS = "digits"


def open_digits() -> LabelledData:
    """Return them, not split yet. Raises :class:`MissingExtraError` if scikit-learn is not installed."""
    images = _digits()
    return LabelledData(DIGITS, images.class_names, {"": images}, made_here=False)


def _digits() -> ImageSet:
    """Load the 1,797 handwritten digits inside scikit-learn, 8×8 grey, as black ink on white."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("train", "scikit-learn") from error
    digits = load_digits()
    images = np.rint(255 - digits.images * (255 / 16)).astype(np.uint8)
    items = tuple(
        LabelledImage(f"{label}/{index:04d}", (int(label),), None, np.repeat(image[:, :, None], 3, axis=2))
        for index, (image, label) in enumerate(zip(images, digits.target, strict=True))
    )
    return ImageSet(tuple(str(digit) for digit in range(10)), items)
