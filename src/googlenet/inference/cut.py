"""A bundle's graph in two parts, up to the output of one node and from there on, in fp32. No onnx."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.bundle import MODEL, Bundle
from googlenet.errors import BundleError
from googlenet.images.decode import Pixels
from googlenet.inference.graphs import explained, graph_path, outputs_of, read_graph
from googlenet.inference.runtime import runtime

OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


class Cut:
    """The graph of a network with class activation maps, cut after the node ``name``.

    Raises :class:`BundleError` if the graph has no such node, as in bundles of earlier versions.
    """

    def __init__(self, bundle: Bundle, name: str) -> None:
        import openvino

        self._bundle = bundle
        model = read_graph(bundle, MODEL)
        with explained(bundle, MODEL, f"cannot be cut after {name!r}"):
            head, tail = model.clone(), model.clone()
            at = self._node(head, name).output(0)
            self._head = runtime().compile_model(openvino.Model([at], head.get_parameters()), "CPU", OPTIONS)
            at = self._node(tail, name).output(0)
            parameter = openvino.opset8.parameter(at.get_partial_shape(), openvino.Type.f32)
            for reader in at.get_target_inputs():
                reader.replace_source_output(parameter.output(0))
            maps = outputs_of(tail)["maps"].get_node().input_value(0)
            self._tail = runtime().compile_model(
                openvino.Model([maps], [parameter, *tail.get_parameters()]), "CPU", OPTIONS
            )

    def _node(self, model: Any, name: str) -> Any:
        for node in model.get_ops():
            if node.get_friendly_name() == name:
                return node
        raise BundleError(f"{graph_path(self._bundle, MODEL)} has no node {name!r}: an earlier version wrote it")

    def before(self, batch: Pixels) -> NDArray[np.float32]:
        """(N, size, size, C) uint8 → what the node puts out, (N, D, h, w)."""
        return np.array(self._head(np.ascontiguousarray(batch))[0], np.float32)

    def after(self, joined: NDArray[np.float32], image: Pixels) -> NDArray[np.float64]:
        """(N, D, h, w) → the logits (N, K); past a shortcut the rest still sees the ``image`` (size, size, C)."""
        images = np.repeat(image[None], len(joined), axis=0)
        maps = np.array(self._tail([np.ascontiguousarray(joined), images])[0], np.float64)
        return np.asarray(maps.mean(axis=(2, 3)))
