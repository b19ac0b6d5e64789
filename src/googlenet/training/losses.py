"""Losses, each a function of (N, K) logits that returns a scalar: the mean over the images, 0 where there are none.

``smoothing`` is label smoothing, 0 to below 1. ``class_weights`` (K,) weight the images of each class. They do not
divide the mean, so that processes that have a part of a batch each add up to one process with all of it.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(
    logits: Tensor, targets: Tensor, smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of class numbers (N,), or of the share of each class (N, K).

    All classes share ``smoothing`` (Szegedy et al., 2015, section 7).
    """
    total = F.cross_entropy(logits.float(), targets, class_weights, reduction="sum", label_smoothing=smoothing)
    return total / max(len(targets), 1)


def binary_cross_entropy(
    logits: Tensor, targets: Tensor, smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy of targets (N, K), 0 to 1, mean over classes.

    0 and 1 move by ``smoothing`` / 2 towards 1/2.
    """
    smoothed = targets * (1 - smoothing) + smoothing / 2
    total = F.binary_cross_entropy_with_logits(logits.float(), smoothed, pos_weight=class_weights, reduction="sum")
    return total / max(targets.numel(), 1)
