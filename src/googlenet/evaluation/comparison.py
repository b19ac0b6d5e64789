"""Two classifiers on the same images: the difference, whether chance explains it, and what so many images can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.evaluation.intervals import MIN_GROUPS, Interval, Z, interval_of_sums, unit_numbers

Z_POWER = 0.8416212335729143  # of the normal distribution, for a power of 80 %
SIGNIFICANCE = 0.05
FLIPS = 10_000  # random signs for the test of groups
SEED = 0


@dataclass(frozen=True)
class Comparison:
    """How the accuracy of one classifier differs from that of another on the same images.

    ``difference`` is the first one's accuracy minus the other's, a fraction of 1. ``p_value``: how often chance alone
    makes a difference as large, if both are as good (exact McNemar test; images in groups: random signs of whole
    groups). ``detectable``: the smallest true difference that so many images find in 80 % of cases, given how often
    the two disagree; ``None`` where they never do.
    """

    difference: Interval
    p_value: float
    detectable: float | None
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int

    @property
    def verdict(self) -> str:
        """``"better"``, ``"worse"`` or ``"no difference"`` (p of 0.05 or more) of the first."""
        if self.p_value >= SIGNIFICANCE:
            return "no difference"
        return "better" if self.difference.value > 0 else "worse"

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        counts = {name: getattr(self, name) for name in ("both_right", "only_first", "only_second", "both_wrong")}
        return {
            "difference": self.difference.to_dict(),
            "p_value": self.p_value,
            "detectable": self.detectable,
            "verdict": self.verdict,
            **counts,
        }


def compare_answers(
    first: NDArray[np.bool_], second: NDArray[np.bool_], groups: Sequence[str | None] | None = None
) -> Comparison:
    """Compare which of N images two classifiers answered right, (N,) each; ``groups`` as the images have them.

    >>> found = compare_answers(np.array([True] * 90 + [False] * 10), np.array([True] * 80 + [False] * 20))
    >>> found.verdict, found.only_first, round(found.p_value, 4)
    ('better', 10, 0.002)
    """
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    n, units = len(first), unit_numbers(groups, len(first))
    change = first.astype(float) - second
    if units is None:
        interval, p_value = _paired_interval(only_first, only_second, n), mcnemar(only_first, only_second)
        spread = (only_first + only_second) / n
    else:
        sums = np.bincount(units, change).astype(np.float64)
        interval, p_value = _grouped_interval(sums, np.bincount(units), n), _random_signs(sums)
        spread = float((sums**2).sum()) / n  # of groups, whose images may err together
    detectable = smallest_difference(spread, n) if spread else None
    return Comparison(interval, p_value, detectable, int((first & second).sum()), only_first, only_second,
                      int((~first & ~second).sum()))  # fmt: skip


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the p-value of the exact McNemar test: of images that one alone got right, are as many the other's?

    >>> round(mcnemar(10, 0), 5), mcnemar(3, 3)
    (0.00195, 1.0)
    """
    from scipy.stats import binomtest

    apart = only_first + only_second
    return float(binomtest(only_first, apart, 0.5).pvalue) if apart else 1.0


def smallest_difference(discordant: float, n: int) -> float:
    """Return the smallest difference of accuracy that ``n`` images show in 80 % of cases, at a level of 5 %.

    ``discordant`` is the share of images that one of the two alone gets right.

    >>> round(smallest_difference(0.1, 2000), 3)
    0.02
    """
    return (Z + Z_POWER) * math.sqrt(discordant / n)


def _paired_interval(only_first: int, only_second: int, n: int) -> Interval:
    """Bonett and Price's adjusted Wald interval of paired proportions (2012)."""
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = Z * math.sqrt((first + second - (first - second) ** 2) / (n + 2))
    low, high = max(-1.0, first - second - half), min(1.0, first - second + half)
    return Interval((only_first - only_second) / n, low, high, n)


def _grouped_interval(sums: NDArray[np.float64], sizes: NDArray[np.int64], n: int) -> Interval:
    count, value = len(sums), float(sums.sum() / n)
    if count < MIN_GROUPS:
        return Interval(value, None, None, n, count)
    pairs = np.column_stack([sums, sizes])
    ends = interval_of_sums(pairs, np.ones(count), lambda each: np.asarray(each[:, 0] / each[:, 1]), SEED)
    return Interval(value, *ends, n, count)


def _random_signs(sums: NDArray[np.float64]) -> float:
    """Return how often random signs of the groups' differences make a difference as large as there is."""
    apart = sums[sums != 0]
    if not len(apart):
        return 1.0
    random, size = np.random.default_rng(SEED), max(1, 4_000_000 // len(apart))
    there, reached = abs(apart.sum()) - 1e-9, 0
    for start in range(0, FLIPS, size):
        signs = random.integers(0, 2, (min(size, FLIPS - start), len(apart))) * 2 - 1
        reached += int((np.abs(signs @ apart) >= there).sum())
    return (reached + 1) / (FLIPS + 1)
