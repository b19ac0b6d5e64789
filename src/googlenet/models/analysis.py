"""What a network costs: output sizes, parameters and multiply-accumulates, read off the data, without torch.

Conventions. MAC: one multiply-accumulate of a convolution or a linear layer; biases, pooling, normalisation
and activations count nothing. Weights: the kernels alone. Parameters: weights, biases, and the scale and
shift of batch normalisation. Depth: layers with weights on the longest path. Activations: the values that all
convolutions and linear layers put out for one image, summed, whether they are in memory at one time or not; in fp32
a value is 4 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from googlenet.errors import InputSizeError, NetworkError
from googlenet.models.spec import (
    LRN,
    BatchNorm,
    Conv,
    Dropout,
    Layer,
    Linear,
    Network,
    Parallel,
    Pool,
    ReLU,
    Residual,
    SeparableConv,
    Size,
    Stage,
    require_network,
    whole_number,
)

Shape = tuple[int, int, int]  # channels, height, width

LARGEST_MINIMUM = 512  # no network here needs larger images than this to work at all


@dataclass(frozen=True)
class Cost:
    """What comes out of some layers, and what they take."""

    shape: Shape
    weights: int = 0
    parameters: int = 0
    macs: int = 0
    depth: int = 0
    depth_with_pooling: int = 0
    activations: int = 0


@dataclass(frozen=True)
class Row:
    """One row of Table 1. ``widths`` are the outputs of the convolutions of each branch, in order."""

    name: str
    kind: str
    kernel: int | None
    stride: int | None
    widths: dict[str, tuple[int, ...]]
    cost: Cost


@dataclass(frozen=True)
class Analysis:
    """Table 1 of any network. ``rows`` is the network itself, ``aux`` its auxiliary heads."""

    network: Network
    size: int
    rows: tuple[Row, ...]
    aux: tuple[Row, ...]

    @property
    def weights(self) -> int:
        """Weights used at inference."""
        return sum(row.cost.weights for row in self.rows)

    @property
    def parameters(self) -> int:
        """Parameters used at inference."""
        return sum(row.cost.parameters for row in self.rows)

    @property
    def training_parameters(self) -> int:
        """Parameters with the auxiliary heads."""
        return self.parameters + sum(row.cost.parameters for row in self.aux)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image at inference."""
        return sum(row.cost.macs for row in self.rows)

    @property
    def activations(self) -> int:
        """Values that convolutions and linear layers put out for one image at inference."""
        return sum(row.cost.activations for row in self.rows)

    @property
    def depth(self) -> int:
        """Layers with weights from image to logits."""
        return sum(row.cost.depth for row in self.rows)

    @property
    def depth_with_pooling(self) -> int:
        """The same, counting pooling layers too."""
        return sum(row.cost.depth_with_pooling for row in self.rows)


def analyse(network: Network, size: int | None = None) -> Analysis:
    """Work out every row of a network's table for square images of ``size`` pixels.

    Raises :class:`InputSizeError` when ``size`` is smaller than the network can take.

    >>> from googlenet.models.networks.googlenet import GOOGLENET
    >>> table = analyse(GOOGLENET)
    >>> table.parameters, table.macs, table.training_parameters, table.depth
    (6998552, 1582671872, 13378280, 22)
    """
    size = require_network(network).input_size if size is None else size
    pixels = whole_number(size)
    if pixels is None:
        raise InputSizeError(f"size is a whole number of pixels, got {size!r:.80}")
    size = pixels
    if size < minimum_size(network):
        raise InputSizeError(too_small(network, size, size))
    return _analyse(network, size)


@cache
def minimum_size(network: Network) -> int:
    """Find the smallest height and width the network can take, in pixels.

    >>> from googlenet.models.networks.googlenet import GOOGLENET
    >>> minimum_size(GOOGLENET)
    31
    """
    wrong: NetworkError | None = None
    for size in range(1, LARGEST_MINIMUM + 1):
        try:
            _analyse(network, size)
        except InputSizeError:
            continue
        except NetworkError as error:  # at this size: there are networks that hold together at some sizes only
            wrong = wrong or error
            continue
        return size
    raise wrong or NetworkError(f"{network.name} takes no image of up to {LARGEST_MINIMUM} pixels: it pools too often")


def too_small(network: Network, height: int, width: int) -> str:
    """Say that an image of ``height × width`` is too small."""
    least = minimum_size(network)
    return f"{network.name} got {height}×{width} pixels; it takes {least}×{least} or more: enlarge the images"


def cost_of(layers: Sequence[Layer], shape: Shape, network: Network) -> Cost:
    """Add up the layers, fed with ``shape``; ``network`` says the normalisation and the number of classes."""
    total = Cost(shape)
    for layer in layers:
        one = _COST[type(layer)](layer, total.shape, network)
        total = Cost(
            one.shape,
            total.weights + one.weights,
            total.parameters + one.parameters,
            total.macs + one.macs,
            total.depth + one.depth,
            total.depth_with_pooling + one.depth_with_pooling,
            total.activations + one.activations,
        )
    return total


def padding_of(layer: Conv | SeparableConv) -> tuple[int, int]:
    """Padding (height, width) of a convolution: half the kernel unless the layer says otherwise."""
    if layer.padding is not None:
        return pair(layer.padding)
    height, width = pair(layer.kernel)
    return height // 2, width // 2


def outputs_of(layer: Conv | Linear, network: Network) -> int:
    """Channels or units that come out: the number of classes unless the layer says otherwise."""
    return network.num_classes if layer.out is None else layer.out


def pair(size: Size) -> tuple[int, int]:
    """(height, width) of a size written either way."""
    return (size, size) if isinstance(size, int) else size


def pooled_size(layer: Pool, size: int) -> int:
    """Count the windows of a pool without fixed output along one side. Below 1: the side is too small."""
    if layer.kernel is None:
        raise NetworkError(f"{layer} has no windows: its output is fixed")
    span = (size + 2 * layer.padding - layer.kernel) / layer.stride
    windows = (math.ceil(span) if layer.ceil else math.floor(span)) + 1
    # A window that would start beyond the image and its left padding is dropped, as torch and Caffe do.
    if layer.ceil and (windows - 1) * layer.stride >= size + layer.padding:
        windows -= 1
    return windows


def uses_plain_windows(layer: Pool, height: int, width: int) -> bool:
    """Whether a pool's own windows give its fixed output at this size (else they are adaptive)."""
    if layer.output is None:
        return True
    if layer.kernel is None:
        return False
    return pooled_size(layer, height) == pooled_size(layer, width) == layer.output


def _analyse(network: Network, size: int) -> Analysis:
    shape = (network.in_channels, size, size)
    rows, after = [], {}
    for stage in network.stages:
        rows.append(_row(stage, shape, network))
        shape = after[stage.name] = rows[-1].cost.shape
    aux = [_row(Stage(tap.name, tap.layers), after[tap.after], network) for tap in network.aux]
    return Analysis(network, size, tuple(rows), tuple(aux))


def _row(stage: Stage, shape: Shape, network: Network) -> Row:
    lead = _lead(stage.layers)
    kernel: Any = getattr(lead, "kernel", None)
    stride: Any = getattr(lead, "stride", None)
    if isinstance(lead, Pool) and not uses_plain_windows(lead, *shape[1:]):
        kernel, stride = (shape[1], 1) if lead.output == 1 else (None, None)
    cost = cost_of(stage.layers, shape, network)
    kind = _kind(lead)
    modules = sum(isinstance(layer, (Parallel, Residual)) for layer in stage.layers)
    return Row(stage.name, f"{modules}× {kind}" if modules > 1 else kind, kernel, stride, _widths(stage), cost)


_KINDS: dict[type, str] = {
    Parallel: "inception",
    Residual: "residual",
    Linear: "linear",
    SeparableConv: "separable convolution",
    Conv: "convolution",
    Pool: "pool",
    LRN: "normalisation",
    ReLU: "ReLU",
    Dropout: "dropout",
}


def _lead(layers: Sequence[Layer]) -> Layer | None:
    """Pick the layer that names a row: the weightiest noun, and of those the last."""
    order = list(_KINDS)
    return min(reversed(layers), key=lambda layer: order.index(type(layer)), default=None)


def _kind(layer: Layer | None) -> str:
    if isinstance(layer, Pool):
        return f"{layer.kind} pool"
    if isinstance(layer, Dropout):
        return f"dropout ({layer.p:.0%})"
    return _KINDS[type(layer)] if layer else "nothing"


def _widths(stage: Stage) -> dict[str, tuple[int, ...]]:
    for layer in stage.layers:
        if isinstance(layer, Residual):
            return _widths(Stage(stage.name, layer.body))
        if isinstance(layer, Parallel):
            return {branch.name: _conv_widths(branch.layers) for branch in layer.branches}
    convs = _conv_widths(stage.layers)
    if len(convs) < 2:
        return {}
    last = [layer for layer in stage.layers if isinstance(layer, (Conv, SeparableConv))][-1]
    return {"{}x{}".format(*pair(last.kernel)): convs}


def _conv_widths(layers: Sequence[Layer]) -> tuple[int, ...]:
    """List what the convolutions of a branch put out; branches inside it count as one."""
    widths = []
    for layer in layers:
        if isinstance(layer, (Conv, SeparableConv)) and layer.out is not None:
            widths.append(layer.out)
        elif isinstance(layer, Parallel):
            widths.append(sum(sum(_conv_widths(branch.layers)[-1:]) for branch in layer.branches))
    return tuple(widths)


# One function a noun: layer, input shape, network → cost.


def _conv(layer: Conv, shape: Shape, network: Network) -> Cost:
    channels, height, width = shape
    width_out = outputs_of(layer, network)
    if channels % layer.groups or width_out % layer.groups:
        raise NetworkError(f"{network.name}: {channels} channels in, {layer} cannot be divided into its groups")
    out = _conv_shape(layer, width_out, height, width, network)
    weights = width_out * (channels // layer.groups) * math.prod(pair(layer.kernel))
    return _weighted(out, weights, network.norm if layer.norm else None)


def _separable_conv(layer: SeparableConv, shape: Shape, network: Network) -> Cost:
    channels, height, width = shape
    middle = channels * layer.multiplier
    out = _conv_shape(layer, layer.out, height, width, network)
    weights = middle * math.prod(pair(layer.kernel)) + middle * layer.out
    cost = _weighted(out, weights, network.norm)
    return replace(cost, activations=cost.activations + middle * out[1] * out[2])  # two convolutions put out


def _conv_shape(layer: Conv | SeparableConv, out: int, height: int, width: int, network: Network) -> Shape:
    rows, columns = (
        (side + 2 * padding - kernel) // layer.stride + 1
        for side, padding, kernel in zip((height, width), padding_of(layer), pair(layer.kernel), strict=True)
    )
    return _checked((out, rows, columns), network)


def _weighted(shape: Shape, weights: int, norm: BatchNorm | None) -> Cost:
    extra = (1 if norm is None else 2 + norm.bias) * shape[0]  # a bias; or a scale, a shift and perhaps a bias
    return Cost(shape, weights, weights + extra, weights * shape[1] * shape[2], 1, 1, math.prod(shape))


def _linear(layer: Linear, shape: Shape, network: Network) -> Cost:
    out = outputs_of(layer, network)
    weights = math.prod(shape) * out
    return Cost((out, 1, 1), weights, weights + out, weights, 1, 1, out)


def _pool(layer: Pool, shape: Shape, network: Network) -> Cost:
    channels, height, width = shape
    if layer.output is not None:
        return Cost((channels, layer.output, layer.output), depth_with_pooling=1)
    out = (channels, pooled_size(layer, height), pooled_size(layer, width))
    return Cost(_checked(out, network), depth_with_pooling=1)


def _free(_: LRN | ReLU | Dropout, shape: Shape, __: Network) -> Cost:
    return Cost(shape)


def _parallel(layer: Parallel, shape: Shape, network: Network) -> Cost:
    costs = [cost_of(branch.layers, shape, network) for branch in layer.branches]
    sizes = {cost.shape[1:] for cost in costs}
    if len(sizes) != 1:
        raise NetworkError(f"{network.name}: branches to be joined differ in size: {_sizes(costs)}")
    joined = (sum(cost.shape[0] for cost in costs), *sizes.pop())
    return _together(costs, joined)


def _residual(layer: Residual, shape: Shape, network: Network) -> Cost:
    costs = [cost_of(layers, shape, network) for layers in (layer.body, layer.shortcut)]
    if costs[0].shape != costs[1].shape:
        raise NetworkError(f"{network.name}: body and shortcut to be added differ in shape: {_sizes(costs)}")
    return _together(costs, costs[0].shape)


def _together(costs: list[Cost], shape: Shape) -> Cost:
    return Cost(
        shape,
        sum(cost.weights for cost in costs),
        sum(cost.parameters for cost in costs),
        sum(cost.macs for cost in costs),
        max(cost.depth for cost in costs),
        max(cost.depth_with_pooling for cost in costs),
        sum(cost.activations for cost in costs),
    )


def _sizes(costs: list[Cost]) -> str:
    return ", ".join("×".join(map(str, cost.shape)) for cost in costs)


def _checked(shape: Shape, network: Network) -> Shape:
    if min(shape) < 1:
        raise InputSizeError(f"{network.name}: a layer is left with nothing, {shape}")
    return shape


_COST: dict[type, Callable[[Any, Shape, Network], Cost]] = {
    Conv: _conv,
    SeparableConv: _separable_conv,
    Linear: _linear,
    Pool: _pool,
    LRN: _free,
    ReLU: _free,
    Dropout: _free,
    Parallel: _parallel,
    Residual: _residual,
}
