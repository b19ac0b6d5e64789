"""The fourth reader of the data: what tensors a network's module has, by name and shape. No torch, no memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from googlenet.models import spec
from googlenet.models.analysis import Shape, cost_of, outputs_of, pair


@dataclass(frozen=True)
class Header:
    """What is known of a tensor before its values are read. It answers as a tensor of PyTorch does."""

    shape: tuple[int, ...]
    is_float: bool = True

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    def numel(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    def is_floating_point(self) -> bool:
        """Whether its values are of floating point."""
        return self.is_float


Named = Iterator[tuple[str, Header]]


@cache
def state_dict_on_meta(network: spec.Network) -> dict[str, Header]:
    """Every tensor of a network's module by its key in the state dict, in that order.

    >>> from googlenet.models.networks.googlenet import GOOGLENET
    >>> state_dict_on_meta(GOOGLENET)["fc.weight"].shape
    (1000, 1024)
    """
    tensors: dict[str, Header] = {}
    shape: Shape = (network.in_channels, network.input_size, network.input_size)
    for stage in network.stages:
        tensors |= _sequence(stage.name, stage.layers, shape, network)
        shape = cost_of(stage.layers, shape, network).shape
        for tap in network.aux:
            if tap.after == stage.name:
                tensors |= _sequence(tap.name, tap.layers, shape, network)
    return tensors


def _sequence(name: str, layers: Sequence[spec.Layer], shape: Shape, network: spec.Network) -> Named:
    for number, layer in enumerate(layers):
        inside = _TENSORS.get(type(layer))
        if inside:
            yield from inside(name if len(layers) == 1 else f"{name}.{number}", layer, shape, network)
        shape = cost_of([layer], shape, network).shape


def _conv(name: str, layer: spec.Conv, shape: Shape, network: spec.Network) -> Named:
    out = outputs_of(layer, network)
    yield f"{name}.conv.weight", Header((out, shape[0] // layer.groups, *pair(layer.kernel)))
    yield from _after(name, out, network.norm if layer.norm else None)


def _separable_conv(name: str, layer: spec.SeparableConv, shape: Shape, network: spec.Network) -> Named:
    middle = shape[0] * layer.multiplier
    yield f"{name}.depthwise.weight", Header((middle, 1, *pair(layer.kernel)))
    yield f"{name}.conv.weight", Header((layer.out, middle, 1, 1))
    yield from _after(name, layer.out, network.norm)


def _after(name: str, out: int, norm: spec.BatchNorm | None) -> Named:
    if norm is None or norm.bias:
        yield f"{name}.conv.bias", Header((out,))
    if norm is not None:
        for kind in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.bn.{kind}", Header((out,))
        yield f"{name}.bn.num_batches_tracked", Header((), is_float=False)


def _linear(name: str, layer: spec.Linear, shape: Shape, network: spec.Network) -> Named:
    out = outputs_of(layer, network)
    yield f"{name}.weight", Header((out, math.prod(shape)))
    yield f"{name}.bias", Header((out,))


def _parallel(name: str, layer: spec.Parallel, shape: Shape, network: spec.Network) -> Named:
    for branch in layer.branches:
        yield from _sequence(f"{name}.{branch.name}", branch.layers, shape, network)


def _residual(name: str, layer: spec.Residual, shape: Shape, network: spec.Network) -> Named:
    yield from _sequence(f"{name}.body", layer.body, shape, network)
    yield from _sequence(f"{name}.shortcut", layer.shortcut, shape, network)


_TENSORS: dict[type, Callable[[str, Any, Shape, spec.Network], Named]] = {
    spec.Conv: _conv,
    spec.SeparableConv: _separable_conv,
    spec.Linear: _linear,
    spec.Parallel: _parallel,
    spec.Residual: _residual,
}
