"""The 95 % interval of every metric of :mod:`googlenet.metrics`, from the answers to N images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.evaluation.intervals import (
    JACKKNIFE_BLOCKS,
    MAX_ELEMENTS,
    MIN_GROUPS,
    RESAMPLES,
    Interval,
    Statistic,
    bca,
    interval_of_sums,
    mean,
    proportion,
    unit_numbers,
)
from googlenet.metrics import METRICS, Metric, metrics_for

MAX_RESAMPLED = 20_000_000  # images in all resamples of a metric that is no function of sums
MIN_RESAMPLES = 200


def metric_intervals(
    truth: NDArray[Any],
    probabilities: NDArray[Any],
    thresholds: Sequence[float] = (),
    groups: Sequence[str | None] | None = None,
) -> dict[str, Interval]:
    """Return each metric with its interval: Wilson's for shares of images, the BCa bootstrap for the others.

    Args:
        truth: class numbers (N,), or with several labels booleans (N, K).
        probabilities: (N, K).
        thresholds: (K,), with several labels.
        groups: (N,), the group of each image, or ``None`` for those that are in none; whole groups are resampled.
    """
    several, limits = truth.ndim == 2, np.array(thresholds) if len(thresholds) else None
    named = probabilities >= limits if several and limits is not None else probabilities.argmax(axis=1)
    counted = _Counted(truth, named, probabilities.shape[1], groups)
    found = {}
    for metric in metrics_for(several):
        if metric.name in _OF_COUNTS:
            found[metric.name] = counted.interval(metric(truth, probabilities, limits), _OF_COUNTS[metric.name])
        elif metric.over == "images":
            values = np.asarray(metric.function(truth, probabilities, limits if limits is not None else np.zeros(0)))
            found[metric.name] = proportion(values, groups) if values.dtype == bool else mean(values, groups)
        else:
            found[metric.name] = _resampled(metric, truth, probabilities, limits, groups)
    return found


class _Counted:
    """Images as what they add to three counts of each class: right, true, named."""

    def __init__(self, truth: Any, named: Any, classes: int, groups: Sequence[str | None] | None) -> None:
        self.n, units = len(truth), unit_numbers(groups, len(truth))
        self.groups = None if units is None else int(units.max(initial=-1)) + 1
        if truth.ndim == 2:
            rows = _sparse(np.hstack([truth & named, truth, named]).astype(float))
            times, place = np.ones(self.n), np.arange(self.n)
        else:
            kinds, place, counts = np.unique(truth * classes + named, return_inverse=True, return_counts=True)
            times = counts.astype(float)
            rows = _of_one_label(kinds // classes, kinds % classes, classes)
        if units is not None:
            belongs: Any = _sparse((np.ones(self.n), (units, place)), (self.groups, rows.shape[0]))
            rows, times = belongs @ rows, np.ones(self.groups or 0)
        self.rows, self.times = rows, times

    def interval(self, value: float, statistic: Statistic) -> Interval:
        few = self.groups is not None and self.groups < MIN_GROUPS
        ends = (None, None) if few or self.n < 2 else interval_of_sums(self.rows, self.times, statistic)
        return Interval(value, *ends, self.n, self.groups)


def _sparse(*content: Any) -> Any:
    """Make a sparse matrix. scipy is loaded here: a command that is refused has not waited for it."""
    from scipy import sparse

    return sparse.csr_matrix(*content)


def _of_one_label(true: NDArray[Any], named: NDArray[Any], classes: int) -> Any:
    at, right = np.arange(len(true)), true == named
    columns = np.concatenate([true[right], classes + true, 2 * classes + named])
    lines = np.concatenate([at[right], at, at])
    return _sparse((np.ones(len(columns)), (lines, columns)), (len(true), 3 * classes))


def _balanced_accuracy(sums: Any) -> NDArray[np.float64]:
    right, true, _ = np.split(sums, 3, axis=1)
    there = true > 0.5
    return np.asarray((right / np.maximum(true, 1) * there).sum(1) / np.maximum(there.sum(1), 1))


def _macro_f1(sums: Any) -> NDArray[np.float64]:
    right, true, named = np.split(sums, 3, axis=1)
    concerned = true + named > 0.5
    return np.asarray((2 * right / np.maximum(true + named, 1) * concerned).sum(1) / np.maximum(concerned.sum(1), 1))


def _micro_f1(sums: Any) -> NDArray[np.float64]:
    right, true, named = np.split(sums, 3, axis=1)
    return np.asarray(2 * right.sum(1) / np.maximum(true.sum(1) + named.sum(1), 1))


_OF_COUNTS: dict[str, Statistic] = {
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "micro_f1": _micro_f1,
}


def _resampled(
    metric: Metric, truth: Any, probabilities: Any, limits: Any, groups: Sequence[str | None] | None
) -> Interval:
    """Compute a metric for each resample; the jackknife leaves out blocks of units."""
    n, units = len(truth), unit_numbers(groups, len(truth))
    count = n if units is None else int(units.max()) + 1
    value, known = metric(truth, probabilities, limits), None if units is None else count
    if count < (2 if units is None else MIN_GROUPS):
        return Interval(value, None, None, n, known)
    weighted = _weighted(metric, truth, probabilities, limits)

    def of(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the metric for how often each unit is drawn, (B, units) → (B,)."""
        size = max(1, MAX_ELEMENTS // n)
        parts = (weights[start : start + size] for start in range(0, len(weights), size))
        return np.concatenate([weighted(part if units is None else part[:, units]) for part in parts])

    random = np.random.default_rng(0)
    resamples = int(np.clip(MAX_RESAMPLED // probabilities.size, MIN_RESAMPLES, RESAMPLES))
    draws = (np.bincount(random.integers(0, count, count), minlength=count) for _ in range(resamples))
    replicates = of(np.stack(list(draws)))
    order, blocks = random.permutation(count), min(count, JACKKNIFE_BLOCKS)
    without = np.ones((blocks, count), np.int64)
    for block in range(blocks):
        without[block, order[block::blocks]] = 0
    return Interval(value, *bca(value, replicates, of(without), np.ones(blocks), count), n, known)


def _weighted(metric: Metric, truth: Any, probabilities: Any, limits: Any) -> Statistic:
    """Return a function of how often each image counts, (B, N) whole numbers → (B,) values of the metric."""
    if metric.name == "map":
        return mean_average_precision(truth, probabilities)
    every = np.arange(len(truth))

    def of(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        draws = (np.repeat(every, row) for row in weights)
        return np.array([metric(truth[at], probabilities[at], limits) for at in draws])

    return of


def mean_average_precision(truth: NDArray[np.bool_], probabilities: NDArray[Any]) -> Statistic:
    """Return a function of how often each image counts, (B, N) → (B,): the mean average precision, as scikit-learn's.

    Images are sorted once for each label, so that two thousand resamples take as long as a few.

    >>> truth, scores = np.array([[True], [False], [True]]), np.array([[0.9], [0.8], [0.7]])
    >>> mean_average_precision(truth, scores)(np.array([[1, 1, 1], [2, 0, 1]])).round(3)
    array([0.833, 1.   ])
    """
    scores, labels = np.nan_to_num(probabilities), []
    for k in np.flatnonzero(truth.any(axis=0)):
        order = np.argsort(-scores[:, k], kind="stable")
        ends = np.flatnonzero(np.append(np.diff(scores[order, k]) != 0, True))  # equal scores share a threshold
        labels.append((order, truth[order, k], ends))

    def of(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        total, known = np.zeros(len(weights)), np.zeros(len(weights))
        for order, has, ends in labels:
            drawn = weights[:, order].astype(np.float64)
            seen, found = drawn.cumsum(axis=1)[:, ends], (drawn * has).cumsum(axis=1)[:, ends]
            gained = np.diff(found, axis=1, prepend=0.0)
            positives = found[:, -1]
            precision = (gained * found / np.maximum(seen, 1)).sum(axis=1) / np.maximum(positives, 1)
            total, known = total + precision, known + (positives > 0)
        return np.asarray(total / np.maximum(known, 1))

    return of


def titled(name: str, interval: Interval) -> str:
    """Return a metric as people read it: its title, value, interval and unit.

    >>> titled("top1", Interval(0.9, 0.826, 0.945, 100))
    'top-1 90.00% [82.60%, 94.50%]'
    """
    metric = METRICS[name]
    ends = f" [{metric.format(interval.low)}, {metric.format(interval.high)}]" if interval.low is not None and (
        interval.high is not None) else ""  # fmt: skip
    return f"{metric.title} {metric.format(interval.value)}{ends}"
