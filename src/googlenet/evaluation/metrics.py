"""How good a classifier is: computed by scikit-learn from its probabilities."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.errors import MissingExtraError

try:
    from sklearn import metrics
except ImportError as error:
    raise MissingExtraError("train", "scikit-learn") from error


@dataclass(frozen=True)
class ClassMetrics:
    """One class: fractions of 1, and how many pictures it has."""

    name: str
    precision: float
    recall: float
    f1: float
    pictures: int


@dataclass(frozen=True)
class Metrics:
    """Accuracy over all pictures and for each class. ``confusion[i, j]`` counts pictures of class i called j."""

    top1: float
    top5: float
    classes: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64]

    def most_confused(self, count: int = 5) -> list[tuple[str, str, int]]:
        """List the most frequent mistakes: true class, predicted class, how often."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        pairs = [divmod(int(at), len(self.classes)) for at in order]
        return [(self.classes[i].name, self.classes[j].name, int(wrong[i, j])) for i, j in pairs if wrong[i, j]]

    def to_json(self) -> dict[str, Any]:
        """Give what ``json.dumps`` takes."""
        return {
            "top1": self.top1,
            "top5": self.top5,
            "pictures": int(self.confusion.sum()),
            "classes": {
                c.name: {"precision": c.precision, "recall": c.recall, "f1": c.f1, "pictures": c.pictures}
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
