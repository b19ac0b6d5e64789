"""An ONNX graph in the making: nodes and constants are added to it by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from googlenet.models import spec

Array = NDArray[Any]
Weights = Mapping[str, Array]

OPSET = 20
IR_VERSION = 9  # the one that came with opset 20
INPUT, PROBABILITIES, MAPS, EMBEDDINGS = "images", "probabilities", "maps", "embeddings"
FEATURES = "features"  # the input of an auxiliary head


class Graph:
    """A graph in the making, with the network and the weights that it is made from."""

    def __init__(self, network: spec.Network, weights: Weights) -> None:
        self.network = network
        self.weights = weights
        self.model = helper.make_model(
            helper.make_graph([], network.name, [], []),
            producer_name="googlenet",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        self.written = self.model.graph

    def node(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its output, which is its own."""
        if name in (INPUT, PROBABILITIES, MAPS, EMBEDDINGS):  # a stage may have the name of an output
            name += "_"
        return self.own(operator, name, *inputs, **attributes)

    def own(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node whose output is one of the graph's."""
        self.written.node.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Array) -> str:
        """Add a constant: whole numbers as int64, all else as float32."""
        whole = np.issubdtype(value.dtype, np.integer)
        tensor = self.written.initializer.add(name=name, dims=value.shape)
        tensor.data_type = TensorProto.INT64 if whole else TensorProto.FLOAT
        # Written in place: the helpers of onnx copy the weights, up to half a gigabyte, four times.
        tensor.raw_data = value.astype("<i8" if whole else "<f4").tobytes()
        return name
