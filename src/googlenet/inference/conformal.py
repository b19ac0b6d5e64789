"""Sets of classes that hold the true one with a stated probability: conformal prediction. numpy alone.

Vovk, Gammerman and Shafer, *Algorithmic learning in a random world* (2005); for classifiers Angelopoulos and Bates, *A
gentle introduction to conformal prediction* (2021), sections 1 and 2.1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.errors import GoogLeNetError

LAC, APS = METHODS = ("lac", "aps")
GUARANTEE = (
    "the set of an image holds its true class in at least {level:.4g} % of cases, on average over images that come "
    "from where the {images:,} held-out images came from"
)


def scores(probabilities: NDArray[Any], labels: NDArray[Any], method: str = LAC) -> NDArray[np.float32]:
    """Return how badly (N, K) probabilities fit the true classes (N,), from 0 to 1: what sets are calibrated by.

    ``lac``: 1 minus the probability of the class (Sadinle, Lei and Wasserman, *Least ambiguous set-valued classifiers
    with bounded error levels*, 2019). ``aps``: the probability of all classes up to and with it, the most probable
    first (Romano, Sesia and Candès, *Classification with valid and adaptive coverage*, 2020, without randomisation).

    >>> scores(np.array([[0.7, 0.3]]), np.array([1])).round(2), scores(np.array([[0.7, 0.3]]), np.array([1]), "aps")
    (array([0.7], dtype=float32), array([1.], dtype=float32))
    """
    return np.asarray(_all_scores(probabilities, method)[np.arange(len(labels)), labels])


def _all_scores(probabilities: NDArray[Any], method: str) -> NDArray[np.float32]:
    """Return the score of each class, (N, K)."""
    p = np.asarray(probabilities, np.float32)
    if method == LAC:
        return np.asarray(1 - p)
    order = np.argsort(-p, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(p, order, axis=1), axis=1, dtype=np.float64).astype(np.float32)
    found = np.empty_like(p)
    np.put_along_axis(found, order, sums, axis=1)
    return found


def limit(calibration: NDArray[Any], level: float) -> float:
    """Return the score that the true class of a new image does not exceed with probability ``level``.

    ``calibration`` are the scores (N,) of held-out images. It is the ⌈(N + 1) · level⌉-th smallest of them.

    Raises :class:`GoogLeNetError` if ``level`` is not between 0 and 1, or N is too small for it.
    """
    check_level(level)
    rank = _rank(len(calibration), level)
    if rank > len(calibration):
        raise GoogLeNetError(
            f"sets at {100 * level:.4g} % need {images_needed(level):,} held-out images for calibration, the "
            f"classifier has {len(calibration):,}: ask for at most {100 * highest_level(len(calibration)):.4g} %, or "
            "hold out more"
        )
    return float(np.partition(np.asarray(calibration), rank - 1)[rank - 1])


def check_level(level: float) -> None:
    """Raise :class:`GoogLeNetError` unless the level is a number between 0 and 1."""
    if not isinstance(level, (int, float)) or isinstance(level, bool) or not 0 < level < 1:
        raise GoogLeNetError(f"the level of sets is between 0 and 1, got {level!r}: 0.9 holds the true class in 90 %")


def _rank(images: int, level: float) -> int:
    return math.ceil(round((images + 1) * level, 9))  # (9 + 1) · 0.9 must not be 9.000000000000002


def images_needed(level: float) -> int:
    """Return how many held-out images a level needs.

    >>> images_needed(0.9), images_needed(0.95), images_needed(0.99)
    (9, 19, 99)
    """
    return math.ceil(round(level / (1 - level), 6))


def highest_level(images: int) -> float:
    """Return the highest level that so many held-out images allow, rounded down.

    >>> highest_level(9)
    0.9
    """
    return math.floor(1000 * images / (images + 1)) / 1000


def sets(probabilities: NDArray[Any], limit: float, method: str = LAC) -> NDArray[np.bool_]:
    """Return which classes are in the set of each image, (N, K): those whose score does not exceed the limit.

    A set of ``lac`` can be empty: then no class is probable enough. One of ``aps`` has the most probable class always.

    >>> sets(np.array([[0.7, 0.2, 0.1]]), 0.85)
    array([[ True,  True, False]])
    """
    p = np.asarray(probabilities, np.float32)
    found = np.asarray(_all_scores(p, method) <= np.float32(limit))
    if method == APS:
        found[np.arange(len(p)), p.argmax(axis=1)] = True
    return found
