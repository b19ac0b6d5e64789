"""Output sizes, parameters and multiply-accumulates of a network, computed from its data. No torch.

Conventions. MAC: one multiply-accumulate of a convolution or linear layer; biases, pooling, normalisation and ReLU are
not counted. Weights: the kernels alone. Parameters: weights, biases, and the scale and shift of batch normalisation.
Depth: layers with weights on the longest path. Activations: the output values of all convolutions and linear layers for
one image, summed, whether they are in memory at one time or not; 4 bytes each in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from googlenet.errors import InputSizeError, NetworkError
from googlenet.models.layers.base import Cost, Layer, Shape, pair, whole_number
from googlenet.models.layers.containers import LAYER_TYPES, Parallel, Residual, Stage, cost_of, stage_costs
from googlenet.models.layers.weighted import Conv, SeparableConv
from googlenet.models.layers.weightless import Pool, uses_plain_windows
from googlenet.models.spec import Network, require_network

LARGEST_MINIMUM = 512  # pixels a side; no network of the zoo needs larger images to work at all


@dataclass(frozen=True)
class Row:
    """One row of Table 1. ``widths`` are the output channels of the convolutions of each branch, in order."""

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
        """Output values of convolutions and linear layers for one image at inference."""
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
    """Compute every row of a network's table for square images of ``size`` pixels.

    Raises :class:`InputSizeError` if ``size`` is smaller than the network can take.

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


def share_through(network: Network, stage: str) -> float:
    """Return the share of a network's multiply-accumulates up to and including a stage, 0 to 1."""
    through = {each.name for each in network.through(stage)}
    table = analyse(network)
    return sum(row.cost.macs for row in table.rows if row.name in through) / table.macs


def last_within(network: Network, share: float) -> str | None:
    """Return the last stage with weights up to which at most a share of the multiply-accumulates lie."""
    table = analyse(network)
    done, last = 0, None
    for row in table.rows:
        done += row.cost.macs
        if done > share * table.macs:
            break
        last = row.name if row.cost.parameters else last
    return last


@cache
def minimum_size(network: Network) -> int:
    """Return the smallest height and width that a network can take, in pixels.

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
        except NetworkError as error:  # at this size; some networks fit together at some sizes only
            wrong = wrong or error
            continue
        return size
    raise wrong or NetworkError(f"{network.name} takes no image of up to {LARGEST_MINIMUM} pixels: it pools too often")


def too_small(network: Network, height: int, width: int) -> str:
    """Return the message that an image of ``height × width`` is too small."""
    least = minimum_size(network)
    return f"{network.name} got {height}×{width} pixels; it takes {least}×{least} or more: enlarge the images"


def _analyse(network: Network, size: int) -> Analysis:
    rows, after = [], {}
    for stage, shape, cost in stage_costs(network, size):
        rows.append(_row(stage, shape, cost))
        after[stage.name] = cost.shape
    heads = [(Stage(tap.name, tap.layers), after[tap.after]) for tap in network.aux]
    aux = [_row(head, shape, cost_of(head.layers, shape, network)) for head, shape in heads]
    return Analysis(network, size, tuple(rows), tuple(aux))


def _row(stage: Stage, shape: Shape, cost: Cost) -> Row:
    lead = _lead(stage.layers)
    kernel: Any = getattr(lead, "kernel", None)
    stride: Any = getattr(lead, "stride", None)
    if isinstance(lead, Pool) and not uses_plain_windows(lead, *shape[1:]):
        kernel, stride = (shape[1], 1) if lead.output == 1 else (None, None)
    kind = _kind(lead)
    modules = sum(isinstance(layer, (Parallel, Residual)) for layer in stage.layers)
    return Row(stage.name, f"{modules}× {kind}" if modules > 1 else kind, kernel, stride, _widths(stage), cost)


def _lead(layers: Sequence[Layer]) -> Layer | None:
    """Return the layer that names a row: the last one of the type that comes first in the table."""
    order = list(LAYER_TYPES)
    return min(reversed(layers), key=lambda layer: order.index(type(layer)), default=None)


def _kind(layer: Layer | None) -> str:
    return LAYER_TYPES[type(layer)].kind.format(layer=layer) if layer else "nothing"


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
    """Return the output channels of the convolutions of a branch; branches inside it count as one."""
    widths = []
    for layer in layers:
        if isinstance(layer, (Conv, SeparableConv)) and layer.out is not None:
            widths.append(layer.out)
        elif isinstance(layer, Parallel):
            widths.append(sum(sum(_conv_widths(branch.layers)[-1:]) for branch in layer.branches))
    return tuple(widths)
