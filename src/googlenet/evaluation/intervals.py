"""95 % intervals of proportions and of metrics: Wilson's, and the BCa bootstrap, by group where images have groups.

A metric that counts (accuracy of classes, F1) is a function of sums over images. The bootstrap then draws how often
each distinct answer occurs, and the jackknife leaves out one of each, so that 50,000 images take less than a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Any], Floats]  # sums (B, F) → the metric of each, (B,)

Z = 1.959963984540054  # of the normal distribution, for 95 %
LEVEL = 0.95
RESAMPLES = 2_000
MIN_GROUPS = 10  # with fewer, resampling them gives intervals that are much too narrow
MAX_ELEMENTS = 4_000_000  # of a batch of resamples
MAX_UNITS = 2_000  # that a mean is resampled of: more are added up in blocks
JACKKNIFE_BLOCKS = 50  # for metrics that are no function of sums


@dataclass(frozen=True)
class Interval:
    """A figure with the ends of its 95 % interval, fractions of 1, from ``n`` images in ``groups`` groups (or none).

    ``low`` and ``high`` are ``None`` where no interval is known: too few groups, or nothing varies.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    groups: int | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.1%}"
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        found = {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
        return found if self.groups is None else {**found, "groups": self.groups}


def wilson(right: int, n: int) -> Interval:
    """Return the share of ``right`` among ``n`` with Wilson's interval (1927), as statsmodels and scipy compute it.

    >>> str(wilson(90, 100))
    '90.0% [82.6%, 94.5%]'
    """
    if not n:
        return Interval(0.0, None, None, 0)
    share, z2 = right / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(share, 0.0 if right == 0 else middle - half, 1.0 if right == n else middle + half, n)


def proportion(right: NDArray[np.bool_], groups: Sequence[str | None] | None = None, seed: int = 0) -> Interval:
    """Return the share of N images that are right, (N,): Wilson's interval, or the bootstrap of whole groups.

    An image without a group is a group of its own. Fewer than 10 groups have no interval. Where all images are alike,
    right or wrong, the groups count as images do in Wilson's interval.
    """
    n, units = len(right), unit_numbers(groups, len(right))
    if units is None or not n:
        return wilson(int(right.sum()), n)
    share, count = float(right.mean()), int(units.max()) + 1
    if count >= MIN_GROUPS and (right.all() or not right.any()):
        few = wilson(count if right.all() else 0, count)
        return Interval(share, few.low, few.high, n, count)
    return mean(right, groups, seed)


def mean(values: NDArray[Any], groups: Sequence[str | None] | None = None, seed: int = 0) -> Interval:
    """Return the mean of N values, (N,), with its interval by the bootstrap, of whole groups where images have groups.

    An image without a group is a group of its own. Fewer than 10 groups have no interval.
    """
    n, units = len(values), unit_numbers(groups, len(values))
    known = None if units is None else int(units.max(initial=-1)) + 1
    if n < 2 or (known is not None and known < MIN_GROUPS):
        return Interval(float(np.mean(values)) if n else 0.0, None, None, n, known)
    if units is None:
        units = np.random.default_rng(seed).permutation(n) % min(n, MAX_UNITS)
    sums = np.column_stack([np.bincount(units, values), np.bincount(units)])
    return Interval(float(np.mean(values)), *interval_of_sums(sums, np.ones(len(sums)), _ratio, seed), n, known)


def _ratio(sums: Any) -> Floats:
    return np.asarray(sums[:, 0] / np.maximum(sums[:, 1], 1e-12))


def unit_numbers(groups: Sequence[str | None] | None, n: int) -> NDArray[np.int64] | None:
    """Return the number of the unit that each image belongs to, (N,); ``None`` if each is a unit of its own.

    >>> unit_numbers(["a", None, "a", None], 4).tolist(), unit_numbers([None, None], 2)
    ([0, 1, 0, 2], None)
    """
    if groups is None or not any(group is not None for group in groups):
        return None
    keys = [(True, group) if group is not None else (False, str(at)) for at, group in enumerate(groups)]
    number: dict[tuple[bool, str], int] = {}
    return np.array([number.setdefault(key, len(number)) for key in keys[:n]], np.int64)


def interval_of_sums(
    units: Any, times: Floats, statistic: Statistic, seed: int = 0
) -> tuple[float | None, float | None]:
    """Return the BCa interval (Efron, 1987) of a statistic of sums over units that are drawn with replacement.

    Args:
        units: (U, F), dense or sparse: what each distinct unit adds to the sums.
        times: (U,), how many units are alike, so that their sum is the number of units.
        statistic: of sums (B, F), the metric of each row, (B,).
        seed: of the resamples.
    """
    random, count = np.random.default_rng(seed), round(float(times.sum()))
    total = np.asarray(times @ units).reshape(1, -1)
    size = max(1, MAX_ELEMENTS // max(units.shape))
    replicates = []
    for start in range(0, RESAMPLES, size):
        drawn = random.multinomial(count, times / times.sum(), min(size, RESAMPLES - start)).astype(float)
        replicates.append(statistic(np.asarray(drawn @ units)))
    left_out = []
    for start in range(0, len(times), size):
        rows = units[start : start + size]
        left_out.append(statistic(total - np.asarray(rows.todense() if hasattr(rows, "todense") else rows)))
    value = float(statistic(total)[0])
    return bca(value, np.concatenate(replicates), np.concatenate(left_out), times, count)


def bca(
    value: float, replicates: Floats, jackknife: Floats, times: Floats, count: int
) -> tuple[float | None, float | None]:
    """Return the ends of the BCa interval: bias-corrected and accelerated percentiles of the replicates.

    They are expanded for ``count`` units as Student's t is wider than the normal distribution (Hesterberg, *What
    teachers should know about the bootstrap*, 2015): else few units give intervals that are too narrow. ``jackknife``
    (J,) has the statistic without one unit of each kind, of which there are ``times`` (J,).
    """
    from scipy.stats import norm, t

    if np.ptp(replicates) < 1e-12:
        return None, None
    below = (np.mean(replicates < value) + np.mean(replicates <= value)) / 2
    bias = norm.ppf(np.clip(below, 1 / len(replicates), 1 - 1 / len(replicates)))
    away = np.average(jackknife, weights=times) - jackknife
    spread = float(times @ away**2)
    acceleration = float(times @ away**3) / (6 * spread**1.5) if spread > 0 else 0.0
    wide = t.ppf((1 + LEVEL) / 2, count - 1) * math.sqrt(count / (count - 1))
    ends = bias + np.array([-wide, wide])
    shares = norm.cdf(bias + ends / (1 - acceleration * ends))
    low, high = np.quantile(replicates, shares)
    return float(low), float(high)
