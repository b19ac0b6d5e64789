"""Two ways of training, each repeated with several seeds, on the same images: the difference and what it can show.

Two things are left to chance: how a training turned out, and which images were measured. An interval of one pair of
runs (:mod:`googlenet.evaluation.comparison`) knows only of the images; that of the seeds' means only of the trainings.
Here both count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.errors import DataError
from googlenet.evaluation.comparison import Z_POWER, Comparison, compare_answers
from googlenet.evaluation.intervals import LEVEL, Interval, Z, unit_numbers


@dataclass(frozen=True)
class RepeatedComparison:
    """How the accuracy of one way of training differs from that of another, over S pairs of runs of the same seed.

    ``difference`` is the first one's accuracy minus the other's, a fraction of 1, with its 95 % interval. ``pairs``
    compare the runs of each seed. ``detectable`` is the smallest true difference that so many seeds and images find in
    80 % of cases, and ``detectable_by_one`` that one pair of runs does, were trainings not left to chance; ``None``
    where the runs never disagree.
    """

    difference: Interval
    pairs: tuple[Comparison, ...]
    detectable: float | None
    detectable_by_one: float | None

    @property
    def verdict(self) -> str:
        """``"better"``, ``"worse"``, ``"no difference"`` (0 is in the interval), or ``"unknown"`` of one seed."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None:
            return "unknown"
        return "better" if low > 0 else "worse" if high < 0 else "no difference"

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {
            "difference": self.difference.to_dict(),
            "detectable": self.detectable,
            "detectable_by_one": self.detectable_by_one,
            "verdict": self.verdict,
            "pairs": [pair.to_dict() for pair in self.pairs],
        }


def compare_repeats(
    first: NDArray[np.bool_], second: NDArray[np.bool_], groups: Sequence[str | None] | None = None
) -> RepeatedComparison:
    """Compare which of N images the runs of S seeds answered right, (S, N) each; ``groups`` (N,) as images have them.

    The variance of the difference is that of the seeds' means, plus that of the images' means (of groups, where there
    are groups), and its interval Student's with S - 1 degrees of freedom. What seeds and images share is counted
    twice, so the interval is rather too wide than too narrow.

    >>> first = np.array([[True] * 90 + [False] * 10] * 3)
    >>> found = compare_repeats(first, np.roll(first, 5, axis=1))
    >>> found.difference.value, found.verdict
    (0.0, 'no difference')
    """
    from scipy.stats import t

    seeds, n = first.shape
    if second.shape != first.shape or not n:
        raise DataError(f"runs are compared on the same images: got answers {first.shape} and {second.shape}")
    change = first.astype(float) - second
    value, pairs = (
        float(change.mean()),
        tuple(compare_answers(a, b, groups) for a, b in zip(first, second, strict=True)),
    )
    of_images = _variance_of_images(change.mean(axis=0), groups)
    of_one = [pair.detectable or 0.0 for pair in pairs]
    by_one = float(np.sqrt(np.mean(np.square(of_one)))) or None
    if seeds < 2:
        return RepeatedComparison(Interval(value, None, None, n), pairs, None, by_one)
    error = math.sqrt(float(change.mean(axis=1).var(ddof=1)) / seeds + of_images)
    half = float(t.ppf((1 + LEVEL) / 2, seeds - 1)) * error
    interval = Interval(value, max(-1.0, value - half), min(1.0, value + half), n)
    return RepeatedComparison(interval, pairs, (1 + Z_POWER / Z) * half or None, by_one)


def _variance_of_images(change: NDArray[np.float64], groups: Sequence[str | None] | None) -> float:
    """Return the variance of the mean of (N,) changes; the images of a group count as one."""
    n, units = len(change), unit_numbers(groups, len(change))
    units = np.arange(n) if units is None else units
    count = int(units.max()) + 1
    if count < 2:
        return 0.0
    away = np.bincount(units, change - change.mean())
    return float((away**2).sum() / n**2 * count / (count - 1))
