"""How good a classifier's answers are: every metric of ``googlenet.metrics``, and each class on its own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.extras import require
from googlenet.metrics import METRICS, average_precisions, metrics_for

require("train", "sklearn")  # which takes most of a second to load: not before there is something to measure

MIN_TOP5_CLASSES = 6


@dataclass(frozen=True)
class ClassMetrics:
    """One class: fractions of 1, and the number of its images."""

    name: str
    precision: float
    recall: float
    f1: float
    images: int


class _Values:
    """What both kinds of metrics share: ``values`` by name, of which each is an attribute too."""

    values: dict[str, float]

    def __getattr__(self, name: str) -> float:
        values = self.__dict__.get("values", {})  # nothing yet while it is unpickled
        if name not in values:
            raise AttributeError(f"{type(self).__name__} has no {name!r}; it has {', '.join(values) or 'no values'}")
        return float(values[name])

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *self.values])

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.values.items()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    def __str__(self) -> str:
        return ", ".join([*self.described(logged=True), f"{self.to_dict()['images']:,} images"])

    @property
    def score(self) -> float:
        """The metric that precisions are compared by: the first one."""
        return next(iter(self.values.values()))

    @property
    def shown(self) -> list[str]:
        """The names of the metrics that people are shown: of up to five classes top-5 is always 100 %."""
        few = len(getattr(self, "classes", ())) < MIN_TOP5_CLASSES
        return [name for name in self.values if name != "top5" or not few]

    def described(self, *, logged: bool = False) -> list[str]:
        """Return each metric with its title, as people read it; with ``logged`` those of training's log alone."""
        return [
            f"{METRICS[name].title} {METRICS[name].format(value)}"
            for name, value in self.values.items()
            if name in self.shown and (METRICS[name].logged or not logged)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False)
class Metrics(_Values):
    """How good the answers are where each image is of one class.

    ``values`` holds every metric by name (fractions of 1), and each is an attribute: ``metrics.top1``,
    ``metrics.top5``. ``confusion[i, j]`` (K, K) counts images of class i that were classified as j.
    """

    values: dict[str, float]
    classes: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64]

    def most_confused(self, count: int = 5) -> list[tuple[str, str, int]]:
        """Return the most frequent mistakes: true class, predicted class, number of images."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        pairs = [divmod(int(at), len(self.classes)) for at in order]
        return [(self.classes[i].name, self.classes[j].name, int(wrong[i, j])) for i, j in pairs if wrong[i, j]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each class: its name, precision, recall, F1 and number of images."""
        return [{"class": each.pop("name"), **each} for each in map(asdict, self.classes)]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {
            **self.values,
            "images": int(self.confusion.sum()),
            "classes": {each.pop("name"): each for each in map(asdict, self.classes)},
            "confusion": self.confusion.tolist(),
        }


def measure(labels: NDArray[np.int64], probabilities: NDArray[np.float32], class_names: tuple[str, ...]) -> Metrics:
    """Compute the metrics of (N,) true classes and (N, K) probabilities.

    >>> m = measure(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], np.float32), ("a", "b"))
    >>> round(m.top1, 3), m.classes[1].recall
    (0.667, 0.5)
    """
    from sklearn import metrics

    every = np.arange(len(class_names))
    predicted = probabilities.argmax(axis=1)
    with warnings.catch_warnings():  # of classes that were never predicted, and of a single class
        warnings.simplefilter("ignore")
        confusion = metrics.confusion_matrix(labels, predicted, labels=every)
        per_class = metrics.precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    classes = tuple(
        ClassMetrics(name, float(p), float(r), float(f), int(n))
        for name, p, r, f, n in zip(class_names, *per_class, strict=True)
    )
    values = {metric.name: metric(labels, probabilities) for metric in metrics_for(multi_label=False)}
    return Metrics(values, classes, confusion)


# Images with several labels, or none: truth (N, K) of booleans, probabilities (N, K).


@dataclass(frozen=True)
class LabelMetrics:
    """One label: fractions of 1 at its ``threshold``, and the number of images that have it (``positives``).

    ``average_precision`` is the area under precision over recall at every threshold; ``None`` without positives.
    """

    name: str
    positives: int
    average_precision: float | None
    precision: float
    recall: float
    f1: float
    threshold: float


@dataclass(frozen=True, eq=False, repr=False)
class MultiLabelMetrics(_Values):
    """How good the answers are where an image may have several labels, or none.

    ``values`` holds every metric by name (fractions of 1), and each is an attribute. ``map`` is the mean of the
    average precisions of the labels that any image has. ``exact`` is the share of images whose labels are all right.
    ``micro_f1`` counts every label of every image alike; ``macro_f1`` is the mean F1 of the labels that any image
    has or was given.
    """

    values: dict[str, float]
    images: int
    labels: tuple[LabelMetrics, ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each label: its name, number of images, average precision, precision, recall, F1, threshold."""
        return [{"label": each.pop("name"), **each} for each in map(asdict, self.labels)]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        labels = {each.pop("name"): each for each in map(asdict, self.labels)}
        return {**self.values, "images": self.images, "labels": labels}


def measure_labels(
    truth: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    thresholds: Sequence[float],
    class_names: tuple[str, ...],
) -> MultiLabelMetrics:
    """Compute the metrics of (N, K) true labels, (N, K) probabilities and K thresholds.

    >>> truth = np.array([[True, False], [True, True], [False, False]])
    >>> m = measure_labels(truth, np.array([[0.9, 0.6], [0.7, 0.4], [0.2, 0.1]], np.float32), (0.5, 0.5), ("a", "b"))
    >>> m.map, m.labels[0].f1, m.labels[1].average_precision, round(m.exact, 3)
    (0.75, 1.0, 0.5, 0.333)
    """
    from sklearn import metrics

    limits = np.array(thresholds)
    named = probabilities >= limits
    labels = []
    precisions = average_precisions(truth, probabilities)
    for at, (name, average_precision, threshold) in enumerate(zip(class_names, precisions, thresholds, strict=True)):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            truth[:, at], named[:, at], average="binary", zero_division=0
        )
        known = None if np.isnan(average_precision) else float(average_precision)
        positives = int(truth[:, at].sum())
        labels.append(LabelMetrics(name, positives, known, float(precision), float(recall), float(f1), threshold))
    values = {metric.name: metric(truth, probabilities, limits) for metric in metrics_for(multi_label=True)}
    return MultiLabelMetrics(values, len(truth), tuple(labels))


def best_thresholds(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> tuple[float, ...]:
    """Return for each label the threshold with the highest F1; 0.5 for a label that no image has.

    F1 changes only where a threshold passes a probability, so the threshold lies midway between two of them. Of
    thresholds with equal F1 the one nearest 0.5 is returned.

    >>> best_thresholds(np.array([[False], [True], [True]]), np.array([[0.1], [0.5], [0.9]], np.float32))
    (0.3,)
    """
    return tuple(
        _best_threshold(truth[:, k], np.nan_to_num(probabilities[:, k])) if truth[:, k].any() else 0.5
        for k in range(truth.shape[1])
    )


def _best_threshold(truth: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    from sklearn import metrics

    precision, recall, passed = metrics.precision_recall_curve(truth, scores)
    f1 = (
        2 * precision * recall / np.maximum(precision + recall, 1e-12)
    )  # the last threshold names no image: its F1 is 0
    midway = (passed + np.concatenate([[0.0], passed[:-1]])) / 2
    best = np.flatnonzero(f1[:-1] >= f1.max() - 1e-12)
    return round(float(midway[best[np.abs(midway[best] - 0.5).argmin()]]), 6)
