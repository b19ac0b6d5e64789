"""The class activation maps of a graph: what each place adds to the logit of each class. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ValueInfoProto

from googlenet.exporting import views
from googlenet.exporting.onnx_writer import MAPS, Graph
from googlenet.models import spec
from googlenet.models.grids import to_grid
from googlenet.models.layers.base import Shape

Maps = tuple[str, Shape]  # the name of (N, D, h, w) in a graph, and (D, h, w)


def join(averaged: Sequence[Maps], last: Maps, graph: Graph) -> Maps:
    """Put the averages of maps before those of the last stage, (N, D, 1, 1): the input of the classifier."""
    x, (channels, height, width) = last
    means = [graph.node("GlobalAveragePool", f"{name}.averaged", name) for name, _ in averaged]
    total = channels + sum(shape[0] for _, shape in averaged)
    return graph.node("Concat", "averaged", *means, x, axis=1), (total, height, width)


def write(averaged: Sequence[Maps], mirror: bool, graph: Graph) -> ValueInfoProto:
    """Apply the linear layer, if one follows the pooling, to maps at every place: (N, K, h, w), on the largest grid.

    The maps of several stages are brought to one grid by areas, which keeps their averages, and added.
    """
    (features, shape), fc = averaged[-1], graph.network.stages[-1]
    if fc.layers != (spec.Linear(),):
        return views.output(graph, MAPS, shape, mirror, "Identity", features)
    maps = (graph.network.num_classes, *shape[1:])
    if len(averaged) == 1:
        places = graph.constant("maps.places", np.array([2, 3]))
        kernel = graph.node("Unsqueeze", "maps.kernel", f"{fc.name}.weight", places)  # (K, D) → (K, D, 1, 1)
        return views.output(graph, MAPS, maps, mirror, "Conv", features, kernel, f"{fc.name}.bias")
    rows, columns = (max(shape[side] for _, shape in averaged) for side in (1, 2))
    begin = 0
    total = graph.constant("maps.bias", graph.weights[f"{fc.name}.bias"][:, None, None])
    for x, (channels, height, width) in averaged:
        weight = graph.weights[f"{fc.name}.weight"][:, begin : begin + channels, None, None]
        begin += channels
        part = graph.node("Conv", f"maps.of.{x}", x, graph.constant(f"maps.kernel.{x}", weight))
        if (height, width) != (rows, columns):
            down = graph.constant(f"maps.down.{x}", to_grid(height, rows))
            across = graph.constant(f"maps.across.{x}", to_grid(width, columns).T)
            part = graph.node("MatMul", f"maps.rows.{x}", down, part)
            part = graph.node("MatMul", f"maps.enlarged.{x}", part, across)
        total = graph.node("Add", f"maps.with.{x}", total, part)
    return views.output(graph, MAPS, (maps[0], rows, columns), mirror, "Identity", total)
