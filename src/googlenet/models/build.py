"""A network as data becomes a ``torch.nn.Module``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from googlenet.errors import InputSizeError, MachineError, NetworkError
from googlenet.models import spec, zoo
from googlenet.models.analysis import analyse, minimum_size, too_small
from googlenet.models.initialisation import initialise
from googlenet.models.layers.base import whole_number
from googlenet.models.layers.containers import stage_costs
from googlenet.models.modules import build_layers
from googlenet.preprocessing import Preprocessing


class Outputs(NamedTuple):
    """The outputs of a network in training: ``logits`` (N, K), and in ``aux`` (N, K) for each auxiliary head."""

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
        for stage, shape, cost in stage_costs(network, network.input_size):
            self.add_module(stage.name, build_layers(stage.layers, shape, network))
            for tap in network.aux:
                if tap.after == stage.name:
                    self.add_module(tap.name, build_layers(tap.layers, cost.shape, network))
        initialise(self, network.init)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → logits (N, K). Raises :class:`InputSizeError` if H or W is below the minimum."""
        self._check(images)
        *_, (_, logits) = self._passed(images)
        return _logits(logits)

    def forward_with_aux(self, images: Tensor, after: str | None = None) -> Outputs:
        """(N, C, H, W) → logits (N, K), and (N, K) for each auxiliary head, in order.

        With ``after``, the input is what the stage of that name put out, and only later stages and heads are run.
        """
        if after is None:
            self._check(images)
        heads = []
        logits = images
        for name, output in self._passed(images, after):
            for tap in self.network.aux:
                if tap.after == name:
                    heads.append(_logits(self.get_submodule(tap.name)(output)))
            logits = output
        return Outputs(_logits(logits), tuple(heads))

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → the feature maps (N, D, h, w) before global average pooling."""
        return self.averaged_maps(images)[-1]

    def averaged_maps(self, images: Tensor) -> list[Tensor]:
        """(N, C, H, W) → the maps (N, D, h, w) of each stage whose averages the classifier sees."""
        stages = self.network.stages_before_pooling()
        if stages is None:
            raise NetworkError(f"{self.network.name} has no feature maps that are averaged to logits")
        self._check(images)
        last = stages[-1].name
        maps = []
        for name, output in self._passed(images):
            if name in self.network.pooled or name == last:
                maps.append(output)
            if name == last:
                break
        return maps

    def maps_of(self, images: Tensor, stage: str) -> Tensor:
        """(N, C, H, W) → what the stage of that name puts out, (N, D, h, w); later stages are not run."""
        self._check(images)
        return next(output for name, output in self._passed(images) if name == stage)

    def embed(self, maps: Tensor, after: str) -> Tensor:
        """Return the input of the last stage, (N, D), from the maps (N, C, h, w) that the stage ``after`` put out."""
        before = self.network.stages[-2].name
        if after == before:
            return maps.flatten(1)
        return next(output for name, output in self._passed(maps, after) if name == before).flatten(1)

    def _passed(self, x: Tensor, after: str | None = None) -> Iterator[tuple[str, Tensor]]:
        """Run the stages, those after ``after`` on what it put out; yield the name and the output of each."""
        network, means = self.network, []
        pooling = network.pooling
        if after in network.pooled:
            means.append(_mean(x))
        for stage in network.stages_after(after):
            x = self.get_submodule(stage.name)(x)
            if stage.name in network.pooled:
                means.append(_mean(x))
            if stage.name == pooling:
                x = torch.cat([*means, x], dim=1)
            yield stage.name, x

    def _check(self, images: Tensor) -> None:
        if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
            got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else f"{images!r:.80}"
            needed = f"(N, {self.network.in_channels}, H, W)"
            raise NetworkError(
                f"{self.network.name} takes floating-point images {needed}, got {got}: pass one image as image[None]"
            )
        channels, height, width = images.shape[1:]
        if channels != self.network.in_channels:
            raise NetworkError(
                f"{self.network.name} got images of {channels} channels; it was built for "
                f"{self.network.in_channels}: create it with in_channels={channels}"
            )
        if height < self.minimum_size or width < self.minimum_size:
            raise InputSizeError(too_small(self.network, height, width))


def _mean(maps: Tensor) -> Tensor:
    """(N, D, h, w) → (N, D, 1, 1)."""
    return maps.mean((2, 3), keepdim=True)


def _logits(x: Tensor) -> Tensor:
    """(N, K, 1, 1) after pooling, or (N, K) → (N, K)."""
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
        heads = whole_number(aux)
        if heads is None or not 0 <= heads <= len(network.aux):
            raise NetworkError(f"aux is the number of heads: {network.name} has {len(network.aux)}, got {aux!r:.80}")
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


class Normalise(nn.Module):
    """Normalises uint8 pixels: (pixel / 255 - mean) / std, in the order B, G, R if the network was trained so."""

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
