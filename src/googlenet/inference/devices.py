"""The devices that answers are computed on: how each is reached, and what to install where it is missing. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.errors import DeviceError
from googlenet.inference.runtime import runtime
from googlenet.text import nearest, printable

Floats = NDArray[np.float32]
Request = Callable[[NDArray[np.uint8]], list[Floats]]  # of one thread: images (N, S, S, C) → its outputs

OPENVINO, ONNXRUNTIME = "OpenVINO", "ONNX Runtime"


@dataclass(frozen=True)
class Device:
    """How a device is reached.

    Attributes:
        library: what computes: OpenVINO, or ONNX Runtime.
        target: what that calls the device: OpenVINO's device, or the provider.
        precision: the number format it computes in, where there is no choice.
        tolerance: how far a golden probability may be from the stored one.
        needs: what to install, for messages.
        one_image: it takes one image at a time, of a shape known beforehand.
    """

    library: str
    target: str
    precision: str
    tolerance: float
    needs: str
    one_image: bool = False

    @property
    def is_cpu(self) -> bool:
        """Whether it is the processor as OpenVINO reaches it."""
        return self == DEVICES["cpu"]


# fp32 differs in the order of sums alone; 16 bits differ in the third digit.
DEVICES = {
    "cpu": Device(OPENVINO, "CPU", "fp32", 1e-4, "OpenVINO"),
    "gpu": Device(
        OPENVINO, "GPU", "fp32", 1e-3,
        "an Intel GPU and its driver (Linux: intel-opencl-icd, and your user in the group render)",
    ),
    "npu": Device(
        OPENVINO, "NPU", "fp16", 0.02,
        "an Intel Core Ultra and its NPU driver (Linux: linux-npu-driver)", one_image=True,
    ),
    "cuda": Device(
        ONNXRUNTIME, "CUDAExecutionProvider", "fp32", 1e-3,
        "an NVIDIA GPU with its driver, CUDA 12 and cuDNN 9, and pip install 'googlenet[gpu]'",
    ),
    "coreml": Device(
        ONNXRUNTIME, "CoreMLExecutionProvider", "fp16", 0.02, "macOS on Apple silicon, and pip install 'googlenet[gpu]'"
    ),
}  # fmt: skip


def find_device(name: str) -> Device:
    """Return a device by its name. Raises :class:`DeviceError` in one line where it is unknown, or not there."""
    if name not in DEVICES:
        raise DeviceError(f"no device to predict on is called {name!r}: {nearest(name, DEVICES)}")
    device = DEVICES[name]
    if not _is_there(device):
        there = [each for each in DEVICES if _is_there(DEVICES[each])]
        raise DeviceError(
            f"this machine has no {name} to predict on, it has {', '.join(there)}: {name} needs {device.needs}"
        )
    return device


def _is_there(device: Device) -> bool:
    if device.is_cpu:  # to ask for all devices loads the drivers of others
        return True
    if device.library == OPENVINO:
        wanted = device.target.rpartition(":")[2]
        return any(name.split(".")[0] == wanted for name in runtime().available_devices)
    if find_spec("onnxruntime") is None:
        return False
    import onnxruntime

    return device.target in onnxruntime.get_available_providers()


# Compiling, and what makes a request of what was compiled; a thread makes its own.


def compile_openvino(model: Any, device: Device, outputs: tuple[str, ...], config: dict[str, Any]) -> Any:
    """Compile some of the outputs of an ``openvino.Model``."""
    part = model.clone()
    for result in part.get_results():  # plain prediction does not pay for the maps
        if not result.get_output_tensor(0).get_names() & set(outputs):
            part.remove_result(result)
    if device.one_image:
        part.reshape([1, *(side.get_length() for side in list(part.input().get_partial_shape())[1:])])
    return runtime().compile_model(part, device.target, config)


def requests_of(compiled: Any, device: Device, outputs: tuple[str, ...]) -> Callable[[], Request]:
    """Return what makes the requests of an ``openvino.CompiledModel``."""

    def request() -> Request:
        own = compiled.create_infer_request()

        def answer(batch: NDArray[np.uint8]) -> list[Floats]:
            result = own.infer([np.ascontiguousarray(batch)], share_inputs=True)
            return [np.array(result[output], dtype=np.float32) for output in outputs]

        def one_by_one(batch: NDArray[np.uint8]) -> list[Floats]:
            answers = [answer(image[None]) for image in batch]
            return [np.concatenate(each) for each in zip(*answers, strict=True)]

        return one_by_one if device.one_image else answer

    return request


def compile_onnxruntime(graph: bytes, device: Device, outputs: tuple[str, ...]) -> Callable[[], Request]:
    """Make a session of an ONNX graph. Raises :class:`DeviceError` where the device is listed, but does not work."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # TF32 would keep ten bits of each number
    settings = {"use_tf32": "0"} if device.target.startswith("CUDA") else {}
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=[(device.target, settings)])
    except (RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [""])[-1]
        raise DeviceError(
            f"{device.target} does not work here ({printable(reason)[:200]}): it needs {device.needs}"
        ) from error
    if session.get_providers()[0] != device.target:  # it falls back to the processor without an error
        raise DeviceError(f"{device.target} does not work here: it needs {device.needs}")
    (name,) = (each.name for each in session.get_inputs())

    def answer(batch: NDArray[np.uint8]) -> list[Floats]:
        found = session.run(list(outputs), {name: np.ascontiguousarray(batch)})
        return [np.asarray(each, dtype=np.float32) for each in found]

    return lambda: answer
