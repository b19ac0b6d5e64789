"""The optimizer of a run: which parameters decay, and how fast each stage learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from googlenet.models.build import ConvNet
from googlenet.training.choices import OPTIMIZERS
from googlenet.training.muon import Muon, matrices_of
from googlenet.training.recipe import Recipe


def make_optimizer(network: ConvNet, recipe: Recipe) -> Optimizer:
    """Make the recipe's optimizer. Each parameter group has a ``scale``, which its learning rate is multiplied by.

    Only weights decay: biases, and scales and shifts of normalization, do not. Frozen parameters are in no group.
    """
    choice = OPTIMIZERS[recipe.optimizer]
    matrices = {id(weight) for weight in matrices_of(network)} if choice.orthogonal else set()
    groups: dict[tuple[float, bool, bool], dict[str, Any]] = {}
    for name, scale in _scales(network, recipe.lr_decay).items():
        for parameter in filter(lambda p: p.requires_grad, network.get_submodule(name).parameters()):
            decays, orthogonal = parameter.ndim > 1, id(parameter) in matrices
            group = {"params": [], "weight_decay": recipe.weight_decay if decays else 0.0, "scale": scale}
            groups.setdefault((scale, decays, orthogonal), group | {"orthogonal": orthogonal})["params"].append(
                parameter
            )
    make: Callable[..., Optimizer] = Muon if choice.orthogonal else getattr(torch.optim, choice.torch_name)
    return make(groups.values(), lr=recipe.lr, **choice.arguments(recipe))


def _scales(network: ConvNet, lr_decay: float) -> dict[str, float]:
    """Return the scale of each stage's learning rate: 1 for the last stage and the heads, less for earlier ones.

    Discriminative fine-tuning: Howard & Ruder, *Universal language model fine-tuning*, 2018, section 3.2.
    """
    learning = [name for name, module in network.named_children() if any(True for _ in module.parameters())]
    heads = {tap.name for tap in network.network.aux}
    stages = [name for name in learning if name not in heads]
    return {name: 1.0 if name in heads else lr_decay ** (len(stages) - 1 - stages.index(name)) for name in learning}
