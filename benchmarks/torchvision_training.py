"""What training is compared with: a step of torchvision's GoogLeNet, as in torchvision's training reference."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer


def step(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> None:
    """Learn from (N, 3, S, S) normalised images and (N,) class numbers, both auxiliary heads counting 0.3."""
    out = model(images)
    loss = cross_entropy(out.logits, labels)
    loss = loss + 0.3 * (cross_entropy(out.aux_logits1, labels) + cross_entropy(out.aux_logits2, labels))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
