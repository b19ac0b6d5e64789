"""What training minimises: L = L0 + 0.3·L1 + 0.3·L2 (Szegedy et al., 2014, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from googlenet.models.build import ConvNet, Normalise
from googlenet.preprocessing import Preprocessing
from googlenet.training.task import Task


class Losses(NamedTuple):
    """``total`` to minimise; ``parts`` (1 + heads,) its unweighted terms; ``logits`` (N, K) of the main output."""

    total: Tensor
    parts: Tensor
    logits: Tensor


class Objective(nn.Module):
    """A network and its loss as one module, so that one ``forward`` is all that is distributed.

    The losses of the auxiliary heads are added with the weight each head has in the network's data;
    the outputs are not fused. ``class_weights`` (K,) weigh the images of each class against the others'.
    """

    def __init__(
        self,
        network: ConvNet,
        preprocessing: Preprocessing,
        label_smoothing: float,
        task: Task,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.task = task
        self.network = network
        self.normalise = Normalise(preprocessing)
        self.label_smoothing = label_smoothing
        weights = [1.0, *(tap.weight for tap in network.network.aux)]
        self.weights: Tensor
        self.register_buffer("weights", torch.tensor(weights), persistent=False)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)

    def train(self, mode: bool = True) -> Objective:
        """As ever, but stages that do not learn stay as in evaluation: their statistics and their dropout too."""
        super().train(mode)
        for stage in self.network.children():
            parameters = list(stage.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                stage.eval()
        return self

    def forward(self, images: Tensor, labels: Tensor) -> Losses:
        """(N, C, H, W) uint8 and the targets that the task made of the labels → losses."""
        outputs = self.network.forward_with_aux(self.normalise(images))
        parts = torch.stack(
            [
                self.task.loss(logits, labels, self.label_smoothing, self.class_weights)
                for logits in (outputs.logits, *outputs.aux)
            ]
        )
        return Losses((self.weights * parts).sum(), parts, outputs.logits)


def balancing_weights(counts: Sequence[int]) -> Tensor:
    """Give each class the weight n / (K · n_k), so that all K classes weigh the same together (King and Zeng, 2001).

    >>> balancing_weights([10, 30]).tolist()
    [2.0, 0.6666666865348816]
    """
    sizes = torch.tensor(counts, dtype=torch.float32).clamp(min=1)  # nobody divides by zero
    return sum(counts) / (len(counts) * sizes)
