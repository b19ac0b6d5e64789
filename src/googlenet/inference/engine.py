"""Runs a bundle's graph through OpenVINO. No torch."""

from __future__ import annotations

import sys
import threading
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.bundle import MODEL, Bundle
from googlenet.errors import BundleError, DeviceError
from googlenet.images.decode import Pixels

Floats = NDArray[np.float32]

# Precision → what OpenVINO calls it, and the capability a processor must name to be offered it.
_PRECISIONS = {"fp32": ("f32", "FP32"), "bf16": ("bf16", "BF16")}


class Engine:
    """A compiled graph. Safe to share between threads: each thread has an inference request of its own.

    ``precision`` is what it computes in: ``"fp32"``, so that one bundle gives one answer on every processor, or
    another of :func:`precisions`, faster and less exact. Raises :class:`DeviceError` where there is no such.
    """

    def __init__(self, bundle: Bundle, precision: str = "fp32") -> None:
        self._config = {"INFERENCE_PRECISION_HINT": _hint(precision), "PERFORMANCE_HINT": "LATENCY"}
        self._model = _read_model(bundle)
        self._outputs = {output.get_any_name() for output in self._model.outputs}
        self._compiled: dict[str, Any] = {}
        self._compiling = threading.Lock()
        self._requests = threading.local()
        size, channels = bundle.card.preprocessing.size, bundle.card.preprocessing.channels
        self._picture = (size, size, channels)
        _check_signature(self._model, bundle)

    def probabilities(self, batch: Pixels) -> Floats:
        """(N, size, size, C) uint8 → (N, K): each row sums to 1, or, with several labels, is each class's own."""
        return self._infer("probabilities", batch)

    @property
    def has_maps(self) -> bool:
        """Whether the network ends in global pooling and one layer, so that class activation maps exist."""
        return "maps" in self._outputs

    def maps(self, batch: Pixels) -> Floats:
        """(N, size, size, C) uint8 → class activation maps (N, K, h, w), in logits."""
        return self._infer("maps", batch)

    def _infer(self, output: str, batch: Pixels) -> Floats:
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != self._picture:
            wanted = ", ".join(map(str, self._picture))
            raise ValueError(f"a batch is uint8 (N, {wanted}), got {batch.dtype} {batch.shape}")
        result = self._request(output).infer([np.ascontiguousarray(batch)], share_inputs=True)
        return np.array(next(iter(result.values())), dtype=np.float32)

    def _request(self, output: str) -> Any:
        request = getattr(self._requests, output, None)
        if request is None:
            request = self._compile(output).create_infer_request()
            setattr(self._requests, output, request)
        return request

    def _compile(self, output: str) -> Any:
        with self._compiling:
            if output not in self._compiled:
                # Only what is asked for is computed: plain prediction does not pay for the maps.
                part = self._model.clone()
                for result in part.get_results():
                    if output not in result.get_output_tensor(0).get_names():
                        part.remove_result(result)
                self._compiled[output] = _core().compile_model(part, "CPU", self._config)
            return self._compiled[output]


def precisions() -> tuple[str, ...]:
    """Name what this processor computes in: ``"fp32"``, and ``"bf16"`` where it has instructions for it."""
    has = set(_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return tuple(name for name, (_, capability) in _PRECISIONS.items() if capability in has)


def processor() -> str:
    """Name the processor that an engine runs on."""
    return str(_core().get_property("CPU", "FULL_DEVICE_NAME"))


def _hint(precision: str) -> str:
    """Translate a precision for OpenVINO."""
    if precision == "fp32":  # every processor has it: nothing need be asked
        return _PRECISIONS[precision][0]
    if precision not in precisions():
        known = f"this processor has {', '.join(precisions())}"
        if precision in _PRECISIONS:
            raise DeviceError(f"{precision} cannot be computed here: {known}")
        raise DeviceError(f"no precision is called {precision!r}: {known}")
    return _PRECISIONS[precision][0]


def _read_model(bundle: Bundle) -> Any:
    content = bundle.read(MODEL)
    try:
        return _core().read_model(content, b"")
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise BundleError(f"{bundle.path / MODEL} is not a graph OpenVINO can read: {reason}") from error


def _check_signature(model: Any, bundle: Bundle) -> None:
    """A graph from elsewhere could declare anything: hold it against its card before it sees a picture."""
    rule, classes = bundle.card.preprocessing, len(bundle.card.class_names)
    wanted = f"uint8 (N, {rule.size}, {rule.size}, {rule.channels}) in, probabilities (N, {classes}) out"
    outputs = {output.get_any_name(): output for output in model.outputs}
    ok = (
        len(model.inputs) == 1
        and model.input().get_element_type().get_type_name() == "u8"
        and _matches(model.input().get_partial_shape(), (None, rule.size, rule.size, rule.channels))
        and "probabilities" in outputs
        and _matches(outputs["probabilities"].get_partial_shape(), (None, classes))
    )
    if not ok:
        raise BundleError(f"{bundle.path / MODEL} does not fit its card, which says {wanted}")


def _matches(shape: Any, wanted: tuple[int | None, ...]) -> bool:
    if shape.rank.is_dynamic or len(shape) != len(wanted):
        return False
    return all(
        want is None or have.is_dynamic or have.get_length() == want for have, want in zip(shape, wanted, strict=True)
    )


@cache
def _core() -> Any:
    """Give the one OpenVINO runtime of this process, which is never torn down.

    Without it the last engine to go would unload OpenVINO's plug-in, and the next signal that Python handles, a
    Ctrl-C or the end of a child process, would crash the interpreter (seen with OpenVINO 2026.4).
    """
    # Importing openvino reports the import to its makers, unless its telemetry package is not there.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino.Core()
