"""The moving average of the weights: what is validated and shipped."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from googlenet.models.build import ConvNet

UPDATE_BATCHES = 4  # batches between updates: with small images, 40 MB of weights after every step would be felt

Tensors = tuple[Tensor, ...] | list[Tensor]


class WeightAverage:
    """An exponential moving average (EMA) of a network's weights and statistics, with ``decay`` per batch.

    It is updated every ``UPDATE_BATCHES`` batches and at the end of an epoch. The memory is short at first, so that
    the random weights at the start do not hold short runs back.
    """

    def __init__(self, network: ConvNet, decay: float) -> None:
        self.decay, self._batches = decay, 0
        self.model = AveragedModel(network, multi_avg_fn=self._average, use_buffers=True)

    @property
    def network(self) -> ConvNet:
        """The network with the averaged weights."""
        module = self.model.module
        assert isinstance(module, ConvNet)
        return module

    def after_step(self, network: ConvNet, before: int, done: int, steps: int) -> None:
        """Update the average where one is due: a step went from batch ``before`` to ``done`` of ``steps``."""
        if done == steps or done // UPDATE_BATCHES > before // UPDATE_BATCHES:
            self._batches = done % UPDATE_BATCHES or UPDATE_BATCHES
            self.model.update_parameters(network)

    @torch.no_grad()
    def _average(self, averages: Tensors, values: Tensors, count: Tensor | int) -> None:
        keep = min(self.decay**self._batches, (1 + int(count)) / (10 + int(count)))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, 1 - keep)
        else:  # batch normalization's count of batches
            torch._foreach_copy_(averages, values)
