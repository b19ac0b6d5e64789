"""A bundle's graph whose branches can be held constant: what would it answer without this one? In fp32. No onnx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.bundle import MODEL, Bundle
from googlenet.errors import BundleError
from googlenet.explaining.branches import LastModule
from googlenet.images.decode import Pixels
from googlenet.inference.cut import OPTIONS
from googlenet.inference.graphs import explained, graph_path, outputs_of, read_graph
from googlenet.inference.runtime import runtime

Array = NDArray[Any]
Constants = Mapping[tuple[str, str], Array]  # (module, branch) → the value of each channel of it, (C,)


class Switches:
    """The graph of a network with a switch for every channel after each of its ``modules``.

    It is compiled once: which channels are held constant, and at which values, are inputs of it. Raises
    :class:`BundleError` if the graph does not name its modules, as in bundles of earlier versions.
    """

    def __init__(self, bundle: Bundle, modules: Mapping[str, LastModule]) -> None:
        import openvino

        self.modules = dict(modules)
        model = read_graph(bundle, MODEL)
        with explained(bundle, MODEL, "cannot be given switches"):
            nodes = {node.get_friendly_name(): node for node in model.get_ops()}
            if missing := [name for name in modules if name not in nodes]:
                raise BundleError(
                    f"{graph_path(bundle, MODEL)} has no node {missing[0]!r}: an earlier version wrote it"
                )
            parameters, means = [], []
            for name, module in self.modules.items():
                inputs, mean = _insert(nodes[name].output(0), sum(module.channels))
                parameters += inputs
                means.append(mean)
            probabilities = outputs_of(model)["probabilities"].get_node().input_value(0)
            switched = openvino.Model([probabilities, *means], [*model.get_parameters(), *parameters])
            self._run = runtime().compile_model(switched, "CPU", OPTIONS)

    def probabilities(self, batch: Pixels, constants: Constants | None = None) -> NDArray[np.float64]:
        """(N, size, size, C) uint8 → (N, K), with the branches named in ``constants`` held at their values."""
        found, _ = self._results(batch, constants or {})
        return found

    def means(self, batch: Pixels) -> dict[str, NDArray[np.float64]]:
        """(N, size, size, C) uint8 → for each module the mean of each channel over images and places, (C,)."""
        _, means = self._results(batch, {})
        return {name: each.mean(axis=0) for name, each in zip(self.modules, means, strict=True)}

    def _results(self, batch: Pixels, constants: Constants) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
        inputs: list[Array] = [np.ascontiguousarray(batch)]
        for name, module in self.modules.items():
            kept, constant = np.ones(sum(module.channels), np.float32), np.zeros(sum(module.channels), np.float32)
            for branch, channels in branch_slices(module).items():
                if (name, branch) in constants:
                    kept[channels], constant[channels] = 0, constants[name, branch]
            inputs += [each.reshape(1, -1, 1, 1) for each in (kept, constant)]
        found, *means = self._run(inputs).values()
        return np.array(found, np.float64), [np.array(each, np.float64) for each in means]


def branch_slices(module: LastModule) -> dict[str, slice]:
    """Return which channels of a module's output are those of each branch.

    >>> branch_slices(LastModule("inception_3a", ("1x1", "3x3"), (64, 128)))["3x3"]
    slice(64, 192, None)
    """
    ends = np.cumsum(module.channels).tolist()
    return {name: slice(end - count, end) for name, count, end in zip(module.names, module.channels, ends, strict=True)}


def _insert(joined: Any, channels: int) -> tuple[list[Any], Any]:
    """Let what reads an output read output · kept + constant; return both inputs, and the mean of each channel."""
    from openvino import Type, opset8

    readers = joined.get_target_inputs()
    inputs = [opset8.parameter([1, channels, 1, 1], Type.f32) for _ in range(2)]
    switched = opset8.add(opset8.multiply(joined, inputs[0]), inputs[1])
    for reader in readers:
        reader.replace_source_output(switched.output(0))
    return inputs, opset8.reduce_mean(joined, opset8.constant([2, 3]), keep_dims=False).output(0)
