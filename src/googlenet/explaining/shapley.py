"""Shapley values of the branches of any module: what each gives to a class, on average over all orders of switching on.

A branch that is switched off puts out zeros. Of B branches there are 2^B sets, and the rest of the network is run for
each: 16 runs for four. The values are exact, not sampled, and add up to what all branches together change (Shapley, *A
value for n-person games*, 1953; for networks Lundberg & Lee, *A unified approach to interpreting model predictions*,
2017).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.errors import NetworkError
from googlenet.explaining.branches import LastModule, check_one_stage
from googlenet.models.layers.base import Layer, Shape
from googlenet.models.layers.containers import Parallel, Residual, cost_of, stage_costs
from googlenet.models.spec import Network
from googlenet.text import nearest, printable

Array = NDArray[Any]
MAX_BRANCHES = 6  # 64 runs


def modules_of(network: Network, size: int, most: int | None = MAX_BRANCHES) -> dict[str, LastModule]:
    """Return every module with branches by the name of its join: ``inception_4a``, or ``block_8.4.body.0``.

    Those of more than ``most`` branches are left out; none for ``None``.
    """
    return {
        name: module
        for stage, shape, _ in stage_costs(network, size)
        for name, module in _within(stage.layers, stage.name, shape, network)
        if most is None or len(module.names) <= most
    }


def _within(layers: Sequence[Layer], at: str, shape: Shape, network: Network) -> Iterator[tuple[str, LastModule]]:
    for number, layer in enumerate(layers):
        path = at if len(layers) == 1 else f"{at}.{number}"  # the names of nodes in the graph
        if isinstance(layer, Parallel):
            channels = [cost_of(branch.layers, shape, network).shape[0] for branch in layer.branches]
            yield path, LastModule(path, tuple(branch.name for branch in layer.branches), tuple(channels))
        if isinstance(layer, Residual):
            yield from _within(layer.body, f"{path}.body", shape, network)
        shape = cost_of([layer], shape, network).shape


def find_module(network: Network, size: int, name: str) -> LastModule:
    """Return a module by its name. Raises :class:`NetworkError` naming the nearest where there is none."""
    check_one_stage(network)
    found = modules_of(network, size)
    if not found:
        raise NetworkError(f"{printable(network.name)} has no branches: GoogLeNet and the other Inceptions have")
    if name not in found:
        raise NetworkError(f"{printable(network.name)} has no module {name!r}: {nearest(str(name), found)}")
    return found[name]


def shapley(joined: Array, channels: Sequence[int], value: Callable[[Array], Array]) -> tuple[Array, float]:
    """Return the Shapley values (B,) of branches, and the value where all are off.

    ``joined`` (C, h, w) is what the branches put out, of so many ``channels`` each; ``value`` takes (N, C, h, w) and
    returns (N,).

    >>> shapley(np.ones((2, 1, 1)), (1, 1), lambda x: 3 * x[:, 0, 0, 0] + x[:, 0, 0, 0] * x[:, 1, 0, 0])
    (array([3.5, 0.5]), 0.0)
    """
    count = len(channels)
    on = np.array([[(subset >> branch) & 1 for branch in range(count)] for subset in range(2**count)], bool)
    masks = np.repeat(on, channels, axis=1)[:, :, None, None]  # (2^B, C, 1, 1)
    values = np.asarray(value((joined * masks).astype(joined.dtype)), np.float64)
    parts = np.zeros(count)
    for subset, members in enumerate(on):
        for branch in np.flatnonzero(~members):
            before = int(members.sum())
            weight = factorial(before) * factorial(count - before - 1) / factorial(count)
            parts[branch] += weight * (values[subset | (1 << int(branch))] - values[subset])
    return parts, float(values[0])
