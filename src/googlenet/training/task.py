"""What the labels of an image mean: one class, or any number of them. Targets, loss and metrics.

Everything that differs between the two is here; the rest of training asks its task.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from googlenet.data.image_set import LabelledData
from googlenet.evaluation.metrics import best_thresholds
from googlenet.metrics import ONE_LABEL, SEVERAL_LABELS, Metric
from googlenet.training.losses import binary_cross_entropy, cross_entropy


class Task(Protocol):
    """What the labels of an image mean.

    The first of ``metrics`` chooses the best epoch; ``train_metric`` names the one that :meth:`correct` counts for.
    """

    metrics: Sequence[Metric]
    train_metric: str
    classes: int

    def targets(self, labels: Sequence[tuple[int, ...]]) -> Tensor:
        """Return the targets of N images as the loss takes them, from their class numbers."""
        ...

    def loss(
        self, logits: Tensor, targets: Tensor, smoothing: float = 0.0, class_weights: Tensor | None = None
    ) -> Tensor:
        """Return the loss of (N, K) logits: see :mod:`googlenet.training.losses`."""
        ...

    def chance_loss(self) -> float:
        """Return the loss of a network that has learnt nothing."""
        ...

    def correct(self, logits: Tensor, targets: Tensor) -> int:
        """Return how many images are answered wholly right."""
        ...

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return (N, K) probabilities."""
        ...

    def merge(self, views: Tensor) -> Tensor:
        """Return the logits (N, K) whose probabilities are the means of those of (V, N, K) logits."""
        ...

    def thresholds(self, targets: Any, probabilities: Any) -> tuple[float, ...]:
        """Return for each class the probability from which on it is named; () where one class is named."""
        ...


def task_of(data: LabelledData) -> Task:
    """Return what is learnt from ``data``."""
    return (SeveralLabels if data.multi_label else OneLabel)(len(data.class_names))


class OneLabel:
    """Each image is of one class: softmax, cross-entropy, top-1 and top-5."""

    metrics: Sequence[Metric] = ONE_LABEL
    train_metric = "top1"
    loss = staticmethod(cross_entropy)

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def targets(self, labels: Sequence[tuple[int, ...]]) -> Tensor:
        """Return class numbers (N,)."""
        return torch.tensor([label for (label,) in labels], dtype=torch.long)

    def chance_loss(self) -> float:
        """Return ln K."""
        return math.log(self.classes)

    def correct(self, logits: Tensor, targets: Tensor) -> int:
        """Return how many images have the true class as the most probable one; of mixed ones, that of more pixels."""
        true = targets.argmax(1) if targets.ndim == 2 else targets
        return int((logits.argmax(1) == true).sum())

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the softmax, in double precision: float32 would make equals of the least probable classes."""
        return logits.double().softmax(1)

    def merge(self, views: Tensor) -> Tensor:
        """Return logarithms of the mean probabilities; one view as it is."""
        return views[0] if len(views) == 1 else views.log_softmax(2).logsumexp(0) - math.log(len(views))

    def thresholds(self, targets: Any, probabilities: Any) -> tuple[float, ...]:
        """Return (): the most probable class is named."""
        return ()


class SeveralLabels:
    """Each image is of any number of classes: sigmoids, binary cross-entropy, average precision."""

    metrics: Sequence[Metric] = SEVERAL_LABELS
    train_metric = "exact"
    loss = staticmethod(binary_cross_entropy)

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def targets(self, labels: Sequence[tuple[int, ...]]) -> Tensor:
        """Return (N, K): 1 for each class an image is of, 0 for the others."""
        targets = torch.zeros(len(labels), self.classes)
        for row, numbers in zip(targets, labels, strict=True):
            row[list(numbers)] = 1
        return targets

    def chance_loss(self) -> float:
        """Return ln 2."""
        return math.log(2)

    def correct(self, logits: Tensor, targets: Tensor) -> int:
        """Return how many images have exactly the true classes at probabilities of 1/2 or more."""
        return int(((logits >= 0) == (targets >= 0.5)).all(1).sum())

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the sigmoid of each class."""
        return torch.sigmoid(logits.float())

    def merge(self, views: Tensor) -> Tensor:
        """Return log(p / (1 - p)) of the mean probabilities p; one view as it is."""
        return views[0] if len(views) == 1 else logsigmoid(views).logsumexp(0) - logsigmoid(-views).logsumexp(0)

    def thresholds(self, targets: Any, probabilities: Any) -> tuple[float, ...]:
        """Return for each class the threshold of its highest F1."""
        return best_thresholds(targets, probabilities)


class MetricAccumulator:
    """Computes the metrics of a task while the held-out images go by.

    A metric that is a mean over images is summed batch by batch; all answers are kept only where another metric, or
    thresholds, need them. ``also`` names a metric that is computed although it is not always logged.
    """

    def __init__(self, task: Task, also: str = "") -> None:
        self.task = task
        self.logged = [metric for metric in task.metrics if metric.logged or metric.name == also]
        self.sums = {metric: 0.0 for metric in self.logged if metric.over == "images"}
        self.rest = [metric for metric in self.logged if metric.over == "data"]
        self.keeps = bool(self.rest)
        self.seen = 0
        self.targets: list[Any] = []
        self.answers: list[Any] = []

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Count a batch: (N, K) logits and its targets."""
        if not len(targets):
            return
        truth = targets.cpu().numpy()
        truth = truth.astype(bool) if truth.ndim == 2 else truth
        answers = self.task.probabilities(logits).cpu().numpy()
        self.seen += len(truth)
        halves = np.full(answers.shape[1], 0.5)
        for metric in self.sums:
            self.sums[metric] += float(metric.function(truth, answers, halves).sum())
        if self.keeps:
            self.targets.append(truth)
            self.answers.append(answers)

    def metrics(self) -> dict[str, float]:
        """Return the metrics by name, the main one first."""
        values = {metric.name: total / max(self.seen, 1) for metric, total in self.sums.items()}
        values |= {metric.name: metric(*self._kept()) for metric in self.rest}
        return {metric.name: values[metric.name] for metric in self.logged}

    def thresholds(self) -> tuple[float, ...]:
        """Return the thresholds of the classes: see :meth:`Task.thresholds`."""
        return self.task.thresholds(*self._kept())

    def _kept(self) -> tuple[Any, Any]:
        if not self.targets:
            return np.zeros((0, self.task.classes), bool), np.zeros((0, self.task.classes))
        return np.concatenate(self.targets), np.concatenate(self.answers)
