"""The tensors of a network's module by name and shape, computed from its data. No torch, no memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from googlenet.models.layers.containers import stage_costs, tensors_of
from googlenet.models.spec import Network


@dataclass(frozen=True)
class Header:
    """A tensor without its values. It has the attributes of a tensor of PyTorch that are needed here."""

    shape: tuple[int, ...]
    is_float: bool = True

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def numel(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def is_floating_point(self) -> bool:
        """Whether its values are floating-point numbers."""
        return self.is_float


@cache
def state_dict_on_meta(network: Network) -> dict[str, Header]:
    """Return every tensor of a network's module by its key in the state dict, in that order.

    >>> from googlenet.models.networks.googlenet import GOOGLENET
    >>> state_dict_on_meta(GOOGLENET)["fc.weight"].shape
    (1000, 1024)
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for stage, shape, cost in stage_costs(network, network.input_size):
        shapes |= tensors_of(stage.name, stage.layers, shape, network)
        for tap in network.aux:
            if tap.after == stage.name:
                shapes |= tensors_of(tap.name, tap.layers, cost.shape, network)
    return {name: Header(shape, is_float=not is_a_counter(name)) for name, shape in shapes.items()}


def is_a_counter(key: str) -> bool:
    """Whether this tensor counts batches. Some sources leave counters out, and no answer depends on them."""
    return key.endswith("num_batches_tracked")
