"""Perceptual hashes → pairs of images that look nearly the same, for 100,000 images and more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

HASH_DISTANCE = 64  # of 256 bits of imagehash.phash; measured in docs/decisions/0009
BLOCK = 2048


def near_pairs(
    hashes: NDArray[np.uint8],
    at_most: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[int, int, int]]:
    """Find pairs (distance, i, j), i < j, of hashes (N, B), 8 B bits each, that differ in at most 64 bits.

    With bits as ±1 the distance is (8 B - product) / 2, so each block of pairs is one matrix product, and memory does
    not grow with N². The search ends after ``at_most`` pairs: a folder of near copies would have N² of them.

    >>> near_pairs(np.array([[0] * 32, [255] * 32, [1] + [0] * 31], np.uint8), at_most=10)
    [(1, 0, 2)]
    """
    count, bits = len(hashes), 8 * hashes.shape[1]
    found: list[tuple[int, int, int]] = []
    for begin in range(0, count, BLOCK):
        rows = _signs(hashes[begin : begin + BLOCK])
        for other in range(begin, count, BLOCK):
            products = rows @ _signs(hashes[other : other + BLOCK]).T
            for i, j in zip(*np.nonzero(products >= bits - 2 * HASH_DISTANCE), strict=True):
                if begin + i < other + j:
                    found.append((round((bits - products[i, j]) / 2), int(begin + i), int(other + j)))
                    if len(found) >= at_most:
                        return sorted(found)
        if progress:
            progress(min(begin + BLOCK, count), count)
    return sorted(found)


def _signs(hashes: NDArray[np.uint8]) -> NDArray[np.float32]:
    signs: NDArray[np.float32] = np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1
    return signs
