"""Which values are black and white in the deep images (more than 8 bits) of a data set: one range for all."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from PIL import Image, ImageSequence

from googlenet.data.image_set import ImageSet, LabelledImage
from googlenet.errors import ImageError
from googlenet.images import depth
from googlenet.images.decode import opened

SHALLOW = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".avif", ".heic", ".heif", ".npy"})
MAX_SAMPLED_IMAGES = 1024  # enough to see how high the values of all are
THREADS = 2


def common_range(images: ImageSet, channels: int) -> depth.ValueRange | None:
    """Return the values that become black and white in deep images whose files do not say it.

    Up to 1,024 of them, evenly spread, are read; ``None`` if none is deep, or all files say it.
    """
    deep = [item for item in images.items if item.path and item.path.suffix.lower() not in SHALLOW]
    step = max(1, -(-len(deep) // MAX_SAMPLED_IMAGES))
    with ThreadPoolExecutor(THREADS, "depths") as pool:
        extents = pool.map(lambda item: _extent(item, channels), deep[::step])
        found = depth.joined(each for each in extents if each is not None)
    return None if found is None else found.usual_range


def _extent(item: LabelledImage, channels: int) -> depth.Extent | None:
    assert item.path is not None
    try:
        with opened(item.path) as image:
            return depth.joined(
                depth.extent(page)
                for page in _pages(image, channels)
                if depth.is_deep(page) and depth.range_in_file(page) is None
            )
    except ImageError:  # it is reported when it is read for training
        return None


def _pages(image: Image.Image, channels: int) -> Iterable[Image.Image]:
    """Return the pages that are read of an image: all of a TIFF if they are its channels."""
    if image.format != "TIFF" or channels in (1, 3):
        return [image]
    return islice(ImageSequence.Iterator(image), channels)
