"""Layer types without weights: pooling, normalisation across channels, ReLU, dropout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from googlenet.errors import NetworkError
from googlenet.models.layers.base import Cost, Layer, LayerType, Shape, check_output, check_whole

if TYPE_CHECKING:
    from googlenet.models.spec import Network


@dataclass(frozen=True)
class Pool(Layer):
    """Max or average pooling.

    ``ceil`` rounds the output size up, as Caffe does. ``count_padding`` counts the zeros of the padding in averages.
    ``output`` fixes the output to ``output × output`` for any input: with a ``kernel`` plain windows are used where
    they give that size, adaptive windows elsewhere; without one the windows are always adaptive.
    """

    kind: Literal["max", "avg"]
    kernel: int | None = None
    stride: int = 1
    padding: int = 0
    ceil: bool = True
    count_padding: bool = False
    output: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("max", "avg") or (self.kernel is None and self.output is None):
            raise NetworkError(f"a pool is 'max' or 'avg' and has a kernel or an output, got {self}")
        check_whole(self, "kernel", "stride", "output")
        check_whole(self, "padding", least=0)


@dataclass(frozen=True)
class LRN(Layer):
    """Local response normalisation across channels: x / (k + alpha/size · Σ x²) ** beta.

    Krizhevsky et al., *ImageNet classification with deep convolutional networks*, 2012, section 3.3,
    with the constants of Caffe's GoogLeNet.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        check_whole(self, "size")


@dataclass(frozen=True)
class ReLU(Layer):
    """A ReLU on its own, for one that comes before a convolution instead of after it."""


@dataclass(frozen=True)
class Dropout(Layer):
    """Sets each value to zero with probability ``p`` in training; does nothing at inference."""

    p: float

    def __post_init__(self) -> None:
        if not isinstance(self.p, (int, float)) or not 0 <= self.p < 1:
            raise NetworkError(f"dropout is a probability from 0 up to, not including, 1; got {self.p!r}")


def pooled_size(layer: Pool, size: int) -> int:
    """Return the number of windows of a pool without fixed output along one side. Below 1 the side is too small."""
    if layer.kernel is None:
        raise NetworkError(f"{layer} has no windows: its output is fixed")
    span = (size + 2 * layer.padding - layer.kernel) / layer.stride
    windows = (math.ceil(span) if layer.ceil else math.floor(span)) + 1
    # A window that would start beyond the image and its left padding is dropped, as torch and Caffe do.
    if layer.ceil and (windows - 1) * layer.stride >= size + layer.padding:
        windows -= 1
    return windows


def uses_plain_windows(layer: Pool, height: int, width: int) -> bool:
    """Whether the plain windows of a pool give its fixed output at this size; otherwise they are adaptive."""
    if layer.output is None:
        return True
    if layer.kernel is None:
        return False
    return pooled_size(layer, height) == pooled_size(layer, width) == layer.output


def _pool_cost(layer: Pool, shape: Shape, network: Network) -> Cost:
    channels, height, width = shape
    if layer.output is not None:
        return Cost((channels, layer.output, layer.output), depth_with_pooling=1)
    out = (channels, pooled_size(layer, height), pooled_size(layer, width))
    return Cost(check_output(out, network), depth_with_pooling=1)


def _no_cost(_: LRN | ReLU | Dropout, shape: Shape, __: Network) -> Cost:
    return Cost(shape)


WEIGHTLESS: dict[type[Layer], LayerType] = {
    Pool: LayerType("{layer.kind} pool", _pool_cost),
    LRN: LayerType("normalisation", _no_cost),
    ReLU: LayerType("ReLU", _no_cost),
    Dropout: LayerType("dropout ({layer.p:.0%})", _no_cost),
}
