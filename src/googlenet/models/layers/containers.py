"""Layer types that hold other layers, and the table of all types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from googlenet.errors import NetworkError
from googlenet.models.layers.base import (
    Cost,
    Layer,
    LayerType,
    NamedShapes,
    Shape,
    check_sequence,
    check_unique,
)
from googlenet.models.layers.weighted import WEIGHTED
from googlenet.models.layers.weightless import WEIGHTLESS

if TYPE_CHECKING:
    from googlenet.models.spec import Network


@dataclass(frozen=True)
class Stage:
    """A named step: a row of Table 1, or a branch of a module."""

    name: str
    layers: Sequence[Layer]

    def __post_init__(self) -> None:
        check_sequence(self, "layers", Layer)
        if not isinstance(self.name, str) or not self.name or "." in self.name:
            raise NetworkError(f"a stage's name must be non-empty and without dots, got {self.name!r}")


@dataclass(frozen=True)
class Parallel(Layer):
    """Branches with the same input, whose outputs are concatenated on the channel axis.

    A branch without layers passes its input on.
    """

    branches: Sequence[Stage]

    def __post_init__(self) -> None:
        check_sequence(self, "branches", Stage)
        check_unique("branch", [branch.name for branch in self.branches])


@dataclass(frozen=True)
class Residual(Layer):
    """shortcut(x) + scale · body(x), then a ReLU. An empty shortcut passes x on."""

    body: Sequence[Layer]
    shortcut: Sequence[Layer] = ()
    scale: float = 1.0
    relu: bool = True

    def __post_init__(self) -> None:
        check_sequence(self, "body", Layer)
        check_sequence(self, "shortcut", Layer)


def cost_of(layers: Sequence[Layer], shape: Shape, network: Network) -> Cost:
    """Add up the cost of layers on an input of ``shape``; ``network`` has the normalisation and number of classes."""
    total = Cost(shape)
    for layer in layers:
        one = LAYER_TYPES[type(layer)].cost(layer, total.shape, network)
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


def stage_costs(network: Network, size: int) -> Iterator[tuple[Stage, Shape, Cost]]:
    """Yield each stage with the shape of its input and its cost, for square images of ``size`` pixels."""
    shape: Shape = (network.in_channels, size, size)
    pooling, averaged = network.pooling, 0
    for stage in network.stages:
        cost = cost_of(stage.layers, shape, network)
        yield stage, shape, cost
        shape = cost.shape
        averaged += shape[0] if stage.name in network.pooled else 0
        if stage.name == pooling:
            shape = (shape[0] + averaged, *shape[1:])


def tensors_of(name: str, layers: Sequence[Layer], shape: Shape, network: Network) -> NamedShapes:
    """Yield the tensors of the module that layers become, by their keys below ``name``."""
    for number, layer in enumerate(layers):
        at = name if len(layers) == 1 else f"{name}.{number}"
        yield from LAYER_TYPES[type(layer)].tensors(at, layer, shape, network)
        shape = cost_of([layer], shape, network).shape


def _parallel_cost(layer: Parallel, shape: Shape, network: Network) -> Cost:
    costs = [cost_of(branch.layers, shape, network) for branch in layer.branches]
    sizes = {cost.shape[1:] for cost in costs}
    if len(sizes) != 1:
        raise NetworkError(f"{network.name}: branches to be joined differ in size: {_sizes(costs)}")
    joined = (sum(cost.shape[0] for cost in costs), *sizes.pop())
    return _joint_cost(costs, joined)


def _residual_cost(layer: Residual, shape: Shape, network: Network) -> Cost:
    costs = [cost_of(layers, shape, network) for layers in (layer.body, layer.shortcut)]
    if costs[0].shape != costs[1].shape:
        raise NetworkError(f"{network.name}: body and shortcut to be added differ in shape: {_sizes(costs)}")
    return _joint_cost(costs, costs[0].shape)


def _joint_cost(costs: list[Cost], shape: Shape) -> Cost:
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


def _parallel_tensors(name: str, layer: Parallel, shape: Shape, network: Network) -> NamedShapes:
    for branch in layer.branches:
        yield from tensors_of(f"{name}.{branch.name}", branch.layers, shape, network)


def _residual_tensors(name: str, layer: Residual, shape: Shape, network: Network) -> NamedShapes:
    yield from tensors_of(f"{name}.body", layer.body, shape, network)
    yield from tensors_of(f"{name}.shortcut", layer.shortcut, shape, network)


# The layer that names a row of Table 1 is the one that comes first here.
LAYER_TYPES: dict[type[Layer], LayerType] = {
    Parallel: LayerType("inception", _parallel_cost, _parallel_tensors),
    Residual: LayerType("residual", _residual_cost, _residual_tensors),
    **WEIGHTED,
    **WEIGHTLESS,
}
