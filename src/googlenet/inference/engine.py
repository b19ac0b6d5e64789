"""Runs a bundle's graphs: through OpenVINO, or on some devices through ONNX Runtime. No torch."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from googlenet.bundle import INT8, MODEL, Bundle
from googlenet.card import TOLERANCE, ModelCard
from googlenet.errors import BundleError, DeviceError
from googlenet.images.decode import Pixels
from googlenet.inference.compiled import CompiledGraphs
from googlenet.inference.devices import (
    DEVICES,
    ONNXRUNTIME,
    Request,
    compile_onnxruntime,
    find_device,
)
from googlenet.inference.devices import Floats as Floats
from googlenet.inference.golden import golden
from googlenet.inference.graphs import Graph, explained, graph_files, graph_path
from googlenet.inference.runtime import compiled_cache, runtime
from googlenet.text import printable

# Precision → the capability that the processor must have, and the number format of all that the graph does not set by
# itself: an int8 graph keeps a few layers in floating point.
_PRECISIONS = {"fp32": ("FP32", "f32"), "bf16": ("BF16", "bf16"), "int8": ("INT8", "f32"), "fp16": ("FP16", "f16")}
_MEASURED = {"score", "latency_ms", "images_per_second"}  # needed of a precision that may be chosen
compile_alone = threading.RLock()  # held while a graph is read or compiled, and for the first answer of this process
_answered = threading.Event()


class Engine:
    """A compiled graph. It can be shared between threads: each thread has its own inference request.

    Args:
        bundle: the bundle.
        precision: ``"fp32"``, which answers alike on every processor; another of :func:`precisions`, faster and less
            exact; or ``"int8"`` where the bundle was quantised.
        cached: keep the compiled graph in the user's cache directory, for the next process.
        threads: the number of threads it computes with, by default one per core. Set it where several processes share
            the machine.
        device: ``"cpu"``, or another of ``DEVICES``, which is tried on the bundle's golden images at once.

    ``streams`` in its methods is the number of threads that ask at the same time: with one, all cores work on each
    request; with more, each has its share of the cores.

    Raises :class:`DeviceError` if the device or the precision is not available, or the device answers otherwise than
    the bundle did where it was made.
    """

    def __init__(
        self,
        bundle: Bundle,
        precision: str | None = None,
        cached: bool = False,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.device, self._device = device, find_device(device)
        self.precision = _checked(precision or self._device.precision, bundle, device)
        self._bundle, self._cached, self._threads = bundle, cached, threads
        self._graphs: dict[str, Graph] = {}
        self._compiled: dict[tuple[tuple[str, ...], int], Callable[[], Request]] = {}
        self._requests = threading.local()
        size, channels = bundle.card.preprocessing.size, bundle.card.preprocessing.channels
        self.image = (size, size, channels)
        self._graph(self._graph_of("probabilities"))  # raises now if it is damaged
        if not self._device.is_cpu:
            self._replay()

    def __reduce__(self) -> tuple[Any, ...]:
        return Engine, (self._bundle, self.precision, self._cached, self._threads, self.device)

    def _replay(self) -> None:
        """Raise :class:`DeviceError` where the device's answers to the golden images are too far from the stored."""
        images, expected = golden(self._bundle)
        difference, allowed = float(np.abs(self.probabilities(images) - expected).max()), self._device.tolerance
        if not difference <= allowed:
            raise DeviceError(
                f"{self.device} answers the bundle's golden images otherwise than where it was made: a probability "
                f"differs by {difference:.2g}, allowed is {allowed:g}; use --device cpu, or update the device's driver"
            )

    def probabilities(self, batch: Pixels, streams: int = 1) -> Floats:
        """(N, size, size, C) uint8 → (N, K). Rows sum to 1, but for multi-label classifiers."""
        return self._infer("probabilities", batch, streams)

    @property
    def has_maps(self) -> bool:
        """Whether the network ends in global pooling and one layer, so that class activation maps exist."""
        return self._has("maps")

    def maps(self, batch: Pixels) -> Floats:
        """(N, size, size, C) uint8 → class activation maps (N, K, h, w), in logits; never in int8."""
        return self._infer("maps", batch, 1)

    @property
    def maps_precision(self) -> str:
        """The precision in which maps are computed: that of the engine, but fp32 for int8, whose graph has none."""
        return "fp32" if self.precision == "int8" else self.precision

    def probabilities_and_maps(self, batch: Pixels) -> tuple[Floats, Floats]:
        """(N, size, size, C) uint8 → (N, K) and (N, K, h, w), computed together but in int8."""
        if self.precision == "int8":
            return self.probabilities(batch), self.maps(batch)
        probabilities, maps = self._infer_all(("probabilities", "maps"), batch, 1)
        return probabilities, maps

    def maps_and_embeddings(self, batch: Pixels) -> tuple[Floats, Floats]:
        """(N, size, size, C) uint8 → (N, K, h, w) and (N, D), computed together by the graph that has maps."""
        maps, embeddings = self._infer_all(("maps", "embeddings"), batch, 1)
        return maps, embeddings

    def release(self) -> None:
        """Free the memory that was needed to load what has answered by now."""
        with compile_alone:
            for graph in self._graphs.values():
                graph.release()

    @property
    def members(self) -> int:
        """The number of networks whose mean the answer is: 1, or more in the bundle of several folds."""
        return self._graph(MODEL).facts.members

    @property
    def has_embeddings(self) -> bool:
        """Whether the network ends in one linear layer, whose input the embeddings are."""
        return self._has("embeddings")

    def embeddings(self, batch: Pixels, streams: int = 1) -> Floats:
        """(N, size, size, C) uint8 → (N, D): the input of the last layer."""
        return self._infer("embeddings", batch, streams)

    def probabilities_and_embeddings(self, batch: Pixels, streams: int = 1) -> tuple[Floats, Floats]:
        """(N, size, size, C) uint8 → (N, K) and (N, D), computed together."""
        probabilities, embeddings = self._infer_all(("probabilities", "embeddings"), batch, streams)
        return probabilities, embeddings

    def _has(self, output: str) -> bool:
        return output in self._graph(self._graph_of(output)).facts.outputs

    def _infer(self, output: str, batch: Pixels, streams: int) -> Floats:
        return self._infer_all((output,), batch, streams)[0]

    def _infer_all(self, outputs: tuple[str, ...], batch: Pixels, streams: int) -> list[Floats]:
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != self.image:
            wanted = ", ".join(map(str, self.image))
            raise ValueError(f"a batch is uint8 (N, {wanted}), got {batch.dtype} {batch.shape}")
        graph = self._graph_of(outputs[0])
        with explained(self._bundle, graph, "cannot be computed here"):
            answers = self._answer(outputs, batch, streams)
        for output, answer in zip(outputs, answers, strict=True):
            if len(answer) != len(batch) or not np.isfinite(answer).all():
                where = graph_path(self._bundle, graph)
                raise BundleError(
                    f"{where} has no finite {output} for some images: train it again, or get another copy"
                )
        return answers

    def _answer(self, outputs: tuple[str, ...], batch: Pixels, streams: int) -> list[Floats]:
        request = self._request(outputs, streams)
        return answer_first_alone(lambda: request(batch))

    def _request(self, outputs: tuple[str, ...], streams: int) -> Request:
        key = f"{' '.join(outputs)} {streams}"
        request: Request | None = getattr(self._requests, key, None)
        if request is None:
            request = self._compile(outputs, streams)()
            setattr(self._requests, key, request)
        return request

    def _compile(self, outputs: tuple[str, ...], streams: int) -> Callable[[], Request]:
        if self._device.library == ONNXRUNTIME:
            streams = 1  # a session has any number of requests at a time
        with compile_alone:
            if (outputs, streams) not in self._compiled:
                graph = self._graph_of(outputs[0])
                if self._device.library == ONNXRUNTIME:
                    made = compile_onnxruntime(self._bundle.read(graph), self._device, outputs)
                else:
                    made = self._graph(graph).compile(self._device, outputs, self.config(graph, streams))
                self._compiled[outputs, streams] = made
            return self._compiled[outputs, streams]

    def config(self, graph: str, streams: int) -> dict[str, Any]:
        """Return what OpenVINO is told when it compiles a graph of the bundle."""
        precision = "fp32" if graph == MODEL and self.precision == "int8" else self.precision
        config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _PRECISIONS[precision][1]}
        if streams == 1:
            config["PERFORMANCE_HINT"] = "LATENCY"
        elif not self._device.is_cpu:
            config["PERFORMANCE_HINT"] = "THROUGHPUT"
        else:  # one stream per thread; not pinned, as these threads decode images too
            config |= {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams, "ENABLE_CPU_PINNING": False}
        if self._threads and self._device.is_cpu:  # not pinned: every process would pin to the first core
            config |= {"INFERENCE_NUM_THREADS": self._threads, "ENABLE_CPU_PINNING": False}
        if not self._device.is_cpu and self._cached and (folder := compiled_cache()):
            config["CACHE_DIR"] = str(folder / self._sha256_of(graph))
        return config

    def _sha256_of(self, graph: str) -> str:
        """Return the name of the folder in which OpenVINO keeps what it compiled of a graph.

        OpenVINO identifies graphs by 64 bits, for which collisions are easily made: in a shared folder one bundle could
        plant a compiled graph that is later loaded for another.
        """
        return hashlib.sha256(
            "".join(self._bundle.card.files[name] for name in graph_files(graph)).encode()
        ).hexdigest()

    def _graph_of(self, output: str) -> str:
        """Return the file of the bundle that has an output: maps are not computed in int8."""
        return INT8 if self.precision == "int8" and output != "maps" else MODEL

    def _graph(self, name: str) -> Graph:
        with compile_alone:
            if name not in self._graphs:
                cache = compiled_cache() if self._cached and self._device.is_cpu else None
                kept = CompiledGraphs(cache, self._bundle, graph_files(name)) if cache else None
                self._graphs[name] = Graph(self._bundle, name, kept)
            return self._graphs[name]


def answer_first_alone(answer: Callable[[], list[Floats]]) -> list[Floats]:
    """Return what a request answers; the first of this process is alone.

    On its first array OpenVINO waits for Python's lock while holding one of its own: two threads that both come first
    deadlock (seen with OpenVINO 2026.4).
    """
    if _answered.is_set():
        return answer()
    with compile_alone:
        found = answer()
        _answered.set()
        return found


def precisions() -> tuple[str, ...]:
    """Return the precisions of this processor: ``"fp32"``, and ``"bf16"`` if it has instructions for it."""
    has = _capabilities()
    return tuple(name for name in ("fp32", "bf16") if _PRECISIONS[name][0] in has)


def precisions_for(bundle: Bundle) -> tuple[str, ...]:
    """Return the precisions of a bundle on this processor: with ``"int8"`` if it was quantised."""
    quantised = INT8 in bundle.card.files and _PRECISIONS["int8"][0] in _capabilities()
    return (*precisions(), "int8") if quantised else precisions()


def best_precision(bundle: Bundle) -> str:
    """Return the fastest precision this CPU supports whose measured accuracy is within 0.5 percentage points of fp32.

    Only precisions that were measured are considered (see :func:`googlenet.quantize`), and only those faster than fp32
    both for one image and for many. Among several, the one with the most images per second is returned.
    """
    better = _better(bundle.card)
    if not better:
        return "fp32"
    here = precisions_for(bundle)
    return max((name for name in better if name in here), key=better.__getitem__, default="fp32")


def _better(card: ModelCard) -> dict[str, float]:
    """Return the images per second of precisions that are as accurate as fp32, and faster."""
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
    """Return the name of this processor."""
    return str(runtime().get_property("CPU", "FULL_DEVICE_NAME"))


def _capabilities() -> set[str]:
    return set(runtime().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _checked(precision: str, bundle: Bundle, device: str) -> str:
    if not DEVICES[device].is_cpu:
        if precision != DEVICES[device].precision:
            own = DEVICES[device].precision
            raise DeviceError(f"{device} computes in {own} here, not in {precision}: leave --precision out")
        return precision
    if precision == "fp32":  # every processor has it
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
