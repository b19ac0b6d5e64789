"""How good a classifier is: computed by scikit-learn from its probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.extras import require
from googlenet.metrics import average_precisions, mean_defined

require("train", "sklearn")  # which takes most of a second to load: not before there is something to measure


@dataclass(frozen=True)
class ClassMetrics:
    """One class: fractions of 1, and how many images it has."""

    name: str
    precision: float
    recall: float
    f1: float
    images: int


@dataclass(frozen=True, eq=False, repr=False)
class Metrics:
    """Accuracy over all images and for each class. ``confusion[i, j]`` counts images of class i called j."""

    top1: float
    top5: float
    classes: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Metrics):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.top1, self.top5, self.classes))

    def __repr__(self) -> str:
        return f"Metrics({self})"

    def __str__(self) -> str:
        return f"top-1 {self.top1:.2%}, top-5 {self.top5:.2%}, {self.confusion.sum():,} images"

    @property
    def score(self) -> float:
        """What precisions are compared by: top-1 accuracy."""
        return self.top1

    def most_confused(self, count: int = 5) -> list[tuple[str, str, int]]:
        """List the most frequent mistakes: true class, predicted class, how often."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        pairs = [divmod(int(at), len(self.classes)) for at in order]
        return [(self.classes[i].name, self.classes[j].name, int(wrong[i, j])) for i, j in pairs if wrong[i, j]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row a class: its name, how good the answers are for it, how many images it has."""
        return [{"class": each.pop("name"), **each} for each in map(asdict, self.classes)]

    def to_dict(self) -> dict[str, Any]:
        """Give what ``json.dumps`` takes."""
        return {
            "top1": self.top1,
            "top5": self.top5,
            "images": int(self.confusion.sum()),
            "classes": {
                c.name: {"precision": c.precision, "recall": c.recall, "f1": c.f1, "images": c.images}
                for c in self.classes
            },
            "confusion": self.confusion.tolist(),
        }


def measure(labels: NDArray[np.int64], probabilities: NDArray[np.float32], class_names: tuple[str, ...]) -> Metrics:
    """Work out the metrics of (N,) true classes and (N, K) probabilities.

    >>> m = measure(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], np.float32), ("a", "b"))
    >>> round(m.top1, 3), m.classes[1].recall
    (0.667, 0.5)
    """
    from sklearn import metrics

    every = np.arange(len(class_names))
    predicted = probabilities.argmax(axis=1)
    with warnings.catch_warnings():  # top-5 of five classes or fewer is 1, which scikit-learn warns of
        warnings.simplefilter("ignore")
        scores = probabilities if len(class_names) > 2 else probabilities[:, 1]
        top5 = 1.0 if len(class_names) <= 5 else metrics.top_k_accuracy_score(labels, scores, k=5, labels=every)
        per_class = metrics.precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    classes = tuple(
        ClassMetrics(name, float(p), float(r), float(f), int(n))
        for name, p, r, f, n in zip(class_names, *per_class, strict=True)
    )
    confusion = metrics.confusion_matrix(labels, predicted, labels=every)
    return Metrics(float(metrics.accuracy_score(labels, predicted)), float(top5), classes, confusion)


# Images with several labels, or none: (N, K) true or false, (N, K) probabilities.


@dataclass(frozen=True)
class LabelMetrics:
    """One label: fractions of 1 at its ``threshold``, and how many images have it (``positives``).

    ``average_precision`` is the area under precision over recall at every threshold; ``None`` without positives.
    """

    name: str
    positives: int
    average_precision: float | None
    precision: float
    recall: float
    f1: float
    threshold: float


@dataclass(frozen=True, repr=False)
class MultiLabelMetrics:
    """How good the answers are where an image may have several labels, or none. Fractions of 1.

    ``map`` is the mean of the labels' average precisions, of those that any image has. ``exact`` is the share of
    images of which exactly the true labels are named. ``micro_f1`` counts every label of every image alike;
    ``macro_f1`` is the mean of the labels' F1, of those that any image has or was said to have.
    """

    map: float
    exact: float
    micro_f1: float
    macro_f1: float
    images: int
    labels: tuple[LabelMetrics, ...]

    def __repr__(self) -> str:
        return f"MultiLabelMetrics({self})"

    def __str__(self) -> str:
        return f"mAP {self.map:.2%}, exact match {self.exact:.2%}, {self.images:,} images"

    @property
    def score(self) -> float:
        """What precisions are compared by: mean average precision."""
        return self.map

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row a label: its name, how many images have it, how good the answers are for it."""
        return [{"label": each.pop("name"), **each} for each in map(asdict, self.labels)]

    def to_dict(self) -> dict[str, Any]:
        """Give what ``json.dumps`` takes."""
        fields = asdict(self)
        return {**fields, "labels": {label.pop("name"): label for label in fields["labels"]}}


def measure_labels(
    truth: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    thresholds: Sequence[float],
    class_names: tuple[str, ...],
) -> MultiLabelMetrics:
    """Work out the metrics of (N, K) true labels, (N, K) probabilities and K thresholds.

    >>> truth = np.array([[True, False], [True, True], [False, False]])
    >>> m = measure_labels(truth, np.array([[0.9, 0.6], [0.7, 0.4], [0.2, 0.1]], np.float32), (0.5, 0.5), ("a", "b"))
    >>> m.map, m.labels[0].f1, m.labels[1].average_precision, round(m.exact, 3)
    (0.75, 1.0, 0.5, 0.333)
    """
    from sklearn import metrics

    called = probabilities >= np.array(thresholds)
    precisions = average_precisions(truth, probabilities)
    labels = []
    for at, (name, average_precision, threshold) in enumerate(zip(class_names, precisions, thresholds, strict=True)):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            truth[:, at], called[:, at], average="binary", zero_division=0
        )
        known = None if np.isnan(average_precision) else float(average_precision)
        positives = int(truth[:, at].sum())
        labels.append(LabelMetrics(name, positives, known, float(precision), float(recall), float(f1), threshold))
    concerned = truth.any(0) | called.any(0)
    return MultiLabelMetrics(
        map=mean_defined(precisions),
        exact=float((called == truth).all(1).mean()),
        micro_f1=float(metrics.f1_score(truth.ravel(), called.ravel(), zero_division=0)),
        macro_f1=mean_defined(np.where(concerned, [label.f1 for label in labels], np.nan)),
        images=len(truth),
        labels=tuple(labels),
    )


def best_thresholds(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> tuple[float, ...]:
    """Give for each label the threshold at which its F1 is highest; 0.5 for one that no image has.

    F1 changes only where a threshold passes a probability: the threshold lies midway between two. Of equals the one
    nearest 0.5 is taken.

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
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)  # the last names no image: it is 0
    midway = (passed + np.concatenate([[0.0], passed[:-1]])) / 2
    best = np.flatnonzero(f1[:-1] >= f1.max() - 1e-12)
    return round(float(midway[best[np.abs(midway[best] - 0.5).argmin()]]), 6)
