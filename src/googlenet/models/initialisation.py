"""How fresh weights are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from googlenet.errors import NetworkError
from googlenet.models.modules import Dense
from googlenet.text import nearest


def initialise(module: nn.Module, how: str) -> None:
    """Draw fresh weights for every convolution and linear layer of ``module``, and set the biases.

    ``kaiming``: normal with variance 2/fan_out (He et al., 2015), linear layers N(0, 0.01), biases 0.
    ``xavier``: uniform with variance 1/fan_in as in Caffe, biases 0.2, those of the classifiers 0.
    ``truncated_normal``: normal with standard deviation √(1/fan_in), truncated at two of them, biases 0.
    """
    if not isinstance(how, str) or how not in _INITS:
        raise NetworkError(f"no initialisation is called {how!r:.80}: {nearest(str(how), _INITS)}")
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            _INITS[how](layer)


def _kaiming(layer: nn.Conv2d | nn.Linear) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, 0.0, 0.01)
    else:
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    _fill_bias(layer, 0.0)


def _xavier(layer: nn.Conv2d | nn.Linear) -> None:
    bound = math.sqrt(3.0 / layer.weight[0].numel())
    nn.init.uniform_(layer.weight, -bound, bound)
    is_classifier = isinstance(layer, Dense) and not layer.relu
    _fill_bias(layer, 0.0 if is_classifier else 0.2)


def _truncated_normal(layer: nn.Conv2d | nn.Linear) -> None:
    std = math.sqrt(1.0 / layer.weight[0].numel())
    nn.init.trunc_normal_(layer.weight, 0.0, std, -2 * std, 2 * std)
    _fill_bias(layer, 0.0)


def _fill_bias(layer: nn.Conv2d | nn.Linear, value: float) -> None:
    if layer.bias is not None:
        nn.init.constant_(layer.bias, value)


_INITS: dict[str, Callable[[Any], None]] = {
    "kaiming": _kaiming,
    "xavier": _xavier,
    "truncated_normal": _truncated_normal,
}
