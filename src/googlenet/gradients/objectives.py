"""What an image is made to do, 1 of 4 parts of feature visualisation: excite a channel, or a whole stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def channels(maps: Tensor, numbers: Sequence[int]) -> Tensor:
    """(N, C, h, w) → (N,): how much image n excites channel ``numbers[n]``, on average over all places.

    >>> channels(torch.tensor([[[[1.0, 3.0]], [[5.0, 5.0]]]]), [0])
    tensor([2.])
    """
    return maps.flatten(2).mean(2)[torch.arange(len(maps)), torch.as_tensor(numbers)]


def energy(maps: Tensor) -> Tensor:
    """(N, C, h, w) → (): what all channels are excited by, those most that are excited already (DeepDream).

    >>> energy(torch.full((1, 2, 1, 1), 3.0))
    tensor(9.)
    """
    return maps.square().mean()
