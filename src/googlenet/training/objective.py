"""What training minimises: L = L0 + 0.3·L1 + 0.3·L2 (Szegedy et al., 2014, section 5)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from googlenet.card import Preprocessing
from googlenet.models.build import ConvNet, Normalise


class Losses(NamedTuple):
    """``total`` to minimise; ``parts`` (1 + heads,) its unweighted terms; ``logits`` (N, K) of the main output."""

    total: Tensor
    parts: Tensor
    logits: Tensor


class Objective(nn.Module):
    """A network and its loss as one module, so that one ``forward`` is all that is distributed.

    The losses of the auxiliary heads are added with the weight each head has in the network's data;
    the outputs are not fused.
    """

    def __init__(self, network: ConvNet, rule: Preprocessing, label_smoothing: float) -> None:
        super().__init__()
        self.network = network
        self.normalise = Normalise(rule)
        self.label_smoothing = label_smoothing
        weights = [1.0, *(tap.weight for tap in network.network.aux)]
        self.weights: Tensor
        self.register_buffer("weights", torch.tensor(weights), persistent=False)

    def forward(self, images: Tensor, labels: Tensor) -> Losses:
        """(N, C, H, W) uint8 and (N,) class numbers → losses."""
        outputs = self.network.forward_with_aux(self.normalise(images))
        parts = torch.stack(
            [
                F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
                for logits in (outputs.logits, *outputs.aux)
            ]
        )
        return Losses((self.weights * parts).sum(), parts, outputs.logits)
