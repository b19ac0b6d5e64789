"""Pooling layers as ONNX nodes: plain windows, and the adaptive ones that ONNX has no operator for."""

from __future__ import annotations

import math

import numpy as np

from googlenet.exporting.onnx_writer import Array, Graph
from googlenet.models import spec
from googlenet.models.layers.base import Shape, pair
from googlenet.models.layers.weightless import pooled_size, uses_plain_windows


def write_pool(layer: spec.Pool, x: str, shape: Shape, at: str, graph: Graph) -> str:
    """Write a pool that reads ``x`` of ``shape``; return the name of its output."""
    if uses_plain_windows(layer, *shape[1:]):
        return _plain_pool(layer, x, shape, at, graph)
    assert layer.output is not None
    if layer.output == 1:
        return graph.node("GlobalMaxPool" if layer.kind == "max" else "GlobalAveragePool", at, x)
    if not shape[1] % layer.output and not shape[2] % layer.output:
        kernel = [side // layer.output for side in shape[1:]]
        operator = "MaxPool" if layer.kind == "max" else "AveragePool"
        return graph.node(operator, at, x, kernel_shape=kernel, strides=kernel)
    adaptive = _adaptive_max if layer.kind == "max" else _adaptive_average
    return adaptive(layer.output, x, shape, at, graph)


def _plain_pool(layer: spec.Pool, x: str, shape: Shape, at: str, graph: Graph) -> str:
    assert layer.kernel is not None
    sides, before, strides = shape[1:], layer.padding, pair(layer.stride)
    # A window larger than the map covers all of it; engines refuse kernels larger than the map.
    kernel = [min(layer.kernel, side + 2 * before) for side in sides]
    # Rounding up is written as padding that the last window reaches into: engines round differently.
    spans = [(pooled_size(layer, side) - 1) * layer.stride + window for side, window in zip(sides, kernel, strict=True)]
    after = [max(0, span - before - side) for span, side in zip(spans, sides, strict=True)]
    if layer.kind == "max":
        return graph.node("MaxPool", at, x, kernel_shape=kernel, strides=strides, pads=[before, before, *after])
    counted = layer.count_padding and before > 0
    if counted and max(after) > before:
        # Zeros of the padding count in averages, what lies beyond does not: so the padding becomes part of the map.
        x = graph.node("Pad", f"{at}.padded", x, graph.constant(f"{at}.pads", np.array(2 * [0, 0, before, before])))
        before, after, counted = 0, [max(0, end - before) for end in after], False
    pads = [before, before, *after]
    return graph.node(
        "AveragePool", at, x, kernel_shape=kernel, strides=strides, pads=pads, count_include_pad=int(counted)
    )


def _adaptive_windows(size: int, output: int) -> list[tuple[int, int]]:
    """Return (start, end) of every window along one side, as torch divides it."""
    return [(i * size // output, math.ceil((i + 1) * size / output)) for i in range(output)]


def _adaptive_average(output: int, x: str, shape: Shape, at: str, graph: Graph) -> str:
    """Write A · x · B: each row of A averages rows of the map, each column of B columns."""
    rows, columns = (_averages(size, output) for size in shape[1:])
    x = graph.node("MatMul", f"{at}.rows", graph.constant(f"{at}.row_windows", rows), x)
    return graph.node("MatMul", at, x, graph.constant(f"{at}.column_windows", columns.T))


def _averages(size: int, output: int) -> Array:
    matrix = np.zeros((output, size))
    for row, (start, end) in enumerate(_adaptive_windows(size, output)):
        matrix[row, start:end] = 1 / (end - start)
    return matrix


def _adaptive_max(output: int, x: str, shape: Shape, at: str, graph: Graph) -> str:
    for axis, side, path in ((2, shape[1], f"{at}.rows"), (3, shape[2], at)):
        along = graph.constant(f"{path}.axis", np.array([axis]))
        parts = []
        for number, window in enumerate(_adaptive_windows(side, output)):
            start, end = (graph.constant(f"{path}.{number}.{n}", np.array([place])) for n, place in enumerate(window))
            part = graph.node("Slice", f"{path}.{number}", x, start, end, along)
            parts.append(graph.node("ReduceMax", f"{path}.{number}.max", part, along))
        x = graph.node("Concat", path, *parts, axis=axis)
    return x
