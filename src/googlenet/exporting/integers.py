"""The weights of a graph as whole numbers of 16 bits, half as large. What is computed stays in 32 bits. No torch.

Each output channel has a scale of its own, so that its largest weight is the largest whole number. That is nearer than
half-precision floats are: an error of at most 1/65,534 of the largest weight, rather than 1/2,048 of each. Engines
multiply the scales in when they load the graph.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from googlenet.checks.onnx_graph import MESSAGES
from googlenet.checks.wire import parse, serialize

MIN_WEIGHTS = 256  # smaller constants, and biases, stay as they are
_FLOAT = 1  # of TensorProto.DataType
_INTEGERS = {8: (3, np.dtype("<i1")), 16: (5, np.dtype("<i2"))}  # bits → TensorProto.DataType, and the numbers


def weights_as_integers(content: bytes, bits: int = 16) -> bytes:
    """Return an ONNX file of ours with its large constants as whole numbers, (K, …), with a scale for each of K."""
    model = parse(content, "Model", MESSAGES)
    graph = model["graph"]
    constants, nodes = list[dict[str, Any]](), list[dict[str, Any]]()
    for tensor in graph["initializer"]:
        dims = tensor.get("dims", ())
        if tensor["data_type"] != _FLOAT or len(dims) < 2 or math.prod(dims) < MIN_WEIGHTS:
            constants.append(tensor)
            continue
        whole, scale = _rounded(tensor, bits)
        constants += [whole, scale]
        nodes += _restoring(tensor["name"], whole["name"], scale["name"])
    graph["initializer"], graph["node"] = constants, nodes + graph["node"]
    return serialize(model, "Model", MESSAGES)


def _rounded(tensor: dict[str, Any], bits: int) -> tuple[dict[str, Any], dict[str, Any]]:
    kind, dtype = _INTEGERS[bits]
    values = np.frombuffer(tensor["raw_data"], "<f4").reshape(tensor["dims"]).astype(np.float64)
    most = 2 ** (bits - 1) - 1
    largest = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True)
    scale = (np.where(largest > 0, largest, 1) / most).astype("<f4")
    whole = np.clip(np.rint(values / scale), -most, most).astype(dtype)
    name = tensor["name"]
    return (
        {"dims": tensor["dims"], "data_type": kind, "name": f"{name}.whole", "raw_data": whole.tobytes()},
        {"dims": list(scale.shape), "data_type": _FLOAT, "name": f"{name}.scale", "raw_data": scale.tobytes()},
    )


def _restoring(name: str, whole: str, scale: str) -> list[dict[str, Any]]:
    """Return the nodes that make the constant again."""
    to = {"name": "to", "i": _FLOAT, "type": 2}
    return [
        {"input": [whole], "output": [f"{name}.float"], "name": f"{name}.float", "op_type": "Cast", "attribute": [to]},
        {"input": [f"{name}.float", scale], "output": [name], "name": name, "op_type": "Mul"},
    ]
