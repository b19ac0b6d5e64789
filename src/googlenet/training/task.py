"""What is learnt from an image's labels: one class each, or any number of them. Targets, losses and scores.

Everything that differs between the two is here; the rest of training asks its task.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from googlenet.data.image_set import LabelledData
from googlenet.evaluation.metrics import best_thresholds
from googlenet.metrics import average_precisions, mean_defined


class MetricAccumulator(Protocol):
    """What is counted while the held-out images go by."""

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Count a batch: (N, K) logits and its targets."""

    def scores(self) -> dict[str, float]:
        """Give fractions of 1 by name."""

    def thresholds(self) -> tuple[float, ...]:
        """Give the probability from which on an image is taken to be of a class, for each; () where they compete."""


class Task(Protocol):
    """What the labels of an image mean.

    ``metric`` names the score that the best epoch is chosen by, ``counted`` the one that :meth:`correct` counts for.
    """

    metric: str
    counted: str

    def targets(self, labels: Sequence[tuple[int, ...]]) -> Tensor:
        """Make what a loss takes of the class numbers of N images."""

    def loss(
        self, logits: Tensor, targets: Tensor, smoothing: float = 0.0, class_weights: Tensor | None = None
    ) -> Tensor:
        """Give the loss of (N, K) logits, a scalar: the mean over the images, 0 where there are none.

        ``class_weights`` (K,) weigh what is of each class. They do not divide the mean, which is then the same for
        one process and for several that have a slice each.
        """

    def chance_loss(self) -> float:
        """Give the loss of an answer that tells nothing."""

    def correct(self, logits: Tensor, targets: Tensor) -> int:
        """Count the images whose answer is wholly right."""

    def metric_accumulator(self) -> MetricAccumulator:
        """Begin to count."""


def task_of(data: LabelledData) -> Task:
    """Say what is learnt from ``data``."""
    return (SeveralLabels if data.multi_label else OneLabel)(len(data.class_names))


class OneLabel:
    """Each image is of one class: softmax and cross-entropy, top-1 and top-5 accuracy."""

    metric = counted = "top1"

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def targets(self, labels: Sequence[tuple[int, ...]]) -> Tensor:
        """Give class numbers (N,)."""
        return torch.tensor([label for (label,) in labels], dtype=torch.long)

    def loss(
        self, logits: Tensor, targets: Tensor, smoothing: float = 0.0, class_weights: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy, the target sharing ``smoothing`` with all classes (Szegedy et al., 2015, section 7)."""
        total = F.cross_entropy(logits.float(), targets, class_weights, reduction="sum", label_smoothing=smoothing)
        return total / max(len(targets), 1)

    def chance_loss(self) -> float:
        """Give ln K."""
        return math.log(self.classes)

    def correct(self, logits: Tensor, targets: Tensor) -> int:
        """Count the images whose likeliest class is the true one."""
        return int((logits.argmax(1) == targets).sum())

    def metric_accumulator(self) -> MetricAccumulator:
        """Count top-1 and top-5."""
        return _Ranked()


class SeveralLabels:
    """Each image is of any number of ``classes`` classes: sigmoids and binary cross-entropy, average precision."""

    metric, counted = "map", "exact"

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def targets(self, labels: Sequence[tuple[int, ...]]) -> Tensor:
        """Give 1 for each class an image is of and 0 for the others, (N, K)."""
        targets = torch.zeros(len(labels), self.classes)
        for row, numbers in zip(targets, labels, strict=True):
            row[list(numbers)] = 1
        return targets

    def loss(
        self, logits: Tensor, targets: Tensor, smoothing: float = 0.0, class_weights: Tensor | None = None
    ) -> Tensor:
        """Binary cross-entropy, the mean over images and classes; targets go by ``smoothing`` / 2 towards 1/2."""
        smoothed = targets * (1 - smoothing) + smoothing / 2
        total = F.binary_cross_entropy_with_logits(logits.float(), smoothed, pos_weight=class_weights, reduction="sum")
        return total / max(targets.numel(), 1)

    def chance_loss(self) -> float:
        """Give ln 2."""
        return math.log(2)

    def correct(self, logits: Tensor, targets: Tensor) -> int:
        """Count the images of which, at probabilities of 1/2, exactly the true classes are named."""
        return int(((logits >= 0) == targets.bool()).all(1).sum())

    def metric_accumulator(self) -> MetricAccumulator:
        """Keep all probabilities, for their order decides."""
        return _Kept(self)


class _Ranked:
    def __init__(self) -> None:
        self.top1, self.top5, self.seen = 0, 0, 0

    def add(self, logits: Tensor, targets: Tensor) -> None:
        ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == targets[:, None]
        self.top1, self.top5 = self.top1 + int(ranked[:, 0].sum()), self.top5 + int(ranked.sum())
        self.seen += len(targets)

    def scores(self) -> dict[str, float]:
        seen = max(self.seen, 1)
        return {"top1": self.top1 / seen, "top5": self.top5 / seen}

    def thresholds(self) -> tuple[float, ...]:
        return ()


class _Kept:
    def __init__(self, task: SeveralLabels) -> None:
        self.task, self.exact = task, 0
        self.targets = [np.zeros((0, task.classes), bool)]
        self.probabilities = [np.zeros((0, task.classes), np.float32)]

    def add(self, logits: Tensor, targets: Tensor) -> None:
        self.exact += self.task.correct(logits, targets)
        self.targets.append(targets.bool().cpu().numpy())
        self.probabilities.append(torch.sigmoid(logits.float()).cpu().numpy())

    def scores(self) -> dict[str, float]:
        targets, probabilities = np.concatenate(self.targets), np.concatenate(self.probabilities)
        precisions = average_precisions(targets, probabilities)
        return {"exact": self.exact / max(len(targets), 1), "map": mean_defined(precisions)}

    def thresholds(self) -> tuple[float, ...]:
        return best_thresholds(np.concatenate(self.targets), np.concatenate(self.probabilities))
