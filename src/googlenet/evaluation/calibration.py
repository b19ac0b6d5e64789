"""How far probabilities can be believed: temperature scaling, and what calibration errors mean at so few images.

A classifier is calibrated if, among answers given with a probability of 80 %, 80 % are right. Everything here is numpy
on (N, K) arrays; several labels are (N, K) truth of booleans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.inference.certainty import MIN_CALIBRATION_IMAGES

Floats = NDArray[np.float64]

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
LOWEST = 1e-38  # probability; float32 has no smaller normal number
FOLDS = 5  # of cross-fitting
BINS = 15  # of equally many images
MIN_DRAWS, DRAWS = 100, 1000  # simulated label sets of a perfect model
MAX_DRAWN = 20_000_000  # labels in all simulated sets
MAX_AT_ONCE = 2_000_000


def logits_of(probabilities: NDArray[Any], multi_label: bool = False) -> Floats:
    """Return logits (N, K) that have these probabilities: log p, or with several labels log(p / (1 - p)).

    >>> logits_of(np.array([[0.5, 0.5]])).round(3)
    array([[-0.693, -0.693]])
    """
    p = np.asarray(probabilities, np.float64)
    if not multi_label:
        return np.log(np.maximum(p, LOWEST))
    return np.log(np.maximum(p, LOWEST)) - np.log(np.maximum(1 - p, 2.0**-25))  # half of float32's step below 1


def calibrated(probabilities: NDArray[Any], temperature: float | tuple[float, ...]) -> Floats:
    """Return the probabilities (N, K) after dividing their logits by the temperature, or by one for each label.

    >>> calibrated(np.array([[0.8, 0.2]]), 2.0).round(3)
    array([[0.667, 0.333]])
    """
    multi_label = not isinstance(temperature, (int, float))
    logits = logits_of(probabilities, multi_label) / np.asarray(temperature)
    return _sigmoid(logits) if multi_label else np.exp(_log_softmax(logits))


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the temperature of the lowest log loss on (N, K) logits and (N,) class numbers, within 0.05 to 20.

    The log loss is convex in 1/T, and the order of the classes never changes (Guo et al., *On calibration of modern
    neural networks*, 2017, section 4.2).

    >>> fit_temperature(np.log([[0.9, 0.1]] * 4), np.array([0, 0, 0, 1])).__round__(3)
    2.0
    """
    z = np.asarray(logits, np.float64)
    z = z - z.max(axis=1, keepdims=True)
    true = z[np.arange(len(z)), labels]

    def slope(inverse: float) -> float:
        weights = np.exp(inverse * z)
        return float(np.mean((weights * z).sum(axis=1) / weights.sum(axis=1) - true))

    return _root(slope)


def fit_class_temperatures(logits: NDArray[Any], truth: NDArray[np.bool_]) -> tuple[float, ...]:
    """Return a temperature for each of K labels, on (N, K) logits and truth; 1 for one that all images have, or none.

    Thresholds have to move along: :func:`moved_thresholds`.
    """
    z = np.asarray(logits, np.float64)

    def fit(k: int) -> float:
        if truth[:, k].all() or not truth[:, k].any():
            return 1.0
        return _root(lambda inverse: float(np.mean((_sigmoid(inverse * z[:, k]) - truth[:, k]) * z[:, k])))

    return tuple(fit(k) for k in range(z.shape[1]))


def _root(slope: Any) -> float:
    """Return the temperature 1/b where an increasing function of b passes 0, by bisection; a bound if none."""
    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    if slope(low) >= 0:
        return MAX_TEMPERATURE
    if slope(high) <= 0:
        return MIN_TEMPERATURE
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 2 / (low + high)


def moved_thresholds(thresholds: tuple[float, ...], temperatures: tuple[float, ...]) -> tuple[float, ...]:
    """Return the thresholds of calibrated probabilities that name the same labels as before.

    >>> moved_thresholds((0.8, 0.5), (2.0, 2.0))
    (0.666667, 0.5)
    """
    moved = calibrated(np.array([thresholds]), temperatures)[0]
    ends = (0.0, 1.0)  # these name all, or none
    return tuple(t if t in ends else round(float(m), 6) for t, m in zip(thresholds, moved, strict=True))


@dataclass(frozen=True)
class Temperature:
    """A temperature, or one for each label, and why it is what it is.

    ``before`` and ``after`` are the log loss of ``images`` held-out images without it and with it; each image is
    measured with a temperature that was fitted on the others (5 folds).
    """

    value: float | tuple[float, ...]
    images: int
    before: float
    after: float


def choose_temperature(probabilities: NDArray[Any], truth: NDArray[Any]) -> Temperature:
    """Fit the temperature on (N, K) probabilities, and keep it at 1 where it does not lower the held-out log loss.

    ``truth`` is (N,) class numbers, or (N, K) booleans; then each label is decided on its own. Whether the loss falls
    is measured by cross-fitting, so that no image judges a temperature it was used for. Fewer than 10 images: 1. No
    temperature makes answers surer than the images show: see :func:`not_too_sure`.
    """
    multi_label = truth.ndim == 2
    logits, count = logits_of(probabilities, multi_label), probabilities.shape[1]

    def fit(z: Floats, those: NDArray[Any]) -> Any:
        if not multi_label:
            return not_too_sure(z, fit_temperature(z, those))
        found = fit_class_temperatures(z, those)
        return tuple(not_too_sure(np.stack([z[:, k], 0 * z[:, k]], axis=1), t) for k, t in enumerate(found))

    ones = np.ones(count) if multi_label else 1.0
    before = _losses(logits, truth)
    after = before.copy()
    if len(truth) >= MIN_CALIBRATION_IMAGES:
        fold = np.random.default_rng(0).permutation(len(truth)) % FOLDS
        for number in range(FOLDS):
            own = fold == number
            after[own] = _losses(logits[own] / np.asarray(fit(logits[~own], truth[~own])), truth[own])
    falls = after.mean(axis=0) < before.mean(axis=0)  # (K,) with several labels
    fitted = np.where(falls, fit(logits, truth), ones) if np.any(falls) else np.asarray(ones)
    value = tuple(round(float(t), 6) for t in fitted) if multi_label else round(float(fitted), 6)
    kept = np.where(falls, after, before)
    return Temperature(value, len(truth), float(before.mean()), float(kept.mean()))


def not_too_sure(logits: Floats, temperature: float) -> float:
    """Return a temperature of (N, K) logits, raised towards 1 where answers would be surer than N images can show.

    The log loss of images without a mistake falls the more, the lower the temperature. But N right answers show a
    probability of (N + 1) / (N + 2) and no more, by the rule of succession: answers are at most as sure on average.

    >>> sure = np.log([[0.9, 0.1]] * 8)
    >>> round(not_too_sure(sure, 0.05), 4), not_too_sure(np.log([[0.6, 0.4]] * 8), 0.9)
    (1.0, 0.9)
    """
    limit = (len(logits) + 1) / (len(logits) + 2)

    def surplus(at: float) -> float:
        return float(np.exp(_log_softmax(logits / at)).max(axis=1).mean()) - limit

    if temperature >= 1 or surplus(temperature) <= 0:
        return temperature
    low, high = temperature, 1.0
    if surplus(high) >= 0:
        return high
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if surplus(middle) > 0 else (low, middle)
    return high


def _losses(logits: Floats, truth: NDArray[Any]) -> Floats:
    """Return the log loss of each image (N,), or of each image and label (N, K)."""
    if truth.ndim == 2:
        return np.asarray(np.logaddexp(0, np.where(truth, -logits, logits)))
    return np.asarray(-_log_softmax(logits)[np.arange(len(truth)), truth])


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _sigmoid(x: Any) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


# What is wrong with given probabilities: ``stated`` (N,) of being right, and whether that was ``right`` (N,).


def stated_and_right(probabilities: NDArray[Any], truth: NDArray[Any]) -> tuple[Floats, NDArray[np.bool_]]:
    """Return of each answer the probability that it is right, as stated, and whether it is.

    The answer is the most probable class; with several labels (``truth`` (N, K)) each label of each image is one.
    """
    p = np.asarray(probabilities, np.float64)
    if truth.ndim == 2:
        return p.ravel(), np.asarray(truth, bool).ravel()
    return p.max(axis=1), np.asarray(p.argmax(axis=1) == truth)


@dataclass(frozen=True)
class Decomposition:
    """The Brier score of stated probabilities in parts: ``score = miscalibration - discrimination + uncertainty``.

    ``miscalibration`` is what would be gained by recalibrating with the best increasing function, ``discrimination``
    what the recalibrated probabilities gain over always stating the average, ``uncertainty`` the score of that.
    """

    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float


def decompose(stated: NDArray[Any], right: NDArray[Any]) -> Decomposition:
    """Decompose the Brier score by isotonic regression.

    CORP of Dimitriadis, Gneiting and Jordan, *Stable reliability diagrams for probabilistic classifiers* (2021): no
    bins are chosen, and no part is negative.
    """
    from sklearn.isotonic import IsotonicRegression

    stated, hit = np.asarray(stated, np.float64), np.asarray(right, np.float64)
    recalibrated = IsotonicRegression(y_min=0, y_max=1).fit_transform(stated, hit)
    score, best, constant = (
        float(np.mean((forecast - hit) ** 2)) for forecast in (stated, recalibrated, np.full_like(hit, hit.mean()))
    )
    return Decomposition(score, score - best, constant - best, constant)


@dataclass(frozen=True)
class CalibrationError:
    """How far stated probabilities are from the truth, a root mean square over images, as a fraction of 1.

    ``error`` is corrected for what chance adds: on average 0 for a perfect model, and below 0 where less than that
    shows. A perfect model of so many ``images`` stays below ``perfect`` in 95 % of cases.
    """

    error: float
    perfect: float
    images: int

    @property
    def is_visible(self) -> bool:
        """Whether more miscalibration shows than chance explains."""
        return self.error > self.perfect

    @property
    def shown(self) -> str:
        """The error as people read it: of less than chance adds, nothing shows."""
        return f"{max(self.error, 0):.1%}"


def calibration_error(stated: NDArray[Any], right: NDArray[Any], seed: int = 0) -> CalibrationError:
    """Measure the calibration error, corrected for chance, and what a perfect model would show.

    The plain error of 15 bins is 2 % for a perfect model of 2,000 images. The estimate of Kumar, Liang and Ma
    (*Verified uncertainty calibration*, 2019, section 4.2) takes off the variance of each bin. The limit of a perfect
    model is simulated: labels are drawn from the stated probabilities themselves (Bröcker and Smith, *Increasing the
    reliability of reliability diagrams*, 2007).
    """
    order = np.argsort(stated, kind="stable")
    p, hit = np.asarray(stated, np.float64)[order], np.asarray(right, np.float64)[order]
    starts = _bin_starts(p)
    simulated = _perfect_errors(p, starts, np.random.default_rng(seed))
    centre = float(simulated.mean())  # a root is not linear: half a point below 0 for 200 images
    limit = float(np.quantile(simulated, 0.95))
    return CalibrationError(float(_debiased(p, hit, starts)) - centre, limit - centre, len(p))


def _perfect_errors(p: Floats, starts: NDArray[np.int64], random: np.random.Generator) -> Floats:
    """Return the errors of simulated labels, some draws at a time: as many fit into memory."""
    draws = int(np.clip(MAX_DRAWN // len(p), MIN_DRAWS, DRAWS))
    at_once = max(1, MAX_AT_ONCE // len(p))
    limit = p.astype(np.float32)
    parts = [
        _debiased(p, random.random((min(at_once, draws - begun), len(p)), np.float32) < limit, starts)
        for begun in range(0, draws, at_once)
    ]
    return np.concatenate(parts)


def _bin_starts(p: Floats) -> NDArray[np.int64]:
    """Divide sorted probabilities into bins of equally many, two images at least: the first index of each bin."""
    bins = max(1, min(BINS, len(p) // 2))
    return np.unique(np.arange(bins) * len(p) // bins)


def _debiased(p: Floats, hit: NDArray[Any], starts: NDArray[np.int64]) -> Floats:
    """Return the root of the corrected mean square, with its sign: (…, N) → (…)."""
    counts = np.diff([*starts, len(p)])
    rate = np.add.reduceat(hit, starts, axis=-1, dtype=np.float64) / counts
    gap = np.add.reduceat(p, starts) / counts - rate
    chance = rate * (1 - rate) / np.maximum(counts - 1, 1)
    square = np.sum(counts * (gap**2 - chance), axis=-1) / len(p)
    return np.asarray(np.sign(square) * np.sqrt(np.abs(square)))
