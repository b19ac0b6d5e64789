"""The views of a held-out image that are answered: itself alone, or its mirror image, too, as in the shipped graph."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from googlenet.models.build import ConvNet
from googlenet.training.recipe import Recipe
from googlenet.training.task import MetricAccumulator, Task


def answer_views(network: ConvNet, images: Tensor, recipe: Recipe) -> Tensor:
    """(N, C, H, W) normalised images → logits (V, N, K): of the images, and with ``mirror`` of their mirror images."""
    views = [images, images.flip(3)] if recipe.mirror else [images]
    return torch.stack([network(view).float() for view in views])


class HeldOutScore:
    """Metrics of the mean answer over the views, and with ``mirror`` what it gains over the image alone."""

    def __init__(self, task: Task, recipe: Recipe, metric: str) -> None:
        self.task = task
        self.merged = MetricAccumulator(task, metric)
        self.alone = MetricAccumulator(task) if recipe.mirror else None

    def add(self, views: Tensor, targets: Tensor) -> None:
        """Count a batch: logits (V, N, K) and its targets."""
        self.merged.add(self.task.merge(views), targets)
        if self.alone is not None:
            self.alone.add(views[0], targets)

    def metrics(self) -> dict[str, float]:
        """Return the metrics by name, the main one first."""
        return self.merged.metrics()

    def thresholds(self) -> tuple[float, ...]:
        """Return the thresholds of the classes: see :meth:`Task.thresholds`."""
        return self.merged.thresholds()

    def mirror_gain(self, metrics: Mapping[str, float]) -> float | None:
        """Return how much better the main one of ``metrics`` is than of the images alone; ``None`` without mirror."""
        if self.alone is None:
            return None
        main = self.task.metrics[0]
        return main.key(metrics[main.name]) - main.key(self.alone.metrics()[main.name])
