"""How large the gradients of each output of a network are, after a step's backward pass."""

from __future__ import annotations

import torch
from torch import nn

from googlenet.models.build import ConvNet


def gradient_norms(network: ConvNet) -> list[float]:
    """Return the Euclidean norm of the gradients of the last stage and of each auxiliary head, the last stage first.

    It is the last one that has weights. Gradients are of the whole loss, in which a head has its weight. 0 where a part
    has no gradient, as in frozen stages.
    """
    stages = [network.get_submodule(stage.name) for stage in network.network.stages]
    last = next((stage for stage in reversed(stages) if any(True for _ in stage.parameters())), network)
    return [_norm(each) for each in (last, *(network.get_submodule(tap.name) for tap in network.network.aux))]


def _norm(module: nn.Module) -> float:
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
