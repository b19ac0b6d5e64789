"""Runs a bundle's graphs through OpenVINO. No torch."""

from __future__ import annotations

import hashlib
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.bundle import INT8, INT8_WEIGHTS, MODEL, Bundle
from googlenet.card import TOLERANCE, ModelCard
from googlenet.checks.cost import Budget
from googlenet.checks.openvino_ir import check_ir
from googlenet.errors import BundleError, DeviceError
from googlenet.files import user_cache
from googlenet.images.decode import Pixels
from googlenet.text import printable

Floats = NDArray[np.float32]

# Precision → the capability that a processor must name to be offered it, and what OpenVINO calls the numbers that are
# not of the graph's own making: an int8 graph keeps a few layers in floating point.
_PRECISIONS = {"fp32": ("FP32", "f32"), "bf16": ("BF16", "bf16"), "int8": ("INT8", "f32")}
_MEASURED = {"score", "latency_ms", "images_per_second"}  # of a precision that may be chosen
_alone = threading.RLock()  # held by the thread of this process that reads or compiles a graph, or answers first
_answered = threading.Event()
_FREE = ("Constant", "Result", "ShapeOf")  # layers that hold nothing of their own
IN_TURNS = 8  # layers, of whose results but one is held at a time, or more
_CONVERTER = "openvino.tools.ovc"  # of models of others: a third of what importing openvino takes
CACHE = 2**30  # bytes of compiled graphs that are kept


class Engine:
    """A compiled graph. Safe to share between threads: each thread has an inference request of its own.

    ``precision`` is what it computes in: ``"fp32"``, so that one bundle gives one answer on every processor; another
    of :func:`precisions`, faster and less exact; or, where the bundle has been quantised, ``"int8"``. ``streams`` in
    its methods says how many threads ask at a time: all cores work for one alone, each has its own share otherwise.
    ``cached`` keeps what was compiled in the user's cache directory, for the next process. ``threads`` is how many
    it may compute with in all where it shares the machine with other processes; one for each core unless told.

    Raises :class:`DeviceError` where there is no such precision.
    """

    def __init__(
        self, bundle: Bundle, precision: str = "fp32", cached: bool = False, threads: int | None = None
    ) -> None:
        self.precision = _checked(precision, bundle)
        self._bundle, self._cached, self._threads = bundle, cached, threads
        self._models: dict[str, Any] = {}
        self._compiled: dict[tuple[str, int], Any] = {}
        self._requests = threading.local()
        size, channels = bundle.card.preprocessing.size, bundle.card.preprocessing.channels
        self.image = (size, size, channels)
        self._model(self._graph_of("probabilities"))  # what is wrong with it is found out now

    def __reduce__(self) -> tuple[Any, ...]:
        return Engine, (self._bundle, self.precision, self._cached, self._threads)

    def probabilities(self, batch: Pixels, streams: int = 1) -> Floats:
        """(N, size, size, C) uint8 → (N, K): each row sums to 1, or, with several labels, is each class's own."""
        return self._infer("probabilities", batch, streams)

    @property
    def has_maps(self) -> bool:
        """Whether the network ends in global pooling and one layer, so that class activation maps exist."""
        return self._has("maps")

    def maps(self, batch: Pixels) -> Floats:
        """(N, size, size, C) uint8 → class activation maps (N, K, h, w), in logits; never in int8."""
        return self._infer("maps", batch, 1)

    @property
    def has_embeddings(self) -> bool:
        """Whether the network ends in one linear layer, so that there is something before it."""
        return self._has("embeddings")

    def embeddings(self, batch: Pixels, streams: int = 1) -> Floats:
        """(N, size, size, C) uint8 → (N, D): the pooled features that the last layer decides by."""
        return self._infer("embeddings", batch, streams)

    def _has(self, output: str) -> bool:
        return output in _outputs(self._model(self._graph_of(output)))

    def _infer(self, output: str, batch: Pixels, streams: int) -> Floats:
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != self.image:
            wanted = ", ".join(map(str, self.image))
            raise ValueError(f"a batch is uint8 (N, {wanted}), got {batch.dtype} {batch.shape}")
        with _said_of(self._bundle, self._graph_of(output), "cannot be computed here"):
            answer = self._answer(output, batch, streams)
        if len(answer) != len(batch) or not np.isfinite(answer).all():
            where = _shown(self._bundle, self._graph_of(output))
            raise BundleError(f"{where} gives no finite {output} for each image: train it again, or get another copy")
        return answer

    def _answer(self, output: str, batch: Pixels, streams: int) -> Floats:
        request = self._request(output, streams)
        if not _answered.is_set():
            # What OpenVINO sets up when it first meets an array waits for Python's lock while it holds one of its own:
            # two threads that both come first wait for each other for ever (seen with OpenVINO 2026.4).
            with _alone:
                answer = _answer(request, batch)
                _answered.set()
                return answer
        return _answer(request, batch)

    def _request(self, output: str, streams: int) -> Any:
        key = f"{output} {streams}"
        request = getattr(self._requests, key, None)
        if request is None:
            request = self._compile(output, streams).create_infer_request()
            setattr(self._requests, key, request)
        return request

    def _compile(self, output: str, streams: int) -> Any:
        with _alone:
            if (output, streams) not in self._compiled:
                graph = self._graph_of(output)
                # Only what is asked for is computed: plain prediction does not pay for the maps.
                part = self._model(graph).clone()
                for result in part.get_results():
                    if output not in result.get_output_tensor(0).get_names():
                        part.remove_result(result)
                self._compiled[output, streams] = runtime().compile_model(part, "CPU", self._config(graph, streams))
            return self._compiled[output, streams]

    def _config(self, graph: str, streams: int) -> dict[str, Any]:
        precision = "fp32" if graph == MODEL and self.precision == "int8" else self.precision
        config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _PRECISIONS[precision][1]}
        if streams == 1:
            config["PERFORMANCE_HINT"] = "LATENCY"
        else:  # a stream for each thread; which core it runs on is the system's to say, for the threads also decode
            config |= {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams, "ENABLE_CPU_PINNING": False}
        if self._threads:  # not pinned: every process would take the first core
            config |= {"INFERENCE_NUM_THREADS": self._threads, "ENABLE_CPU_PINNING": False}
        if self._cached and (folder := _cache()):
            config["CACHE_DIR"] = str(folder / self._sha256_of(graph))
        return config

    def _sha256_of(self, graph: str) -> str:
        """Name the folder of what is compiled of a graph.

        OpenVINO tells graphs apart by 64 bits that are easily made alike: in one folder, one bundle could leave there
        what is later taken for another.
        """
        files = (INT8, INT8_WEIGHTS) if graph == INT8 else (graph,)
        return hashlib.sha256("".join(self._bundle.card.files[name] for name in files).encode()).hexdigest()

    def _graph_of(self, output: str) -> str:
        """Say in which file of the bundle the graph for an output is: maps are not computed in int8."""
        return INT8 if self.precision == "int8" and output != "maps" else MODEL

    def _model(self, graph: str) -> Any:
        with _alone:
            if graph not in self._models:
                self._models[graph] = read_graph(self._bundle, graph)
            return self._models[graph]


def _answer(request: Any, batch: Pixels) -> Floats:
    result = request.infer([np.ascontiguousarray(batch)], share_inputs=True)
    return np.array(next(iter(result.values())), dtype=np.float32)


def precisions() -> tuple[str, ...]:
    """Name what this processor computes any graph in: ``"fp32"``, and ``"bf16"`` where it has instructions for it."""
    has = _capabilities()
    return tuple(name for name in ("fp32", "bf16") if _PRECISIONS[name][0] in has)


def precisions_for(bundle: Bundle) -> tuple[str, ...]:
    """Name what this processor computes a bundle in; ``"int8"`` too where it has a quantised graph."""
    quantised = INT8 in bundle.card.files and _PRECISIONS["int8"][0] in _capabilities()
    return (*precisions(), "int8") if quantised else precisions()


def best_precision(bundle: Bundle) -> str:
    """Choose the fastest precision of this processor that was measured to be as right as ``"fp32"``, within 0.5 points.

    What was not measured (see :func:`googlenet.quantize`) is not chosen, nor what was slower than ``"fp32"``, with one
    image or with many; of several, the one that answered most images a second.
    """
    better = _better(bundle.card)
    if not better:
        return "fp32"
    here = precisions_for(bundle)
    return max((name for name in better if name in here), key=better.__getitem__, default="fp32")


def _better(card: ModelCard) -> dict[str, float]:
    """Give the images a second of precisions that are as right as fp32 and faster."""
    exact = card.precisions.get("fp32", {})
    if not exact.keys() >= _MEASURED:
        return {}
    return {
        name: found["images_per_second"]
        for name, found in card.precisions.items()
        if found.keys() >= _MEASURED
        and found["score"] >= exact["score"] - TOLERANCE
        and found["latency_ms"] < exact["latency_ms"]
        and found["images_per_second"] > exact["images_per_second"]
    }


def processor() -> str:
    """Name the processor that an engine runs on."""
    return str(runtime().get_property("CPU", "FULL_DEVICE_NAME"))


def _capabilities() -> set[str]:
    return set(runtime().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _checked(precision: str, bundle: Bundle) -> str:
    if precision == "fp32":  # every processor has it: nothing need be asked
        return precision
    if precision == "int8" and INT8 not in bundle.card.files:
        path = printable(str(bundle.path))
        raise DeviceError(f"{path} has no int8 graph: make one with `googlenet quantize {path}`")
    here = precisions_for(bundle)
    if precision not in here:
        known = f"this processor has {', '.join(here)}"
        if precision in _PRECISIONS:
            raise DeviceError(f"{precision} cannot be computed here: {known}")
        raise DeviceError(f"no precision is called {precision!r}: {known}")
    return precision


def read_graph(bundle: Bundle, graph: str) -> Any:
    """Read one of a bundle's graphs, as an ``openvino.Model``, and hold it against the card.

    OpenVINO gets bytes that were checked, and no path: what it reads is what was looked at.
    """
    content = bundle.read(graph)
    weights = bundle.read(INT8_WEIGHTS) if graph == INT8 else b""
    with _said_of(bundle, graph, "is not a graph OpenVINO can read"):
        if graph == INT8:
            _check_int8(bundle, content, weights)
        model = runtime().read_model(content, weights)
        _check_signature(model, bundle, graph)
        if graph == INT8:
            _check_cost(model, bundle)
    return model


@contextmanager
def _said_of(bundle: Bundle, graph: str, what: str) -> Iterator[None]:
    """Turn what OpenVINO raises into one line about a graph."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        reason = (str(error).strip().splitlines() or ["not enough memory"])[-1]
        raise BundleError(f"{_shown(bundle, graph)} {what}: {printable(reason)[:200]}") from error


def _shown(bundle: Bundle, graph: str) -> str:
    return printable(str(bundle.path / graph))


def _check_int8(bundle: Bundle, content: bytes, weights: bytes) -> None:
    try:
        check_ir(content, weights)
    except ValueError as error:
        raise BundleError(f"{_shown(bundle, INT8)} {error}") from error


def _check_cost(model: Any, bundle: Bundle) -> None:
    """Hold against a budget what one image costs in a graph of OpenVINO, whose shapes only it knows."""
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
        Budget(preprocessing.size).check(held // IN_TURNS, macs)
    except ValueError as error:
        raise BundleError(f"{_shown(bundle, INT8)} {error}") from error


def _work_of(operation: Any, kind: str) -> int:
    """Multiply-accumulates, or comparisons, for each value that comes out."""
    if kind in ("Convolution", "GroupConvolution"):
        weights = operation.input(1).get_shape()
        return int(math.prod(weights[2:] if kind == "GroupConvolution" else weights[1:]))
    if kind == "MatMul":
        return int(max(operation.input(0).get_shape()[-2:]))
    return int(math.prod(operation.get_attributes().get("kernel", (1,)))) if "Pool" in kind else 1


def _outputs(model: Any) -> dict[str, Any]:
    return {output.get_any_name(): output for output in model.outputs}


def _check_signature(model: Any, bundle: Bundle, graph: str) -> None:
    """A graph from elsewhere could declare anything: hold it against its card before it sees an image."""
    preprocessing, classes = bundle.card.preprocessing, len(bundle.card.class_names)
    shape = f"(N, {preprocessing.size}, {preprocessing.size}, {preprocessing.channels})"
    wanted = f"uint8 {shape} in, probabilities (N, {classes}) out"
    outputs = _outputs(model)
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
        raise BundleError(f"{_shown(bundle, graph)} does not fit its card, which says {wanted}")


def _matches(shape: Any, wanted: tuple[int | None, ...]) -> bool:
    if shape.rank.is_dynamic or len(shape) != len(wanted):
        return False
    return all(
        want is None or have.is_dynamic or have.get_length() == want for have, want in zip(shape, wanted, strict=True)
    )


@cache
def _cache() -> Path | None:
    """Give the folder where compiled graphs are kept, or None where it cannot be written.

    Each graph has a folder in it. OpenVINO names what it keeps there by a hash of the graph, of its own version and
    of the processor.
    """
    cache = user_cache()
    if cache is None:
        return None
    folder = cache / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _tidy(folder: Path) -> None:
    """Delete what was compiled longest ago, where all of it is more than the cache may hold."""
    left = CACHE
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
        left -= path.stat().st_size
        if left < 0:
            path.unlink(missing_ok=True)
            if path.parent != folder:
                with suppress(OSError):  # others are in it
                    path.parent.rmdir()


@cache
def runtime() -> Any:
    """Give the one OpenVINO runtime of this process, which is never torn down.

    Without it the last engine to go would unload OpenVINO's plug-in, and the next signal that Python handles, a
    Ctrl-C or the end of a child process, would crash the interpreter (seen with OpenVINO 2026.4).
    """
    # Importing openvino reports the import to its makers, unless its telemetry package is not there.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    with _without(_CONVERTER):
        import openvino

    return openvino.Core()


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Let a module seem not to be there while others are imported, which do without; if it was not loaded before."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
