"""A bundle's graphs, read and checked against its card before they see an image. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from googlenet.bundle import INT8, INT8_WEIGHTS, Bundle
from googlenet.errors import BundleError
from googlenet.inference.compiled import CompiledGraphs, Facts
from googlenet.inference.devices import Device, Request, compile_openvino, requests_of
from googlenet.inference.runtime import runtime
from googlenet.text import printable

_FREE = ("Constant", "Result", "ShapeOf")  # layers without a buffer
MEMBERS = "probabilities.members"  # the constant that an ensemble divides by
SHARED_BUFFERS = 8  # at least so many layers share the memory of one result


class Graph:
    """One of a bundle's graphs, checked: what it has, and what compiles it.

    It is read at once, or, where ``compiled`` has what an earlier process found in it, when it is needed.
    """

    def __init__(self, bundle: Bundle, name: str, compiled: CompiledGraphs | None = None) -> None:
        self._bundle, self._name, self._compiled = bundle, name, compiled
        self.facts = (compiled and compiled.facts()) or self._read_facts()

    @cached_property
    def _model(self) -> Any:
        return read_graph(self._bundle, self._name)

    def _read_facts(self) -> Facts:
        facts = Facts(tuple(outputs_of(self._model)), members_of(self._model))
        if self._compiled:
            self._compiled.keep_facts(facts)
        return facts

    def compile(self, device: Device, outputs: tuple[str, ...], config: dict[str, Any]) -> Callable[[], Request]:
        """Compile some of its outputs. Returns what makes a request."""
        found = self._compiled and self._compiled.load(outputs, device.target, config)
        if not found:
            found = compile_openvino(self._model, device, outputs, config)
            if self._compiled:
                self._compiled.keep(found, outputs, config)
        return requests_of(found, device, outputs)

    def release(self) -> None:
        """Free memory, as :meth:`CompiledGraphs.release` does."""
        if self._compiled:
            self._compiled.release()


def graph_files(graph: str) -> tuple[str, ...]:
    """Return the files of a bundle that make up a graph."""
    return (INT8, INT8_WEIGHTS) if graph == INT8 else (graph,)


def read_graph(bundle: Bundle, graph: str) -> Any:
    """Read one of a bundle's graphs as an ``openvino.Model``, and check it against the card.

    OpenVINO gets the very bytes that were checked, and no path. Raises :class:`BundleError`.
    """
    content = bundle.read(graph)
    weights = bundle.read(INT8_WEIGHTS) if graph == INT8 else b""
    with explained(bundle, graph, "is not a graph OpenVINO can read"):
        if graph == INT8:
            _check_int8(bundle, content, weights)
        model = runtime().read_model(content, weights)
        _check_signature(model, bundle, graph)
        if graph == INT8:
            _check_cost(model, bundle)
    return model


@contextmanager
def explained(bundle: Bundle, graph: str, what: str) -> Iterator[None]:
    """Turn what OpenVINO raises into a :class:`BundleError` of one line about a graph."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        reason = (str(error).strip().splitlines() or ["not enough memory"])[-1]
        raise BundleError(f"{graph_path(bundle, graph)} {what}: {printable(reason)[:200]}") from error


def graph_path(bundle: Bundle, graph: str) -> str:
    """Return the path of a graph, for messages."""
    return printable(str(bundle.path / graph))


def _check_int8(bundle: Bundle, content: bytes, weights: bytes) -> None:
    from googlenet.checks.openvino_ir import check_ir

    try:
        check_ir(content, weights)
    except ValueError as error:
        raise BundleError(f"{graph_path(bundle, INT8)} {error}") from error


def _check_cost(model: Any, bundle: Bundle) -> None:
    """Check the cost of one image against the budget: OpenVINO alone knows the shapes in its graph."""
    from googlenet.checks.cost import Budget

    preprocessing = bundle.card.preprocessing
    one = model.clone()
    one.reshape([1, preprocessing.size, preprocessing.size, preprocessing.channels])
    held = macs = 0
    for operation in one.get_ops():
        kind = operation.get_type_name()
        if kind not in _FREE:
            values = math.prod(operation.get_output_shape(0))
            held, macs = held + values, macs + values * _work_of(operation, kind)
    try:
        Budget(preprocessing.size).check(held // SHARED_BUFFERS, macs)
    except ValueError as error:
        raise BundleError(f"{graph_path(bundle, INT8)} {error}") from error


def _work_of(operation: Any, kind: str) -> int:
    """Return the multiply-accumulates, or comparisons, per output value."""
    if kind in ("Convolution", "GroupConvolution"):
        weights = operation.input(1).get_shape()
        return int(math.prod(weights[2:] if kind == "GroupConvolution" else weights[1:]))
    if kind == "MatMul":
        return int(max(operation.input(0).get_shape()[-2:]))
    return int(math.prod(operation.get_attributes().get("kernel", (1,)))) if "Pool" in kind else 1


def outputs_of(model: Any) -> dict[str, Any]:
    """Return the outputs of a graph by name."""
    return {output.get_any_name(): output for output in model.outputs}


def members_of(model: Any) -> int:
    """Return how many networks a graph averages (``exporting.ensemble``)."""
    for operation in model.get_ops():
        if operation.get_friendly_name() == MEMBERS:
            return int(operation.get_data())
    return 1


def _check_signature(model: Any, bundle: Bundle, graph: str) -> None:
    """A graph from elsewhere could declare anything: check its inputs and outputs against the card."""
    preprocessing, classes = bundle.card.preprocessing, len(bundle.card.class_names)
    shape = f"(N, {preprocessing.size}, {preprocessing.size}, {preprocessing.channels})"
    wanted = f"uint8 {shape} in, probabilities (N, {classes}) out"
    outputs = outputs_of(model)
    ok = (
        len(model.inputs) == 1
        and model.input().get_element_type().get_type_name() == "u8"
        and _matches(
            model.input().get_partial_shape(), (None, preprocessing.size, preprocessing.size, preprocessing.channels)
        )
        and "probabilities" in outputs
        and _matches(outputs["probabilities"].get_partial_shape(), (None, classes))
        and ("maps" not in outputs or _matches(outputs["maps"].get_partial_shape(), (None, classes, None, None)))
        and ("embeddings" not in outputs or _matches(outputs["embeddings"].get_partial_shape(), (None, None)))
    )
    if not ok:
        raise BundleError(f"{graph_path(bundle, graph)} does not fit its card, which says {wanted}")


def _matches(shape: Any, wanted: tuple[int | None, ...]) -> bool:
    if shape.rank.is_dynamic or len(shape) != len(wanted):
        return False
    return all(
        want is None or have.is_dynamic or have.get_length() == want for have, want in zip(shape, wanted, strict=True)
    )
