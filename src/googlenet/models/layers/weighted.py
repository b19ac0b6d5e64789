"""Layer types with weights: convolutions and linear layers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from googlenet.errors import NetworkError
from googlenet.models.layers.base import (
    Cost,
    Layer,
    LayerType,
    NamedShapes,
    Shape,
    Size,
    check_output,
    check_whole,
    pair,
)

if TYPE_CHECKING:
    from googlenet.models.spec import BatchNorm, Network


@dataclass(frozen=True)
class Conv(Layer):
    """A convolution, the network's normalisation (if it has one) and a ReLU.

    ``out=None`` means the network's number of classes. ``padding=None`` pads by ``kernel // 2`` on every side, which
    keeps the size at stride 1. With ``norm=False`` it has a bias instead of the normalisation.
    """

    out: int | None
    kernel: Size = 1
    stride: int = 1
    padding: Size | None = None
    groups: int = 1
    norm: bool = True
    relu: bool = True

    def __post_init__(self) -> None:
        check_whole(self, "out", "kernel", "stride", "groups")
        check_whole(self, "padding", least=0)


@dataclass(frozen=True)
class SeparableConv(Layer):
    """A convolution of each channel on its own (``multiplier`` outputs per channel), then a 1×1 over all.

    The normalisation and the ReLU follow the 1×1 only (Chollet, *Xception*, 2016, section 3).
    """

    out: int
    kernel: Size = 3
    stride: int = 1
    padding: Size | None = None
    multiplier: int = 1
    relu: bool = True

    def __post_init__(self) -> None:
        check_whole(self, "out", "kernel", "stride", "multiplier")
        check_whole(self, "padding", least=0)


@dataclass(frozen=True)
class Linear(Layer):
    """A fully connected layer over the flattened map. ``out=None`` means the network's number of classes."""

    out: int | None = None
    relu: bool = False

    def __post_init__(self) -> None:
        check_whole(self, "out")


def padding_of(layer: Conv | SeparableConv) -> tuple[int, int]:
    """Return the padding (height, width) of a convolution, by default half the kernel."""
    if layer.padding is not None:
        return pair(layer.padding)
    height, width = pair(layer.kernel)
    return height // 2, width // 2


def outputs_of(layer: Conv | Linear, network: Network) -> int:
    """Return the number of output channels or units, by default the number of classes."""
    return network.num_classes if layer.out is None else layer.out


def _conv_cost(layer: Conv, shape: Shape, network: Network) -> Cost:
    channels, height, width = shape
    width_out = outputs_of(layer, network)
    if channels % layer.groups or width_out % layer.groups:
        raise NetworkError(f"{network.name}: {channels} channels in, {layer} cannot be divided into its groups")
    out = _conv_shape(layer, width_out, height, width, network)
    weights = width_out * (channels // layer.groups) * math.prod(pair(layer.kernel))
    return _weighted_cost(out, weights, network.norm if layer.norm else None)


def _separable_conv_cost(layer: SeparableConv, shape: Shape, network: Network) -> Cost:
    channels, height, width = shape
    middle = channels * layer.multiplier
    out = _conv_shape(layer, layer.out, height, width, network)
    weights = middle * math.prod(pair(layer.kernel)) + middle * layer.out
    cost = _weighted_cost(out, weights, network.norm)
    return replace(cost, activations=cost.activations + middle * out[1] * out[2])  # of two convolutions


def _conv_shape(layer: Conv | SeparableConv, out: int, height: int, width: int, network: Network) -> Shape:
    rows, columns = (
        (side + 2 * padding - kernel) // layer.stride + 1
        for side, padding, kernel in zip((height, width), padding_of(layer), pair(layer.kernel), strict=True)
    )
    return check_output((out, rows, columns), network)


def _weighted_cost(shape: Shape, weights: int, norm: BatchNorm | None) -> Cost:
    extra = (1 if norm is None else 2 + norm.bias) * shape[0]  # a bias; or scale, shift and perhaps a bias
    return Cost(shape, weights, weights + extra, weights * shape[1] * shape[2], 1, 1, math.prod(shape))


def _linear_cost(layer: Linear, shape: Shape, network: Network) -> Cost:
    out = outputs_of(layer, network)
    weights = math.prod(shape) * out
    return Cost((out, 1, 1), weights, weights + out, weights, 1, 1, out)


def _conv_tensors(name: str, layer: Conv, shape: Shape, network: Network) -> NamedShapes:
    out = outputs_of(layer, network)
    yield f"{name}.conv.weight", (out, shape[0] // layer.groups, *pair(layer.kernel))
    yield from _tensors_after(name, out, network.norm if layer.norm else None)


def _separable_conv_tensors(name: str, layer: SeparableConv, shape: Shape, network: Network) -> NamedShapes:
    middle = shape[0] * layer.multiplier
    yield f"{name}.depthwise.weight", (middle, 1, *pair(layer.kernel))
    yield f"{name}.conv.weight", (layer.out, middle, 1, 1)
    yield from _tensors_after(name, layer.out, network.norm)


def _tensors_after(name: str, out: int, norm: BatchNorm | None) -> NamedShapes:
    if norm is None or norm.bias:
        yield f"{name}.conv.bias", (out,)
    if norm is not None:
        for kind in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.bn.{kind}", (out,)
        yield f"{name}.bn.num_batches_tracked", ()


def _linear_tensors(name: str, layer: Linear, shape: Shape, network: Network) -> NamedShapes:
    out = outputs_of(layer, network)
    yield f"{name}.weight", (out, math.prod(shape))
    yield f"{name}.bias", (out,)


WEIGHTED: dict[type[Layer], LayerType] = {
    Linear: LayerType("linear", _linear_cost, _linear_tensors),
    SeparableConv: LayerType("separable convolution", _separable_conv_cost, _separable_conv_tensors),
    Conv: LayerType("convolution", _conv_cost, _conv_tensors),
}
