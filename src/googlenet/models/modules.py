"""The PyTorch modules that layers become: one function and one entry per layer type."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from googlenet.models import spec
from googlenet.models.layers.base import Shape
from googlenet.models.layers.containers import cost_of
from googlenet.models.layers.weighted import outputs_of, padding_of
from googlenet.models.layers.weightless import uses_plain_windows


def build_layers(layers: Sequence[spec.Layer], shape: Shape, network: spec.Network) -> nn.Module:
    """Return the module of a sequence of layers, for an input of ``shape``; a single layer's own where it is one."""
    modules = []
    for layer in layers:
        modules.append(_BUILD[type(layer)](layer, shape, network))
        shape = cost_of([layer], shape, network).shape
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


class Pooling(nn.Module):
    """Max or average pooling; with a fixed output, adaptive where plain windows do not give it."""

    def __init__(self, layer: spec.Pool) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H', W')."""
        layer = self.layer
        if not uses_plain_windows(layer, *x.shape[2:]):
            assert layer.output is not None
            adaptive = F.adaptive_avg_pool2d if layer.kind == "avg" else F.adaptive_max_pool2d
            return adaptive(x, layer.output)
        assert layer.kernel is not None
        # A window larger than the map covers all of it; engines refuse kernels larger than the map.
        kernel = [min(layer.kernel, side + 2 * layer.padding) for side in x.shape[2:]]
        if layer.kind == "max":
            return F.max_pool2d(x, kernel, layer.stride, layer.padding, ceil_mode=layer.ceil)
        return F.avg_pool2d(x, kernel, layer.stride, layer.padding, layer.ceil, layer.count_padding)


class Dense(nn.Linear):
    """A linear layer over the flattened input, with or without a ReLU."""

    def __init__(self, inputs: int, outputs: int, relu: bool) -> None:
        super().__init__(inputs, outputs)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) → (N, outputs)."""
        x = super().forward(x.flatten(1))
        return F.relu(x, inplace=True) if self.relu else x


class Branches(nn.ModuleDict):
    """Modules with the same input, whose outputs are concatenated on the channel axis."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, ΣC, H, W)."""
        return torch.cat([branch(x) for branch in self.values()], dim=1)


class Sum(nn.Module):
    """shortcut(x) + scale · body(x), then a ReLU."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, layer: spec.Residual) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', H', W')."""
        total: Tensor = self.shortcut(x) + self.layer.scale * self.body(x)
        return F.relu(total, inplace=True) if self.layer.relu else total


def _conv(layer: spec.Conv, shape: Shape, network: spec.Network) -> nn.Module:
    norm = network.norm if layer.norm else None
    conv = nn.Conv2d(
        shape[0],
        outputs_of(layer, network),
        layer.kernel,
        layer.stride,
        padding_of(layer),
        groups=layer.groups,
        bias=_has_bias(norm),
    )
    return _finished({"conv": conv}, layer, norm)


def _separable_conv(layer: spec.SeparableConv, shape: Shape, network: spec.Network) -> nn.Module:
    channels, middle = shape[0], shape[0] * layer.multiplier
    depthwise = nn.Conv2d(channels, middle, layer.kernel, layer.stride, padding_of(layer), groups=channels, bias=False)
    pointwise = nn.Conv2d(middle, layer.out, 1, bias=_has_bias(network.norm))
    return _finished({"depthwise": depthwise, "conv": pointwise}, layer, network.norm)


def _has_bias(norm: spec.BatchNorm | None) -> bool:
    return norm is None or norm.bias


def _finished(
    convs: dict[str, nn.Conv2d], layer: spec.Conv | spec.SeparableConv, norm: spec.BatchNorm | None
) -> nn.Module:
    """Return convolutions followed by normalisation and ReLU, where they have them."""
    unit = nn.Sequential()
    for name, conv in convs.items():
        unit.add_module(name, conv)
    if norm is not None:
        unit.add_module("bn", nn.BatchNorm2d(convs["conv"].out_channels, norm.eps, norm.momentum))
    if layer.relu:
        unit.add_module("relu", nn.ReLU(inplace=True))
    return unit


def _pool(layer: spec.Pool, shape: Shape, network: spec.Network) -> nn.Module:
    return Pooling(layer)


def _lrn(layer: spec.LRN, shape: Shape, network: spec.Network) -> nn.Module:
    return nn.LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k)


def _relu(layer: spec.ReLU, shape: Shape, network: spec.Network) -> nn.Module:
    return nn.ReLU()  # not in place: a shortcut may use the same input


def _dropout(layer: spec.Dropout, shape: Shape, network: spec.Network) -> nn.Module:
    return nn.Dropout(layer.p)


def _linear(layer: spec.Linear, shape: Shape, network: spec.Network) -> nn.Module:
    return Dense(math.prod(shape), outputs_of(layer, network), layer.relu)


def _parallel(layer: spec.Parallel, shape: Shape, network: spec.Network) -> nn.Module:
    return Branches({branch.name: build_layers(branch.layers, shape, network) for branch in layer.branches})


def _residual(layer: spec.Residual, shape: Shape, network: spec.Network) -> nn.Module:
    body, shortcut = (build_layers(layers, shape, network) for layers in (layer.body, layer.shortcut))
    return Sum(body, shortcut, layer)


_BUILD: dict[type, Callable[[Any, Shape, spec.Network], nn.Module]] = {
    spec.Conv: _conv,
    spec.SeparableConv: _separable_conv,
    spec.Pool: _pool,
    spec.LRN: _lrn,
    spec.ReLU: _relu,
    spec.Dropout: _dropout,
    spec.Linear: _linear,
    spec.Parallel: _parallel,
    spec.Residual: _residual,
}
