"""A network without some of its branches, and its weights: exactly the network with these branches held constant.

The channels of a branch that is removed are missing from the input of what follows. Each had a constant in their place,
which a convolution turns into another one: it goes into the bias, or the mean of the batch normalisation. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.errors import NetworkError
from googlenet.inference.switches import Constants
from googlenet.models.layers.base import Layer, Shape
from googlenet.models.layers.containers import Parallel, Residual, cost_of, stage_costs
from googlenet.models.layers.weighted import Conv, Linear, SeparableConv, outputs_of, padding_of
from googlenet.models.layers.weightless import Dropout, Pool, ReLU
from googlenet.models.spec import Network
from googlenet.text import printable

Array = NDArray[Any]
Key = tuple[str, str]  # a module and one of its branches


@dataclass(frozen=True)
class Sliced:
    """A network without branches, and the arrays of its module by their keys.

    ``bordered`` names the layers that pad what a removed branch put out with zeros: there the constants, which the
    padding was beside, are exact inside the border only.
    """

    network: Network
    weights: dict[str, Array] = field(repr=False)
    bordered: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Channels:
    """Which channels of a map are ``kept`` (C,), and the ``constant`` (C,) that each of the others was."""

    kept: NDArray[np.bool_]
    constant: Array

    @classmethod
    def all_of(cls, count: int) -> _Channels:
        return cls(np.ones(count, bool), np.zeros(count))

    @classmethod
    def none_of(cls, constant: Array) -> _Channels:
        return cls(np.zeros(len(constant), bool), np.asarray(constant, np.float64))

    @classmethod
    def joined(cls, parts: Sequence[_Channels]) -> _Channels:
        return cls(np.concatenate([each.kept for each in parts]), np.concatenate([each.constant for each in parts]))

    @property
    def whole(self) -> bool:
        return bool(self.kept.all())


def drop_branches(network: Network, keys: Collection[Key]) -> Network:
    """Return a network without some branches, as data. Raises :class:`NetworkError` where a module would keep none."""
    left = set(keys)

    def of(layers: Sequence[Layer], at: str) -> tuple[Layer, ...]:
        return tuple(one(layer, at if len(layers) == 1 else f"{at}.{number}") for number, layer in enumerate(layers))

    def one(layer: Layer, at: str) -> Layer:
        if isinstance(layer, Residual):
            return replace(layer, body=of(layer.body, f"{at}.body"), shortcut=of(layer.shortcut, f"{at}.shortcut"))
        if not isinstance(layer, Parallel):
            return layer
        kept = [branch for branch in layer.branches if (at, branch.name) not in keys]
        left.difference_update((at, branch.name) for branch in layer.branches)
        if not kept:
            raise NetworkError(f"{printable(at)} would keep none of its {len(layer.branches)} branches: leave it one")
        return Parallel([replace(branch, layers=of(branch.layers, f"{at}.{branch.name}")) for branch in kept])

    dropped = replace(network, stages=[replace(stage, layers=of(stage.layers, stage.name)) for stage in network.stages])
    if left:
        raise NetworkError(f"{printable(network.name)} has no branch {' of '.join(reversed(min(left)))}")
    return dropped


def without_branches(network: Network, weights: Mapping[str, Array], constants: Constants) -> Sliced:
    """Remove branches, in whose place the constants are from now on.

    Args:
        network: the network.
        weights: the arrays of its module, by their keys. A head that has none is left out. Where there are none at
            all, only whether the branches can be removed is found out.
        constants: the branches to remove, by the names of their modules, such as ``"inception_4a"`` (those of
            ``explaining.shapley.modules_of``), and their own, each with the value of its channels.

    Raises :class:`NetworkError` where a branch cannot be removed, and says why.
    """
    dropped = drop_branches(network, constants.keys())
    slicer, averaged, heads = _Slicer(network, weights, constants), list[_Channels](), []
    channels = _Channels.all_of(network.in_channels)
    for stage, shape, cost in stage_costs(network, network.input_size):
        channels = slicer.sequence(stage.layers, stage.name, shape, channels)
        for tap in network.aux:
            if tap.after == stage.name and (tap.name in slicer.below or not weights):
                heads.append(tap)
                slicer.sequence(tap.layers, tap.name, cost.shape, channels)
        if stage.name in network.pooled:
            averaged.append(channels)
        if stage.name == network.pooling:
            channels = _Channels.joined([*averaged, channels])
    aux = [tap for tap in network.aux if tap in heads]
    return Sliced(replace(dropped, aux=aux), slicer.weights, tuple(slicer.bordered))


class _Slicer:
    """Walks a network, and collects the weights of the one without the branches."""

    def __init__(self, network: Network, weights: Mapping[str, Array], constants: Constants) -> None:
        self.network, self.given, self.constants = network, weights, constants
        self.below: dict[str, list[str]] = {}  # the path of a layer → the keys of its tensors
        for key in weights:
            for at in (at for at, letter in enumerate(key) if letter == "."):
                self.below.setdefault(key[:at], []).append(key)
        self.weights: dict[str, Array] = {}
        self.bordered: list[str] = []

    def sequence(self, layers: Sequence[Layer], at: str, shape: Shape, channels: _Channels) -> _Channels:
        """Return which channels layers put out, from those that they see."""
        for number, layer in enumerate(layers):
            path = at if len(layers) == 1 else f"{at}.{number}"  # the names of the module's state dict
            channels = self._layer(layer, path, shape, channels)
            shape = cost_of([layer], shape, self.network).shape
        return channels

    def _layer(self, layer: Layer, at: str, shape: Shape, channels: _Channels) -> _Channels:
        if isinstance(layer, Parallel):
            return self._parallel(layer, at, shape, channels)
        if isinstance(layer, Residual):
            return self._residual(layer, at, shape, channels)
        self.weights |= {key: self.given[key] for key in self.below.get(at, ())}
        if type(layer) in _SLICE:
            return _SLICE[type(layer)](self, layer, at, channels)
        if not channels.whole:
            raise NetworkError(f"{type(layer).__name__} at {printable(at)} mixes channels: all before it have to stay")
        return _Channels.all_of(cost_of([layer], shape, self.network).shape[0])

    def _parallel(self, layer: Parallel, at: str, shape: Shape, channels: _Channels) -> _Channels:
        parts = []
        for branch in layer.branches:
            constant = self.constants.get((at, branch.name))
            if constant is not None:
                parts.append(_Channels.none_of(constant))
            else:
                parts.append(self.sequence(branch.layers, f"{at}.{branch.name}", shape, channels))
        return _Channels.joined(parts)

    def _residual(self, layer: Residual, at: str, shape: Shape, channels: _Channels) -> _Channels:
        body = self.sequence(layer.body, f"{at}.body", shape, channels)
        shortcut = self.sequence(layer.shortcut, f"{at}.shortcut", shape, channels)
        if not (body.whole and shortcut.whole):
            raise NetworkError(f"the shortcut of {printable(at)} adds channels one by one: all of them have to stay")
        return body

    def some(self, key: str) -> list[tuple[str, Array]]:
        """Return an array with its key, where there are weights."""
        return [(key, self.weights[key])] if self.given else []

    def shift(self, at: str, by: Array) -> None:
        """Add a constant to what a convolution or linear layer puts out: to its bias, or below its normalisation."""
        key = next(each for each in (f"{at}.bias", f"{at}.conv.bias", f"{at}.bn.running_mean") if each in self.weights)
        value = self.weights[key]
        moved = value.astype(np.float64) + (-by if key.endswith("running_mean") else by)
        self.weights[key] = moved.astype(value.dtype)


# One function per layer type: slicer, layer, its own name, the channels of its input → those of its output.


def _conv(slicer: _Slicer, layer: Conv, at: str, channels: _Channels) -> _Channels:
    if not channels.whole:
        if layer.groups > 1:
            raise NetworkError(f"the convolution {printable(at)} has groups of channels: all before it have to stay")
        for key, kernel in slicer.some(f"{at}.conv.weight"):
            _note_border(slicer, layer, at, channels)
            slicer.shift(at, kernel.astype(np.float64).sum(axis=(2, 3)) @ channels.constant)
            slicer.weights[key] = np.ascontiguousarray(kernel[:, channels.kept])
    return _Channels.all_of(outputs_of(layer, slicer.network))


def _separable_conv(slicer: _Slicer, layer: SeparableConv, at: str, channels: _Channels) -> _Channels:
    if not channels.whole:
        kept, constant = (np.repeat(each, layer.multiplier) for each in (channels.kept, channels.constant))
        for key, depthwise in slicer.some(f"{at}.depthwise.weight"):
            constant = depthwise.astype(np.float64).sum(axis=(1, 2, 3)) * constant
            slicer.weights[key] = np.ascontiguousarray(depthwise[kept])
        for key, pointwise in slicer.some(f"{at}.conv.weight"):
            _note_border(slicer, layer, at, channels)
            slicer.shift(at, pointwise[:, :, 0, 0].astype(np.float64) @ constant)
            slicer.weights[key] = np.ascontiguousarray(pointwise[:, kept])
    return _Channels.all_of(layer.out)


def _note_border(slicer: _Slicer, layer: Conv | SeparableConv, at: str, channels: _Channels) -> None:
    if any(padding_of(layer)) and channels.constant.any():
        slicer.bordered.append(at)


def _linear(slicer: _Slicer, layer: Linear, at: str, channels: _Channels) -> _Channels:
    for key, weight in slicer.some(f"{at}.weight") if not channels.whole else ():
        by_channel = weight.reshape(len(weight), len(channels.kept), -1)  # the map is flattened channel by channel
        slicer.shift(at, by_channel.astype(np.float64).sum(axis=2) @ channels.constant)
        slicer.weights[key] = np.ascontiguousarray(by_channel[:, channels.kept].reshape(len(weight), -1))
    return _Channels.all_of(outputs_of(layer, slicer.network))


def _pool(slicer: _Slicer, layer: Pool, at: str, channels: _Channels) -> _Channels:
    if layer.kind == "avg" and layer.count_padding and layer.padding and channels.constant.any():
        slicer.bordered.append(at)
    return channels


def _relu(slicer: _Slicer, layer: ReLU, at: str, channels: _Channels) -> _Channels:
    return replace(channels, constant=np.maximum(channels.constant, 0))


def _same(slicer: _Slicer, layer: Dropout, at: str, channels: _Channels) -> _Channels:
    return channels


_SLICE: dict[type, Callable[[_Slicer, Any, str, _Channels], _Channels]] = {
    Conv: _conv,
    SeparableConv: _separable_conv,
    Linear: _linear,
    Pool: _pool,
    ReLU: _relu,
    Dropout: _same,
}
