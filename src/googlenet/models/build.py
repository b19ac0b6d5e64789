"""The interpreter: a network as data becomes a ``torch.nn.Module``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from googlenet.errors import InputSizeError, MachineError, NetworkError
from googlenet.models import spec, zoo
from googlenet.models.analysis import (
    Shape,
    analyse,
    cost_of,
    minimum_size,
    outputs_of,
    padding_of,
    too_small,
    uses_plain_windows,
)
from googlenet.preprocessing import Preprocessing
from googlenet.text import nearest


class Outputs(NamedTuple):
    """What a network says in training: ``logits`` (N, K) and, for each auxiliary head, (N, K)."""

    logits: Tensor
    aux: tuple[Tensor, ...]


class ConvNet(nn.Module):
    """A network built from its data. Its children bear the names of the stages and heads.

    ``network`` is the data it was built from. ``forward`` returns logits (N, K), in training and evaluation
    alike; ``forward_with_aux`` returns those of the auxiliary heads too. ``loaded`` reports which weights it was
    given (see :func:`googlenet.create`); it is ``None`` for fresh ones.
    """

    def __init__(self, network: spec.Network) -> None:
        super().__init__()
        self.network = network
        self.loaded: Any = None
        self.minimum_size = minimum_size(network)
        shape: Shape = (network.in_channels, network.input_size, network.input_size)
        for stage in network.stages:
            self.add_module(stage.name, _sequence(stage.layers, shape, network))
            shape = cost_of(stage.layers, shape, network).shape
            for tap in network.aux:
                if tap.after == stage.name:
                    self.add_module(tap.name, _sequence(tap.layers, shape, network))
        initialise(self, network.init)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → logits (N, K). Raises :class:`InputSizeError` when H or W is below the minimum."""
        return _logits(self._run(images, self.network.stages))

    def forward_with_aux(self, images: Tensor) -> Outputs:
        """(N, C, H, W) → logits (N, K) and one (N, K) for each auxiliary head, the first head first."""
        self._check(images)
        heads = []
        x = images
        for stage in self.network.stages:
            x = self.get_submodule(stage.name)(x)
            for tap in self.network.aux:
                if tap.after == stage.name:
                    heads.append(_logits(self.get_submodule(tap.name)(x)))
        return Outputs(_logits(x), tuple(heads))

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → the maps (N, D, h, w) that global average pooling sees."""
        stages = self.network.stages_before_pooling()
        if stages is None:
            raise NetworkError(f"{self.network.name} has no maps that are averaged to logits")
        return self._run(images, stages)

    def _run(self, images: Tensor, stages: Sequence[spec.Stage]) -> Tensor:
        self._check(images)
        x = images
        for stage in stages:
            x = self.get_submodule(stage.name)(x)
        return x

    def _check(self, images: Tensor) -> None:
        if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
            got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else f"{images!r:.80}"
            needed = f"(N, {self.network.in_channels}, H, W)"
            raise NetworkError(
                f"{self.network.name} takes images of floating point, {needed} is needed, got {got}: give one image "
                "as image[None]"
            )
        channels, height, width = images.shape[1:]
        if channels != self.network.in_channels:
            raise NetworkError(
                f"{self.network.name} got images of {channels} channels; it was built for "
                f"{self.network.in_channels}: create it with in_channels={channels}"
            )
        if height < self.minimum_size or width < self.minimum_size:
            raise InputSizeError(too_small(self.network, height, width))


def _logits(x: Tensor) -> Tensor:
    """(N, K, 1, 1), as pooling leaves them, or (N, K) → (N, K)."""
    return x.flatten(1) if x.shape[2:] == (1, 1) else x


def create(
    network: str | spec.Network = "googlenet",
    num_classes: int | None = None,
    *,
    in_channels: int | None = None,
    aux: int | None = None,
    dropout: float | None = None,
    init: str | None = None,
) -> ConvNet:
    """Build a network with fresh weights. Arguments and errors are those of :func:`googlenet.create`.

    >>> network = create("googlenet", num_classes=5)
    >>> network(torch.zeros(2, 3, 224, 224)).shape
    torch.Size([2, 5])
    >>> [head.shape for head in network.forward_with_aux(torch.zeros(2, 3, 224, 224)).aux]
    [torch.Size([2, 5]), torch.Size([2, 5])]
    """
    network = zoo.resolve(network)
    if num_classes is not None:
        network = replace(network, num_classes=num_classes)
    if in_channels is not None:
        network = replace(network, in_channels=in_channels)
    if aux is not None:
        heads = spec.whole_number(aux)
        if heads is None or not 0 <= heads <= len(network.aux):
            raise NetworkError(f"aux is how many heads to keep: {network.name} has {len(network.aux)}, got {aux!r:.80}")
        network = replace(network, aux=network.aux[:heads])
    if dropout is not None:
        network = network.with_dropout(dropout)
    if init is not None:
        network = replace(network, init=init)
    parameters = analyse(network, max(network.input_size, minimum_size(network))).training_parameters
    try:
        return ConvNet(network)
    except (RuntimeError, MemoryError) as error:
        raise MachineError(
            f"{network.name} with {network.num_classes:,} classes has {parameters:,} parameters, "
            f"{4 * parameters:,} bytes: more memory than there is"
        ) from error


# Initialisation.


def initialise(module: nn.Module, how: str) -> None:
    """Draw fresh weights for every convolution and linear layer of ``module``.

    ``kaiming``: normal with variance 2/fan_out (He et al., 2015), linear layers N(0, 0.01), biases 0.
    ``xavier``: uniform with variance 1/fan_in as in Caffe, biases 0.2, those of the classifiers 0.
    ``truncated_normal``: normal of standard deviation √(1/fan_in), cut off at two of them, biases 0.
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


# The modules. One function a noun: layer, input shape, network → module.


class LocalResponseNorm(nn.Module):
    """x / (k + alpha/size · Σ x²) ** beta over ``size`` neighbouring channels."""

    def __init__(self, layer: spec.LRN) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same."""
        lrn = self.layer
        return F.local_response_norm(x, lrn.size, lrn.alpha, lrn.beta, lrn.k)


class Pooling(nn.Module):
    """Max or average pooling; with a fixed output, adaptive where plain windows would not give it."""

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
        # A window larger than the map sees all of it; engines refuse to be told so by a larger kernel.
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
    """Modules that see the same input, joined on the channel axis."""

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


class Normalise(nn.Module):
    """uint8 pixels, R, G, B → what the network was trained on: (pixel / 255 - mean) / std, perhaps B, G, R."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.reverse = preprocessing.channel_order == "BGR"
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, -1, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, -1, 1, 1) * 255)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) uint8 → (N, C, H, W) float, channels last in memory."""
        x = (images.float() - self.mean) / self.std
        return (x.flip(1) if self.reverse else x).contiguous(memory_format=torch.channels_last)


def _sequence(layers: Sequence[spec.Layer], shape: Shape, network: spec.Network) -> nn.Module:
    modules = []
    for layer in layers:
        modules.append(_BUILD[type(layer)](layer, shape, network))
        shape = cost_of([layer], shape, network).shape
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


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
    """Follow convolutions by what follows each of them: normalisation and ReLU."""
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
    return LocalResponseNorm(layer)


def _relu(layer: spec.ReLU, shape: Shape, network: spec.Network) -> nn.Module:
    return nn.ReLU()  # not in place: a shortcut may need what came in


def _dropout(layer: spec.Dropout, shape: Shape, network: spec.Network) -> nn.Module:
    return nn.Dropout(layer.p)


def _linear(layer: spec.Linear, shape: Shape, network: spec.Network) -> nn.Module:
    return Dense(math.prod(shape), outputs_of(layer, network), layer.relu)


def _parallel(layer: spec.Parallel, shape: Shape, network: spec.Network) -> nn.Module:
    return Branches({branch.name: _sequence(branch.layers, shape, network) for branch in layer.branches})


def _residual(layer: spec.Residual, shape: Shape, network: spec.Network) -> nn.Module:
    body, shortcut = (_sequence(layers, shape, network) for layers in (layer.body, layer.shortcut))
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
