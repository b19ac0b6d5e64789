"""Whether an ONNX file is a graph that this project writes, without external data.

Operators, attributes, types of constants, functions and subgraphs that are not listed here are refused.
``exporting.graph`` writes graphs today; those of earlier versions came from torch's exporter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.checks.cost import Node, check_cost
from googlenet.checks.wire import messages, parse
from googlenet.text import printable

# https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, without what no graph of ours has: training_info, functions,
# sparse and quantised tensors, segments, data outside of raw_data, subgraphs, maps, sequences.
MESSAGES = messages({
    "Model": "1 ir_version int, 2 producer_name text, 3 producer_version text, 4 domain text, 5 model_version int, "
             "6 doc_string text, 7 graph Graph, 8 opset_import Opset*, 14 metadata_props Entry*",
    "Opset": "1 domain text, 2 version int",
    "Entry": "1 key text, 2 value text",
    "Graph": "1 node Node*, 2 name text, 5 initializer Tensor*, 10 doc_string text, 11 input ValueInfo*, "
             "12 output ValueInfo*, 13 value_info ValueInfo*, 16 metadata_props Entry*",
    "Node": "1 input text*, 2 output text*, 3 name text, 4 op_type text, 5 attribute Attribute*, 6 doc_string text, "
            "7 domain text, 9 metadata_props Entry*",
    "Attribute": "1 name text, 2 f float, 3 i int, 4 s text, 7 floats float*, 8 ints int*, 13 doc_string text, "
                 "20 type int",
    "Tensor": "1 dims int*, 2 data_type int, 8 name text, 9 raw_data bytes, 12 doc_string text, "
              "13 external_data Entry*, 14 data_location int, 16 metadata_props Entry*",
    "ValueInfo": "1 name text, 2 type Type, 3 doc_string text, 4 metadata_props Entry*",
    "Type": "1 tensor_type TensorType, 6 denotation text",
    "TensorType": "1 elem_type int, 2 shape Shape",
    "Shape": "1 dim Dimension*",
    "Dimension": "1 dim_value int, 2 dim_param text, 3 denotation text",
})  # fmt: skip

OPSET = 20
WRITERS = {"googlenet", "pytorch"}  # values of producer_name
OUTPUTS = {"probabilities", "maps", "embeddings"}
MAX_WINDOW = 4096  # of kernels, strides, padding: the side of the largest image
MAX_INDEX = 2**20  # of whole numbers in constants: sides of maps, axes
MAX_INDICES = 4096  # whole numbers in a constant
MAX_RANK = 6
_FLOAT, _UINT8, _INT64 = 1, 2, 7  # of TensorProto.DataType
_DTYPES: dict[int, np.dtype[Any]] = {_FLOAT: np.dtype("<f4"), _INT64: np.dtype("<i8")}

# Operator → possible numbers of inputs, and its attributes.
_OPERATORS: dict[str, tuple[range, str]] = {
    "Add": (range(2, 3), ""),
    "AveragePool": (range(1, 2), "auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides"),
    "Cast": (range(1, 2), "to"),
    "Concat": (range(1, 4097), "axis"),
    "Conv": (range(2, 4), "auto_pad dilations group kernel_shape pads strides"),
    "Div": (range(2, 3), ""),
    "Flatten": (range(1, 2), "axis"),
    "Gather": (range(2, 3), "axis"),
    "Gemm": (range(2, 4), "alpha beta transA transB"),
    "GlobalAveragePool": (range(1, 2), ""),
    "GlobalMaxPool": (range(1, 2), ""),
    "Identity": (range(1, 2), ""),
    "LRN": (range(1, 2), "alpha beta bias size"),
    "Log": (range(1, 2), ""),
    "MatMul": (range(2, 3), ""),
    "MaxPool": (range(1, 2), "auto_pad ceil_mode dilations kernel_shape pads storage_order strides"),
    "Mul": (range(2, 3), ""),
    "Pad": (range(2, 3), ""),
    "Pow": (range(2, 3), ""),
    "ReduceMax": (range(2, 3), "keepdims noop_with_empty_axes"),
    "ReduceMean": (range(2, 3), "keepdims noop_with_empty_axes"),
    "Relu": (range(1, 2), ""),
    "Reshape": (range(2, 3), ""),
    "Sigmoid": (range(1, 2), ""),
    "Slice": (range(4, 5), ""),
    "Softmax": (range(1, 2), "axis"),
    "Sub": (range(2, 3), ""),
    "Transpose": (range(1, 2), "perm"),
    "Unsqueeze": (range(2, 3), ""),
}

# Attribute → its AttributeProto.AttributeType, the field of its value, and the range of its numbers.
_FLOATING, _WHOLE, _TEXT, _WHOLES = (1, "f"), (2, "i"), (3, "s"), (7, "ints")
_FLAG, _AXIS, _POSITIVE = (0, 1), (-MAX_RANK, MAX_RANK), (1, MAX_WINDOW)
_ATTRIBUTES: dict[str, tuple[tuple[int, str], tuple[int, int]]] = {
    "alpha": (_FLOATING, (0, 0)),
    "auto_pad": (_TEXT, (0, 0)),
    "axis": (_WHOLE, _AXIS),
    "beta": (_FLOATING, (0, 0)),
    "bias": (_FLOATING, (0, 0)),
    "ceil_mode": (_WHOLE, _FLAG),
    "count_include_pad": (_WHOLE, _FLAG),
    "dilations": (_WHOLES, _POSITIVE),
    "group": (_WHOLE, (1, MAX_INDEX)),
    "keepdims": (_WHOLE, _FLAG),
    "kernel_shape": (_WHOLES, _POSITIVE),
    "noop_with_empty_axes": (_WHOLE, _FLAG),
    "pads": (_WHOLES, (0, MAX_WINDOW)),
    "perm": (_WHOLES, (0, MAX_RANK)),
    "size": (_WHOLE, _POSITIVE),
    "storage_order": (_WHOLE, (0, 0)),
    "strides": (_WHOLES, _POSITIVE),
    "to": (_WHOLE, (_FLOAT, _FLOAT)),
    "transA": (_WHOLE, _FLAG),
    "transB": (_WHOLE, _FLAG),
}


def check_onnx(content: bytes) -> None:
    """Raise :class:`ValueError` unless ``content`` is a graph of ours with finite weights; it says what is wrong."""
    _check(content, _shape)


def check_head(content: bytes) -> None:
    """Raise :class:`ValueError` unless ``content`` is an auxiliary head of ours, whose input is a map of features."""
    _check(content, _features)


def _check(content: bytes, shape_of: Callable[[Mapping[str, Any]], tuple[int, ...]]) -> None:
    graph = _graph(content)
    constants = _constants(graph)
    _check_wiring(graph, constants.keys())
    nodes = [_node(node) for node in graph.get("node", ())]
    [given] = graph["input"]
    check_cost(nodes, (given.get("name", ""), shape_of(given)), constants)


def read_constants(content: bytes | bytearray) -> dict[str, NDArray[Any]]:
    """Read the constants of a graph that :func:`check_onnx` passed, as views of it, by name."""
    return {name: values.reshape(shape) for name, (shape, values) in _constants(_graph(content)).items()}


def _graph(content: bytes | bytearray) -> dict[str, Any]:
    try:
        model = parse(content, "Model", MESSAGES)
    except ValueError as error:
        raise ValueError(f"is not a graph OpenVINO can read: {error}") from error
    if model.get("producer_name") not in WRITERS:
        raise ValueError(f"is not a graph OpenVINO can read: not written by {' or '.join(sorted(WRITERS))}")
    if model.get("opset_import") not in ([{"version": OPSET}], [{"domain": "", "version": OPSET}]):
        raise ValueError(f"is not a graph OpenVINO can read: not of opset {OPSET} alone")
    graph: dict[str, Any] = model.get("graph", {})
    return graph


def _constants(graph: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], NDArray[Any]]]:
    constants = {tensor.get("name", ""): _constant(tensor) for tensor in graph.get("initializer", ())}
    if len(constants) != len(graph.get("initializer", ())):
        raise ValueError("has two constants of one name")
    return constants


def _shape(image: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of the input for one image, (1, H, W, C)."""
    if not (sides := _sides(image, _UINT8)):
        raise ValueError(f"does not take images: uint8 (N, H, W, C) of up to {MAX_WINDOW} pixels a side")
    return (1, *sides)


def _features(maps: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of the input for one image, (1, D, h, w)."""
    if not (sides := _sides(maps, _FLOAT)):
        raise ValueError(f"does not take features: float32 (N, D, h, w) of up to {MAX_WINDOW} channels or pixels")
    return (1, *sides)


def _sides(given: Mapping[str, Any], kind: int) -> list[int]:
    declared = given.get("type", {}).get("tensor_type", {})
    sides = [side.get("dim_value", 0) for side in declared.get("shape", {}).get("dim", ())[1:]]
    fits = declared.get("elem_type") == kind and len(sides) == 3 and all(1 <= side <= MAX_WINDOW for side in sides)
    return sides if fits else []


def _constant(tensor: Mapping[str, Any]) -> tuple[tuple[int, ...], NDArray[Any]]:
    name = printable(tensor.get("name", ""))
    if "external_data" in tensor or tensor.get("data_location"):
        raise ValueError(f"refers to data outside of itself: only single-file graphs are read (constant {name})")
    dims, raw = tensor.get("dims", ()), tensor.get("raw_data", memoryview(b""))
    dtype = _DTYPES.get(tensor.get("data_type", 0))
    if dtype is None:
        raise ValueError(f"has a constant {name} that is neither of float32 nor of int64")
    if len(dims) > MAX_RANK or any(side < 1 for side in dims) or math.prod(dims) * dtype.itemsize != len(raw):
        raise ValueError(f"has a constant {name} of shape {list(dims[:MAX_RANK])} in {len(raw):,} bytes")
    values = np.frombuffer(raw, dtype)
    if dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ValueError(f"has weights that are not finite, in {name}: train it again, or get another copy")
    elif len(values) > MAX_INDICES or (np.abs(values.astype(np.float64)) > MAX_INDEX).any():
        raise ValueError(f"has a constant {name} with whole numbers out of range")
    return tuple(dims), values


def _check_wiring(graph: Mapping[str, Any], named: Set[str]) -> None:
    """Check that every name is defined once, before it is used: so there are no cycles, and one way to read it."""
    inputs, outputs = ([each.get("name") for each in graph.get(side, ())] for side in ("input", "output"))
    if len(inputs) != 1 or "probabilities" not in outputs or not OUTPUTS.issuperset(outputs):
        raise ValueError(f"has not one input and the outputs {', '.join(sorted(OUTPUTS))}")
    there = {*inputs, *named}
    for node in graph.get("node", ()):
        given = node.get("output", ())
        if len(given) != 1 or given[0] in there or not given[0] or not there.issuperset(node.get("input", ())):
            raise ValueError(f"has a node {printable(node.get('name', ''))} that does not follow from those before it")
        there.add(given[0])
    if len(set(outputs)) != len(outputs) or not there.issuperset(outputs):
        raise ValueError("has an output that no node computes")


def _node(node: Mapping[str, Any]) -> Node:
    operator = node.get("op_type", "")
    where = f"node {printable(node.get('name', ''))[:80]!r}"
    if node.get("domain") or operator not in _OPERATORS:
        kind = printable(f"{node.get('domain', '')}.{operator}".lstrip("."))[:80]
        raise ValueError(f"holds an operator that no graph of ours has: {where} is {kind}")
    counts, allowed = _OPERATORS[operator]
    if len(node.get("input", ())) not in counts:
        raise ValueError(f"holds a {operator} with {len(node.get('input', ()))} inputs: {where}")
    names = [attribute.get("name", "") for attribute in node.get("attribute", ())]
    if len(set(names)) != len(names) or not set(allowed.split()).issuperset(names):
        raise ValueError(f"holds a {operator} with attributes that it has not in graphs of ours: {where}")
    for attribute in node.get("attribute", ()):
        if not _fits(attribute):
            raise ValueError(f"holds a {operator} whose {attribute['name']} is out of range: {where}")
    given = {attribute["name"]: attribute.get("i", attribute.get("ints")) for attribute in node.get("attribute", ())}
    return Node(operator, node.get("input", ()), node["output"][0], given)


def _fits(attribute: Mapping[str, Any]) -> bool:
    (type_, field), (low, high) = _ATTRIBUTES[attribute["name"]]
    if attribute.get("type") != type_ or attribute.keys() - {"name", "type", "doc_string", field}:
        return False
    value = attribute.get(field, () if field == "ints" else None)
    return _IN_RANGE[field](value, low, high)


_IN_RANGE: dict[str, Callable[[Any, int, int], bool]] = {
    "f": lambda value, low, high: value is not None and bool(np.isfinite(np.frombuffer(value, "<f4")[0])),
    "i": lambda value, low, high: value is not None and low <= value <= high,
    "s": lambda value, low, high: value == "NOTSET",
    "ints": lambda value, low, high: 1 <= len(value) <= 8 and all(low <= each <= high for each in value),
}
