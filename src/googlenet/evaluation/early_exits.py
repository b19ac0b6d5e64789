"""From which confidence on auxiliary heads may answer: Learn-then-Test.

Angelopoulos, Bates, Candès, Jordan and Lei, *Learn then test: calibrating predictive algorithms to achieve risk
control* (2021), sections 2 and 3: each threshold is a hypothesis that it errs too often, tested from the most careful
one on, and the first that cannot be rejected ends the sequence. As the order is fixed before the images are looked at,
no correction for many tests is needed. The error here is an answer other than the full network's, so p-values are
exact: binomial.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from googlenet.errors import GoogLeNetError
from googlenet.evaluation.calibration import calibrated, fit_temperature, logits_of

# Confidences that all heads share, each head's own temperature applied: most careful first. With the first, no head
# answers.
LEVELS = np.concatenate([[2.0], 1 - np.geomspace(1e-6, 0.7, 600)])
FOR_TEMPERATURES = 4  # one image in so many fits the temperatures of the heads, the others test
MAX_FOR_TEMPERATURES = 1000


@dataclass(frozen=True)
class Chosen:
    """The threshold of the heads' calibrated confidence, and what it did on the ``images`` that tested it.

    ``shares`` has the fraction of images that each head answered, ``differing`` the number of answers other than the
    full network's.
    """

    threshold: float
    shares: tuple[float, ...]
    differing: int
    images: int


def images_needed(tolerance: float, confidence: float) -> int:
    """Return how many images must test, if not one of them is answered otherwise.

    >>> images_needed(0.01, 0.95), images_needed(0.05, 0.9)
    (299, 45)
    """
    return math.ceil(round(math.log(1 - confidence) / math.log(1 - tolerance), 9))


def held_out_needed(tolerance: float, confidence: float) -> int:
    """Return how many held-out images there must be, with those that fit the temperatures."""
    return math.ceil(images_needed(tolerance, confidence) * FOR_TEMPERATURES / (FOR_TEMPERATURES - 1))


def check_promise(tolerance: float, confidence: float) -> None:
    """Raise :class:`GoogLeNetError` unless both are numbers between 0 and 1."""
    for name, value in (("tolerance", tolerance), ("confidence", confidence)):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < 1:
            raise GoogLeNetError(
                f"{name} is between 0 and 1, got {value!r}: tolerance=0.01 and confidence=0.95 promise at most 1 % "
                "other answers, at 95 %"
            )


def temperatures_of(heads: list[NDArray[np.float32]], full: NDArray[np.float32]) -> list[float]:
    """Return for each head the temperature with which its confidence tells best whether the full network agrees.

    ``heads`` and ``full`` are probabilities, (N, K) each.
    """
    return [round(fit_temperature(logits_of(each), full.argmax(axis=1)), 6) for each in heads]


def with_temperatures(heads: list[NDArray[np.float32]], temperatures: list[float]) -> list[NDArray[np.float64]]:
    """Return the probabilities of heads (N, K) with the temperatures applied."""
    return [calibrated(each, temperature) for each, temperature in zip(heads, temperatures, strict=True)]


def answered_by(confidences: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return which head answers each image at each of L thresholds, (L, N); H for the full network.

    ``confidences`` are those of the heads, (H, N).
    """
    by = np.full((len(levels), confidences.shape[1]), len(confidences), np.int64)
    for head in reversed(range(len(confidences))):
        by[confidences[head] >= levels[:, None]] = head
    return by


def p_values(differing: NDArray[np.int64] | int, images: int, tolerance: float) -> NDArray[np.float64]:
    """Return how probable so few other answers are if more than ``tolerance`` of all answers are other ones.

    >>> p_values(np.array([0, 3]), 299, 0.01).round(2).tolist()
    [0.05, 0.65]
    """
    from scipy.stats import binom

    return np.asarray(binom.cdf(differing, images, tolerance))


def choose_threshold(
    heads: list[NDArray[np.float64]], full: NDArray[np.float32], tolerance: float, confidence: float
) -> Chosen:
    """Return the least careful threshold that Learn-then-Test allows, of probabilities (N, K) of heads and network.

    With a probability of ``confidence`` over the N images, the fraction of answers other than the full network's is
    then at most ``tolerance``, for images like these. Raises :class:`GoogLeNetError` if N is too small for that.
    """
    images = len(full)
    confidences = np.stack([each.max(axis=1) for each in heads])
    differs = np.stack([*(each.argmax(axis=1) != full.argmax(axis=1) for each in heads), np.zeros(images, bool)])
    by = answered_by(confidences, LEVELS)
    differing = differs[by, np.arange(images)].sum(axis=1)
    fails = p_values(differing, images, tolerance) > 1 - confidence + 1e-12
    last = int(fails.argmax()) - 1 if fails.any() else len(LEVELS) - 1
    if last < 0:
        raise too_few(images * FOR_TEMPERATURES // (FOR_TEMPERATURES - 1), tolerance, confidence)
    shares = tuple(float(np.mean(by[last] == head)) for head in range(len(heads)))
    return Chosen(float(LEVELS[last]), shares, int(differing[last]), images)


def too_few(images: int, tolerance: float, confidence: float) -> GoogLeNetError:
    """Return the error of too few held-out images, which names the number that is needed."""
    return GoogLeNetError(
        f"at most {100 * tolerance:.4g} % other answers, at {100 * confidence:.4g} %, needs "
        f"{held_out_needed(tolerance, confidence):,} held-out images, and there are {images:,}: hold out more, or "
        "allow more with a larger tolerance"
    )
