"""The views of an image that a graph answers: the image alone, or its mirror image, too. Answers are means over views.

Other views, such as crops, would be stacked in :func:`stacked` and counted in :func:`mean`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from googlenet.exporting.onnx_writer import INPUT, MAPS, Graph

WIDTH = 2  # the axis of the columns in (N, H, W, C)
VIEWS = 2  # the image and its mirror image


def stacked(size: int, graph: Graph) -> str:
    """(N, size, size, C) images → (2·N, size, size, C): all images, then all mirror images."""
    mirrored = graph.node("Gather", "images.mirrored", INPUT, _reversed("images.columns", size, graph), axis=WIDTH)
    return graph.node("Concat", "images.views", INPUT, mirrored, axis=0)


def output(
    graph: Graph, name: str, shape: tuple[int, ...], mirror: bool, operator: str, *inputs: str, **attributes: Any
) -> ValueInfoProto:
    """Add a node whose output, (N, *shape), is one of the graph's: with ``mirror`` its mean over the views."""
    if mirror:
        mean(graph.node(operator, f"{name}.of_views", *inputs, **attributes), name, shape, graph)
    else:
        graph.own(operator, name, *inputs, **attributes)
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])


def mean(x: str, name: str, shape: tuple[int, ...], graph: Graph) -> None:
    """Add the output ``name``: the mean over the views, (2·N, *shape) → (N, *shape). Maps are mirrored back before."""
    halves = graph.constant(f"{name}.halves", np.array([VIEWS, -1, *shape]))
    x = graph.node("Reshape", f"{name}.by_view", x, halves)
    if name == MAPS:
        views = [
            graph.node(
                "Gather", f"{name}.{view}", x, graph.constant(f"{name}.{view}.number", np.array([number])), axis=0
            )
            for number, view in enumerate(("image", "mirror_image"))
        ]
        columns = _reversed(f"{name}.columns", shape[-1], graph)
        views[1] = graph.node("Gather", f"{name}.mirrored_back", views[1], columns, axis=len(shape) + 1)
        x = graph.node("Concat", f"{name}.views", *views, axis=0)
    graph.own("ReduceMean", name, x, graph.constant(f"{name}.view_axis", np.array([0])), keepdims=0)


def _reversed(name: str, count: int, graph: Graph) -> str:
    return graph.constant(name, np.arange(count)[::-1])
