"""How long an image takes from its file to the pixels of a network, against the same with Pillow alone.

    OMP_NUM_THREADS=1 python benchmarks/reading.py FOLDER

Both are measured in turns, in the time that this thread computes: the least of each image, and their mean.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from unittest import mock

import numpy as np

from googlenet.images import jpeg, resampling
from googlenet.images.pixels import suffixes
from googlenet.images.resize import load_image
from googlenet.preprocessing import Preprocessing

MAX_IMAGES = 50


def main() -> None:
    """Read the options, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    files = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in suffixes())[:MAX_IMAGES]
    images = [path.read_bytes() for path in files]
    best = {way: np.full(len(images), np.inf) for way in ("Pillow", "googlenet")}
    end, apart = time.monotonic() + options.seconds, np.zeros(3, np.int64)
    while time.monotonic() < end:
        for number, image in enumerate(images):
            found, best["googlenet"][number] = _timed(image, best["googlenet"][number])
            with (
                mock.patch.object(jpeg, "decoded", lambda image, *_: image),
                mock.patch.object(resampling, "has_vector_resampling", return_value=False),
            ):
                expected, best["Pillow"][number] = _timed(image, best["Pillow"][number])
            apart += np.bincount(np.abs(found.astype(int) - expected).clip(0, 2).ravel(), minlength=3)
    for way, seconds in best.items():
        print(f"{way}: {1000 * seconds.mean():.3f} ms an image")
    print(f"ratio: {best['googlenet'].mean() / best['Pillow'].mean():.3f}")
    print(f"values more than one level apart: {apart[2] / apart.sum():.2e}, by one: {apart[1] / apart.sum():.3f}")


def _timed(image: bytes, before: float) -> tuple[np.ndarray, float]:
    begun = time.thread_time()
    pixels = load_image(image, Preprocessing(224, crop_fraction=0.875))
    return pixels, min(before, time.thread_time() - begun)


if __name__ == "__main__":
    main()
