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
    """``total`` to minimise; ``parts`` (1 + heads,) its unweighted terms; ``logits`` (N, K) of the main output.

    ``aux`` (N, K) are the logits of each auxiliary head.
    """

    total: Tensor
    parts: Tensor
    logits: Tensor
    aux: tuple[Tensor, ...] = ()


class Objective(nn.Module):
    """A network and its loss as one module, whose ``forward`` is what several processes share.

    The losses of the auxiliary heads are added with the weight that each head has in the network's data.
    ``class_weights`` (K,) weight the images of each class. Where ``after`` names a stage, ``forward`` takes the maps
    that it put out instead of images. With ``freeze_norm``, batch normalization keeps its statistics in training.
    """

    def __init__(
        self,
        network: ConvNet,
        preprocessing: Preprocessing,
        label_smoothing: float,
        task: Task,
        class_weights: Tensor | None = None,
        after: str | None = None,
        freeze_norm: bool = False,
    ) -> None:
        super().__init__()
        self.task = task
        self.network = network
        self.normalise = Normalise(preprocessing)
        self.label_smoothing = label_smoothing
        self.after, self.freeze_norm = after, freeze_norm
        weights = [1.0, *(tap.weight for tap in network.network.aux)]
        self.weights: Tensor
        self.register_buffer("weights", torch.tensor(weights), persistent=False)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)

    def train(self, mode: bool = True) -> Objective:
        """Set the mode; frozen stages stay in evaluation, with their statistics and without dropout."""
        super().train(mode)
        for stage in self.network.children():
            parameters = list(stage.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                stage.eval()
        if self.freeze_norm:
            for layer in self.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        return self

    def forward(self, images: Tensor, labels: Tensor) -> Losses:
        """(N, C, H, W) uint8 and the targets that the task makes of the labels → losses."""
        x = images.float() if self.after else self.normalise(images)
        outputs = self.network.forward_with_aux(x, self.after)
        parts = torch.stack(
            [
                self.task.loss(logits, labels, self.label_smoothing, self.class_weights)
                for logits in (outputs.logits, *outputs.aux)
            ]
        )
        return Losses((self.weights * parts).sum(), parts, outputs.logits, outputs.aux)


def balancing_weights(counts: Sequence[int]) -> Tensor:
    """Return the weight n / (K · n_k) of each class, so that all K classes count the same (King & Zeng, 2001).

    >>> balancing_weights([10, 30]).tolist()
    [2.0, 0.6666666865348816]
    """
    sizes = torch.tensor(counts, dtype=torch.float32).clamp(min=1)  # no division by zero
    return sum(counts) / (len(counts) * sizes)
