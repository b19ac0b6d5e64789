"""Small images inside the page: a bounded number of them, each once, and the class activation maps of some."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from googlenet.data.image_set import LabelledImage
from googlenet.errors import GoogLeNetError, ImageError
from googlenet.images.pixels import as_shown
from googlenet.images.resize import crop_box, read
from googlenet.inference.classifier import Classifier
from googlenet.parallel import in_batches
from googlenet.preprocessing import Preprocessing
from googlenet.reporting.examples import MAX_DRAWN

SIDE, LARGE_SIDE = 112, 240  # pixels of the longer side
QUALITY = 72
MAX_BYTES = 2_000_000  # of all thumbnails, as text
BATCH = 8
HEAT = (255, 92, 31)  # the colour of evidence
MAX_ALPHA = 200  # of 255, where evidence is highest
CONTRAST = 2.0  # power of the share of evidence: little of it is hardly tinted


@dataclass(frozen=True)
class Heat:
    """A class activation map as an image, and where it lies over the thumbnail: left, top, width, height in %."""

    url: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Thumbnail:
    """A small image as a URL that holds it, with its size in pixels."""

    url: str
    width: int
    height: int
    heat: Heat | None = None


@dataclass
class Thumbnails:
    """Thumbnails by the number of the image among the answers."""

    found: dict[int, Thumbnail] = field(default_factory=dict)

    def get(self, number: int) -> Thumbnail | None:
        """Return the thumbnail of an image, or ``None`` for one that was not drawn."""
        return self.found.get(number)


def draw_thumbnails(
    images: Sequence[LabelledImage], wanted: Iterable[int], large: Sequence[int], preprocessing: Preprocessing
) -> Thumbnails:
    """Draw images by their numbers, ``large`` ones first and larger, then those that are ``wanted``, up to a limit.

    Images that cannot be read again are left out.
    """
    numbers = list(dict.fromkeys([*large, *wanted]))[:MAX_DRAWN]
    bigger, total, found = set(large), 0, Thumbnails()

    def draw(number: int) -> Thumbnail:
        return _thumbnail(images[number], preprocessing, LARGE_SIDE if number in bigger else SIDE)

    for batch in in_batches(draw, numbers, BATCH):
        for number, drawn in batch:
            if isinstance(drawn, ImageError):
                continue
            total += len(drawn.url)
            if total > MAX_BYTES:
                return found
            found.found[number] = drawn
    return found


def _thumbnail(item: LabelledImage, preprocessing: Preprocessing, side: int) -> Thumbnail:
    pixels = read(item.source, preprocessing, at_least=side)
    image = Image.fromarray(as_shown(pixels))
    scale = side / max(image.size)
    size = (max(1, round(scale * image.width)), max(1, round(scale * image.height)))
    if scale < 1:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    elif scale > 2:  # of a few pixels: every one is to be seen
        image = image.resize(size, Image.Resampling.NEAREST)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY, optimize=True)
    return Thumbnail(_url("jpeg", content.getvalue()), image.width, image.height)


def _url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def add_heat(
    thumbnails: Thumbnails, classifier: Classifier, images: Sequence[LabelledImage], of_class: dict[int, int]
) -> None:
    """Lay over thumbnails where the evidence for a class lies: ``of_class`` maps images to numbers of classes.

    Nothing is added where the network has no class activation maps, or an image cannot be read again.
    """
    numbers = [number for number in of_class if thumbnails.get(number)]
    if not numbers or not classifier.engine.has_maps:
        return
    for batch in in_batches(lambda number: classifier.preprocess(images[number].source), numbers, BATCH):
        seen = [(number, pixels) for number, pixels in batch if not isinstance(pixels, ImageError)]
        if not seen:
            continue
        try:
            maps = classifier.engine.maps(np.stack([pixels for _, pixels in seen]))
        except GoogLeNetError:  # a graph that was changed
            return
        if maps.shape[2:] == (1, 1):  # one place says nothing about where
            return
        for (number, _), evidence in zip(seen, maps, strict=True):
            thumbnail = thumbnails.found[number]
            heat = _heat(evidence[of_class[number]], thumbnail, classifier.card.preprocessing)
            thumbnails.found[number] = replace(thumbnail, heat=heat)


def _heat(evidence: NDArray[np.float32], thumbnail: Thumbnail, preprocessing: Preprocessing) -> Heat | None:
    positive = np.maximum(np.nan_to_num(evidence), 0)
    if not positive.max() > 0:
        return None
    overlay = np.empty((*positive.shape, 4), np.uint8)
    overlay[..., :3] = HEAT
    overlay[..., 3] = np.round(MAX_ALPHA * (positive / positive.max()) ** CONTRAST)
    content = io.BytesIO()
    Image.fromarray(overlay).save(content, "PNG", optimize=True)
    wide, high = thumbnail.width, thumbnail.height
    left, top, right, bottom = crop_box(wide, high, preprocessing)
    box = (100 * left / wide, 100 * top / high, 100 * (right - left) / wide, 100 * (bottom - top) / high)
    return Heat(_url("png", content.getvalue()), box)
