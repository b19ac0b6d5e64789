"""How well do perceptual hashes tell copies from other images? The figures of docs/decisions/0009.

    python benchmarks/near_duplicates.py FOLDER…

Every image is re-encoded, resized and cropped. The distances between these copies and their originals are compared with
the distances of all pairs of different images. ``phash 8`` is a hash of 64 bits, ``phash 16`` one of 256.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from googlenet.data.folders import images_below
from googlenet.images.decode import decode

AT_MOST = 2000  # images of one folder


def reencoded(image: Image.Image, kind: str, quality: int) -> Image.Image:
    """Write and read it in a format that loses something."""
    stream = io.BytesIO()
    image.save(stream, kind, quality=quality)
    return Image.open(stream).convert("RGB")


def scaled(image: Image.Image, share: float) -> Image.Image:
    """Resize to ``share`` of either side."""
    size = (max(round(image.width * share), 8), max(round(image.height * share), 8))
    return image.resize(size, Image.Resampling.BICUBIC)


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Cut ``share`` of each side away, half at either end."""
    across, down = image.width * share / 2, image.height * share / 2
    return image.crop((round(across), round(down), round(image.width - across), round(image.height - down)))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 50": lambda image: reencoded(image, "JPEG", 50),
    "WebP, quality 75": lambda image: reencoded(image, "WEBP", 75),
    "half the size": lambda image: scaled(image, 0.5),
    "one and a half": lambda image: scaled(image, 1.5),
    "cropped by 2 %": lambda image: cropped(image, 0.02),
    "cropped by 5 %": lambda image: cropped(image, 0.05),
    "cropped by 10 %": lambda image: cropped(image, 0.10),
}
HASHES: dict[str, Callable[[Image.Image], imagehash.ImageHash]] = {
    "phash 8": lambda image: imagehash.phash(image, 8),
    "phash 16": lambda image: imagehash.phash(image, 16),
    "dhash 8": lambda image: imagehash.dhash(image, 8),
    "dhash 16": lambda image: imagehash.dhash(image, 16),
}
THRESHOLDS = {"phash 8": (2, 4, 6, 8, 10), "phash 16": (20, 30, 40, 48, 56, 64), "dhash 8": (2, 4, 6, 8, 10),
              "dhash 16": (20, 30, 40, 48, 56)}  # fmt: skip


def bits(hash_of: Callable[[Image.Image], imagehash.ImageHash], images: list[Image.Image]) -> np.ndarray:
    """Return the bits of the hashes, (N, bits)."""
    return np.stack([hash_of(image).hash.ravel() for image in images])


def distinct_distances(hashes: np.ndarray) -> np.ndarray:
    """Return the distances of all pairs."""
    signs = hashes.astype(np.float32) * 2 - 1
    distances = (hashes.shape[1] - signs @ signs.T) / 2
    return distances[np.triu_indices(len(hashes), 1)].astype(int)


def measure(folder: Path) -> None:
    """Print the rates of one folder."""
    found = images_below(folder)
    paths = found[:: -(-len(found) // AT_MOST)]
    images = [Image.fromarray(decode(path)) for path in paths]
    copies = {name: [copy(image) for image in images] for name, copy in COPIES.items()}
    print(f"\n{folder}: {len(images)} images, {len(images) * (len(images) - 1) // 2:,} pairs")
    for name, hash_of in HASHES.items():
        own = bits(hash_of, images)
        apart = distinct_distances(own)
        to_copies = {kind: (bits(hash_of, copied) != own).sum(axis=1) for kind, copied in copies.items()}
        for limit in THRESHOLDS[name]:
            hits = "  ".join(f"{kind} {(distances <= limit).mean():.1%}" for kind, distances in to_copies.items())
            print(f"{name:9} ≤ {limit:2}: false {(apart <= limit).sum():5} ({(apart <= limit).mean():.1e})  {hits}")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        measure(Path(argument))
