"""The training images that are most like an image, to the network: ``neighbours.npz`` of a bundle. No torch.

A bundle has this file only where ``train --keep-neighbours`` was asked for, as whoever gets the bundle sees the
thumbnails in it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from googlenet.bundle import NEIGHBOURS, Bundle
from googlenet.checks.arrays import ArrayLimits, read_npz
from googlenet.errors import BundleError
from googlenet.images.decode import decode
from googlenet.images.pixels import Pixels, as_rgb
from googlenet.inference.engine import Floats
from googlenet.strict_json import parse_json
from googlenet.text import escape_surrogates, printable

MAX_IMAGES = 2_000
THUMBNAIL = 96  # pixels of its longer side
QUALITY = 80  # of its JPEG
MAX_BYTES = 40_000_000  # of the file; 2,000 images of GoogLeNet take about 10 MB
COUNT = 5
_ARRAYS: dict[str, ArrayLimits] = {
    "embeddings": ("f2", (None, None), 2**15),
    "images": ("u1", (None,), MAX_BYTES),  # JSON: for each its name and class numbers
    "lengths": ("i4", (None,), MAX_IMAGES),
    "thumbnails": ("u1", (None,), MAX_BYTES),
}


@dataclass(frozen=True, eq=False)
class Neighbour:
    """A training image that is like another: its name and classes, and how alike they are.

    ``similarity`` is the cosine of both embeddings, 1 for the same image. ``thumbnail`` has the bytes of a JPEG.
    """

    name: str
    labels: tuple[str, ...]
    similarity: float
    thumbnail: bytes = field(repr=False)

    def pixels(self) -> Pixels:
        """Return the thumbnail, (H, W, 3) uint8. Raises :class:`ImageError` if it is damaged."""
        return decode(self.thumbnail)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        labels = [escape_surrogates(label) for label in self.labels]
        return {"name": escape_surrogates(self.name), "labels": labels, "similarity": self.similarity}

    def _repr_jpeg_(self) -> bytes:
        return self.thumbnail


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Training images as a bundle keeps them: embeddings (N, D) of length 1, names, class numbers and thumbnails."""

    embeddings: Floats
    names: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    thumbnails: tuple[bytes, ...]

    def to_bytes(self) -> bytes:
        """Return the content of ``neighbours.npz``."""
        images = [[escape_surrogates(name), list(labels)] for name, labels in zip(self.names, self.labels, strict=True)]
        content = io.BytesIO()
        np.savez(
            content,
            embeddings=self.embeddings.astype(np.float16),
            images=np.frombuffer(json.dumps(images).encode(), np.uint8),
            lengths=np.array([len(each) for each in self.thumbnails], np.int32),
            thumbnails=np.frombuffer(b"".join(self.thumbnails), np.uint8),
        )
        return content.getvalue()

    def nearest(self, embedding: NDArray[Any], class_names: Sequence[str], count: int) -> list[Neighbour]:
        """Return the ``count`` images nearest to an embedding (D,), the nearest first."""
        similar = self.embeddings @ unit(embedding[None])[0]
        order = np.argsort(-similar, kind="stable")[:count].tolist()
        return [
            Neighbour(self.names[at], tuple(class_names[label] for label in self.labels[at]),
                      round(float(similar[at]), 4), self.thumbnails[at])
            for at in order
        ]  # fmt: skip


def unit(embeddings: NDArray[Any]) -> Floats:
    """Scale embeddings (N, D) to length 1.

    >>> unit(np.array([[3.0, 4.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    x = np.asarray(embeddings, np.float64)
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.float32)


def thumbnail_of(pixels: Pixels) -> bytes:
    """Return a small JPEG of an image (H, W, C): grey as grey, of other channels the first three."""
    small = Image.fromarray(as_rgb(pixels))
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    small.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()


def has_neighbours(bundle: Bundle) -> bool:
    """Whether a bundle keeps training images."""
    return bundle.holds(NEIGHBOURS)


def read_neighbours(bundle: Bundle) -> Neighbours:
    """Read ``neighbours.npz`` of a bundle. Raises :class:`BundleError` if it has none, or other things than ours."""
    where = printable(str(bundle.path))
    if not has_neighbours(bundle):
        raise BundleError(f"{where} keeps no training images: train it with --keep-neighbours")
    content = bundle.read(NEIGHBOURS)
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has {len(content):,} bytes, ours have {MAX_BYTES:,} at most")
        return _parsed(read_npz(content, _ARRAYS), len(bundle.card.class_names))
    except ValueError as error:
        raise BundleError(f"{where}/{NEIGHBOURS} is damaged: {printable(str(error))}; copy the bundle again") from error


def _parsed(arrays: dict[str, NDArray[Any]], classes: int) -> Neighbours:
    images: Any = parse_json(bytes(arrays["images"]).decode())
    ends, count = np.cumsum(arrays["lengths"], dtype=np.int64), len(arrays["lengths"])
    if not isinstance(images, list) or not all(_is_image(each, classes) for each in images):
        raise ValueError("its images are not names with class numbers")
    if not len(images) == len(arrays["embeddings"]) == count:
        raise ValueError(f"it has {len(images):,} images, {len(arrays['embeddings']):,} embeddings, {count:,} lengths")
    if (arrays["lengths"] < 1).any() or ends[-1] != len(arrays["thumbnails"]):
        raise ValueError("its thumbnails have other lengths")
    content = bytes(arrays["thumbnails"])
    thumbnails = tuple(content[end - length : end] for end, length in zip(ends, arrays["lengths"], strict=True))
    names, labels = tuple(each[0] for each in images), tuple(tuple(each[1]) for each in images)
    return Neighbours(unit(arrays["embeddings"]), names, labels, thumbnails)


def _is_image(value: Any, classes: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], list)
        and all(type(label) is int and 0 <= label < classes for label in value[1])
    )
