"""What happens to an answer where the image is covered: occlusion and RISE. For every network, by many runs.

Both return how much a score falls where the image is covered: positive where what is there speaks for the class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from googlenet.explaining.projection import Floats
from googlenet.images.pixels import Pixels

Score = Callable[[Pixels], NDArray[np.float64]]  # (N, S, S, C) uint8 → (N,)
Progress = Callable[[int, int], object]

BATCH = 16  # images for which a score is asked at a time
MIN_CELLS, MAX_CELLS, CELL = 8, 14, 16  # cells a side; pixels of one
PATCH = 3  # cells a side that are covered at a time
MASKS = 600
MASK_CELLS, SHOWN = 7, 0.5  # of RISE: cells a side of a mask, and the share of them that is shown
MAX_GRID = 28  # cells a side of its result
DEVIATIONS = 3  # standard errors up to which a value is not told from chance
TINY = 1e-30


@dataclass(frozen=True)
class Found:
    """Values (h, w), how large one may be by chance, and the score of the image as it is."""

    values: Floats
    noise: float
    score: float


def log_odds(
    probabilities: Floats, class_index: int, against: int | None = None, multi_label: bool = False
) -> NDArray[np.float64]:
    """Return log p - log(1 - p) of a class, or log p - log q against another one: (N, K) → (N,).

    1 - p is added up from the other classes, so that it does not vanish where p is nearly 1.

    >>> log_odds(np.array([[0.5, 0.25, 0.25]]), 0).round(3), log_odds(np.array([[0.5, 0.25, 0.25]]), 0, 1).round(3)
    (array([0.]), array([0.693]))
    """
    p = np.asarray(probabilities, np.float64)
    chosen = p[:, class_index]
    if against is not None:
        rest = p[:, against]
        if multi_label:
            return _log_odds(chosen, 1 - chosen) - _log_odds(rest, 1 - rest)
    else:
        rest = 1 - chosen if multi_label else np.delete(p, class_index, axis=1).sum(axis=1)
    return _log_odds(chosen, rest)


def _log_odds(p: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(p, TINY)) - np.log(np.maximum(rest, TINY)))


def occlusion(image: Pixels, score: Score, cover: Pixels, progress: Progress | None = None) -> Found:
    """Cover one square of the image (S, S, C) after another with the colour ``cover`` (C,), and see the score fall.

    A value is the mean fall over the squares that cover its cell (Zeiler & Fergus, *Visualizing and understanding
    convolutional networks*, 2014, section 4.2). A fall of no more than rounding makes counts as none.
    """
    size = image.shape[0]
    cells = _cells(size)
    edges = np.linspace(0, size, cells + 1).round().astype(int)
    corners = [(row, column) for row in range(1 - PATCH, cells) for column in range(1 - PATCH, cells)]

    def covered() -> Iterator[Pixels]:
        for row, column in corners:
            one = image.copy()
            top, left = edges[max(row, 0)], edges[max(column, 0)]
            bottom, right = (edges[min(at + PATCH, cells)] for at in (row, column))
            one[top:bottom, left:right] = cover
            yield one

    whole = float(score(image[None])[0])
    falls = whole - _scores(covered(), len(corners), score, progress)
    square = falls.reshape(2 * (cells + PATCH - 1,))
    windows = np.lib.stride_tricks.sliding_window_view(square, (PATCH, PATCH))
    return Found(windows.mean(axis=(2, 3)).astype(np.float32), 1e-4, whole)


def covers(size: int) -> int:
    """Return how many images of ``size`` pixels a side occlusion covers: how often it runs the network.

    >>> covers(224)
    256
    """
    return int((_cells(size) + PATCH - 1) ** 2)


def _cells(size: int) -> int:
    return min(max(size // CELL, MIN_CELLS), MAX_CELLS, size)


def rise(
    image: Pixels, score: Score, cover: Pixels, progress: Progress | None = None, masks: int = MASKS, seed: int = 0
) -> Found:
    """Show random halves of the image (S, S, C), the rest in the colour ``cover`` (C,), and see what the score follows.

    A value is how much higher the score is where its cell is shown than where it is not: the slope of the score on the
    mask (after Petsiuk et al., *RISE: randomized input sampling for explanation of black-box models*, 2018, whose maps
    are means of the score, without a sign). ``noise`` is three standard errors of it.
    """
    size = image.shape[0]
    grid = min(size, MAX_GRID)
    random = np.random.default_rng(seed)
    small: list[NDArray[Any]] = []

    def masked() -> Iterator[Pixels]:
        for _ in range(masks):
            mask = _mask(random, size)
            small.append(np.asarray(Image.fromarray(mask).resize((grid, grid), Image.Resampling.BOX)).ravel())
            shown = mask[:, :, None]
            yield (image * shown + cover * (1 - shown) + 0.5).astype(np.uint8)

    scores = _scores(masked(), masks, score, progress)
    m = np.stack(small).astype(np.float64)
    centred, spread = m - m.mean(axis=0), np.maximum(m.var(axis=0), 1e-9)
    slope = (scores - scores.mean()) @ centred / masks / spread
    noise = DEVIATIONS * float((scores.std() / np.sqrt(masks * spread)).mean())
    return Found(slope.reshape(grid, grid).astype(np.float32), noise, float(score(image[None])[0]))


def _mask(random: np.random.Generator, size: int) -> Floats:
    """Return a smooth random mask (S, S), 0 to 1: cells shown or not, enlarged and shifted."""
    cell = -(-size // MASK_CELLS)
    side = (MASK_CELLS + 1) * cell
    drawn = (random.random((MASK_CELLS + 1, MASK_CELLS + 1)) < SHOWN).astype(np.float32)
    large = np.asarray(Image.fromarray(drawn).resize((side, side), Image.Resampling.BILINEAR))
    top, left = random.integers(0, cell, 2)
    return large[top : top + size, left : left + size]


def _scores(images: Iterator[Pixels], total: int, score: Score, progress: Progress | None) -> NDArray[np.float64]:
    found: list[NDArray[np.float64]] = []
    for start in range(0, total, BATCH):
        batch = [next(images) for _ in range(min(BATCH, total - start))]
        found.append(score(np.stack(batch)))
        if progress:
            progress(start + len(batch), total)
    return np.concatenate(found)
