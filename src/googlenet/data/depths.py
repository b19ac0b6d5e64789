"""Which values are black and white in the images of a data set that are deeper than 8 bits: one range for all."""

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
SAMPLED = 1024  # images that are looked at: enough to see how high the values of all are
THREADS = 2


def common_range(images: ImageSet, channels: int) -> depth.ValueRange | None:
    """Find the values that become black and white in deep images whose files do not say it.

    Up to 1,024 of them, spread over all, are read; ``None`` where none of these is deep, or all say it themselves.
    """
    deep = [item for item in images.items if item.path and item.path.suffix.lower() not in SHALLOW]
    step = max(1, -(-len(deep) // SAMPLED))
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
    except ImageError:  # it is counted, and named, when it is to be learnt from
        return None


def _pages(image: Image.Image, channels: int) -> Iterable[Image.Image]:
    """Give the pages that are read of an image: all of a TIFF's where they are its channels."""
    if image.format != "TIFF" or channels in (1, 3):
        return [image]
    return islice(ImageSequence.Iterator(image), channels)
