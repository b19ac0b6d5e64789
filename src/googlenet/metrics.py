"""The metrics, in one table: adding one is one entry.

Training computes them on the held-out images of every epoch (log.csv, the display, the card), ``evaluate`` on any
labelled images; plots and the Hub's page take titles and units from here. No module needs another list of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Truth = NDArray[Any]  # (N,) class numbers, or (N, K) booleans where an image may have several labels
Floats = NDArray[Any]  # probabilities (N, K), or thresholds (K,)


@dataclass(frozen=True)
class Metric:
    """One number that says how good a classifier's answers are.

    Args:
        name: its key in ``log.csv`` (after ``val_``), ``card.json`` and everywhere in JSON.
        title: its name in tables, messages and plots.
        better: whether higher or lower values are better.
        unit: ``"fraction"`` of 1, which people see in percent, or ``""`` for a plain number.
        over: what it is the mean of. ``"images"``: ``function`` returns one value for each image, (N,), and large
            data is measured batch by batch. ``"data"``: ``function`` sees all images at once and returns one number.
        function: called with the truth (class numbers (N,); with several labels booleans (N, K)), the probabilities
            (N, K) and the thresholds (K,), which only a classifier with several labels has.
        logged: whether training computes it after every epoch.
    """

    name: str
    title: str
    better: Literal["higher", "lower"]
    unit: Literal["fraction", ""]
    over: Literal["images", "data"]
    function: Callable[[Truth, Floats, Floats], Any]
    logged: bool = True

    def __call__(self, truth: Truth, probabilities: Floats, thresholds: Floats | None = None) -> float:
        """Return the metric of N images; 0 where there are none.

        >>> METRICS["top1"](np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
        0.5
        """
        if not len(truth):
            return 0.0
        values = self.function(
            truth, probabilities, np.full(probabilities.shape[1], 0.5) if thresholds is None else thresholds
        )
        return float(np.mean(values))

    def format(self, value: float) -> str:
        """Return a value as people read it.

        >>> METRICS["top1"].format(0.975)
        '97.50%'
        """
        return f"{value:.2%}" if self.unit == "fraction" else f"{value:.4g}"

    def key(self, value: float) -> float:
        """Return a number that is higher where the value is better."""
        return value if self.better == "higher" else -value


def _in_top(count: int) -> Callable[[Truth, Floats, Floats], NDArray[np.bool_]]:
    """Whether the true class is among the ``count`` most probable ones, (N,). Of equals the first class wins."""

    def function(truth: Truth, probabilities: Floats, _: Floats) -> NDArray[np.bool_]:
        if count == 1:
            return np.asarray(probabilities.argmax(axis=1) == truth)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
        return np.asarray((best == truth[:, None]).any(axis=1))

    return function


def _exact(truth: Truth, probabilities: Floats, thresholds: Floats) -> NDArray[np.bool_]:
    return np.asarray(((probabilities >= thresholds) == truth).all(axis=1))


def _mean_average_precision(truth: Truth, probabilities: Floats, _: Floats) -> float:
    return mean_defined(average_precisions(truth, probabilities))


def _micro_f1(truth: Truth, probabilities: Floats, thresholds: Floats) -> float:
    from sklearn import metrics

    return float(metrics.f1_score(truth.ravel(), (probabilities >= thresholds).ravel(), zero_division=0))


def _balanced_accuracy(truth: Truth, probabilities: Floats, _: Floats) -> float:
    right = probabilities.argmax(axis=1) == truth
    images = np.bincount(truth, minlength=probabilities.shape[1])
    recalls = np.bincount(truth, right, minlength=len(images)) / np.maximum(images, 1)
    return float(recalls[images > 0].mean())


def _macro_f1(truth: Truth, probabilities: Floats, thresholds: Floats) -> float:
    from sklearn import metrics

    if truth.ndim == 1:
        return float(metrics.f1_score(truth, probabilities.argmax(axis=1), average="macro", zero_division=0))
    named = probabilities >= thresholds
    concerned = truth.any(axis=0) | named.any(axis=0)
    each = [metrics.f1_score(truth[:, k], named[:, k], zero_division=0) for k in range(truth.shape[1])]
    return mean_defined(np.where(concerned, each, np.nan))


def _log_loss(truth: Truth, probabilities: Floats, _: Floats) -> NDArray[np.float64]:
    """Cross-entropy of each image in nats, (N,): with several labels the binary one, mean over labels."""
    tiny = np.finfo(np.float64).tiny  # a probability of 0 would be an infinite loss
    if truth.ndim == 1:
        return np.asarray(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], tiny)))
    of_truth = np.where(truth, probabilities, 1 - probabilities)
    return np.asarray(-np.log(np.maximum(of_truth, tiny)).mean(axis=1))


def _brier(truth: Truth, probabilities: Floats, _: Floats) -> NDArray[np.float64]:
    """Squared error of the probabilities of each image, (N,), as scikit-learn computes it.

    It is the sum over classes, half of it for two classes; with several labels the mean over labels.
    """
    has = truth if truth.ndim == 2 else np.arange(probabilities.shape[1]) == truth[:, None]
    squares = np.square(probabilities - has)
    if truth.ndim == 2:
        return np.asarray(squares.mean(axis=1))
    return np.asarray(squares.sum(axis=1) / (2 if probabilities.shape[1] == 2 else 1))


# the mean over the classes or labels that any image has or was given; in training, at thresholds of 0.5
MACRO_F1 = Metric("macro_f1", "macro F1", "higher", "fraction", "data", _macro_f1, logged=False)
# What training minimises, without label smoothing: ``val_loss`` of the log on held-out images.
LOSS = Metric("loss", "loss", "lower", "", "images", _log_loss, logged=False)
# How good the probabilities are, and not only the answers.
OF_PROBABILITIES = (
    replace(LOSS, name="log_loss", title="log loss"),
    Metric("brier", "Brier score", "lower", "", "images", _brier, logged=False),
)

# The first of each table is the one that the best epoch is chosen by and precisions are compared by.
ONE_LABEL = (
    Metric("top1", "top-1", "higher", "fraction", "images", _in_top(1)),
    Metric("top5", "top-5", "higher", "fraction", "images", _in_top(5)),
    # the mean, over the classes that any image has, of the share of their images that are answered right
    Metric("balanced_accuracy", "balanced accuracy", "higher", "fraction", "data", _balanced_accuracy, logged=False),
    MACRO_F1,
    *OF_PROBABILITIES,
)
SEVERAL_LABELS = (
    # the mean, over the labels that any image has, of the area under precision over recall
    Metric("map", "mAP", "higher", "fraction", "data", _mean_average_precision),
    # the share of images whose labels are all right; in training, at thresholds of 0.5
    Metric("exact", "exact match", "higher", "fraction", "images", _exact),
    # every label of every image counts alike
    Metric("micro_f1", "micro F1", "higher", "fraction", "data", _micro_f1, logged=False),
    MACRO_F1,
    *OF_PROBABILITIES,
)
METRICS = {metric.name: metric for metric in (*ONE_LABEL, *SEVERAL_LABELS, LOSS)}


def metrics_for(multi_label: bool) -> tuple[Metric, ...]:
    """Return the metrics of a classifier, the main one first.

    >>> [metric.title for metric in metrics_for(multi_label=False)]
    ['top-1', 'top-5', 'balanced accuracy', 'macro F1', 'log loss', 'Brier score']
    """
    return SEVERAL_LABELS if multi_label else ONE_LABEL


def truth_of(labels: Sequence[tuple[int, ...]], classes: int, multi_label: bool) -> Truth:
    """Return the truth that metrics take, of the class numbers of each of N images.

    >>> truth_of([(1,), (0,)], 2, multi_label=False).tolist(), truth_of([(0, 1), ()], 2, multi_label=True).tolist()
    ([1, 0], [[True, True], [False, False]])
    """
    if not multi_label:
        return np.array([label for (label,) in labels], np.int64)
    has = np.zeros((len(labels), classes), bool)
    for row, those in zip(has, labels, strict=True):
        row[list(those)] = True
    return has


def average_precisions(truth: NDArray[np.bool_], probabilities: Floats) -> NDArray[np.float64]:
    """Return the average precision of each label, (K,); NaN for one that no image has."""
    from sklearn import metrics

    scores = np.nan_to_num(probabilities)
    return np.array(
        [metrics.average_precision_score(truth[:, k], scores[:, k]) if truth[:, k].any() else np.nan
         for k in range(truth.shape[1])]
    )  # fmt: skip


def mean_defined(values: NDArray[np.float64]) -> float:
    """Return the mean of what is not NaN; 0 where nothing is left.

    >>> mean_defined(np.array([0.5, np.nan, 1.0]))
    0.75
    """
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else 0.0
