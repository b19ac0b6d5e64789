"""How many operations a second this processor can do at all, measured. No torch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from googlenet.inference.runtime import runtime
from googlenet.parallel import cores

# A convolution that wastes nothing: 3×3 over as many channels as fill every register, on images small enough to stay
# in the cache. A call takes a millisecond: short enough that, among many, some are not disturbed by other programs.
CHANNELS, SIDE, KERNEL = 512, 14, 3
CALLS = 10  # at least


@dataclass(frozen=True)
class Peak:
    """The most that was reached: 10⁹ operations a second, a multiply-accumulate being two, and by which kernel."""

    gops: float
    kernel: str


def peak(precision: str, seconds: float = 0.5) -> Peak:
    """Measure the peak of all cores in ``"fp32"``, ``"bf16"`` or ``"int8"``: the best of many short convolutions.

    They are run by OpenVINO, as networks are, so that its share says how well a network's shapes suit the processor.
    ``kernel`` is what OpenVINO calls the code that did it, which names the instructions and the numbers.

    ::

        peak("int8").gops / peak("fp32").gops  # 4 where there are instructions for it
    """
    images = max(cores() // 2, 1)  # half of one for each core
    hint = "bf16" if precision == "bf16" else "f32"
    config = {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": cores()}
    compiled = runtime().compile_model(_convolution(images, precision == "int8"), "CPU", config)
    request = compiled.create_infer_request()
    batch = np.random.default_rng(0).random((images, CHANNELS, SIDE, SIDE), dtype=np.float32)
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while len(taken) < CALLS or time.perf_counter() < until:
        begun = time.perf_counter()
        request.infer([batch], share_inputs=True)
        taken.append(time.perf_counter() - begun)
    operations = 2 * images * (CHANNELS * SIDE * KERNEL) ** 2
    return Peak(operations / min(taken) / 1e9, _kernel(compiled))


def _convolution(images: int, in_8_bits: bool) -> Any:
    import openvino
    from openvino import opset13 as ops

    images = ops.parameter([images, CHANNELS, SIDE, SIDE], np.float32)
    seen, weights = images, _weights(in_8_bits)
    if in_8_bits:  # as NNCF writes it; OpenVINO then computes with 8-bit activations and weights
        low, high = ops.constant(np.float32(0)), ops.constant(np.float32(1))
        seen = ops.fake_quantize(images, low, high, low, high, 256)
    same, edge = [1, 1], [KERNEL // 2] * 2
    features = ops.relu(ops.convolution(seen, weights, same, edge, edge, same))
    # What comes out is one number: handing the features over would take longer than some processors compute them.
    return openvino.Model([ops.reduce_max(features, ops.constant([0, 1, 2, 3]), False)], [images], "peak")


def _weights(in_8_bits: bool) -> Any:
    from openvino import opset13 as ops

    random, shape = np.random.default_rng(0), (CHANNELS, CHANNELS, KERNEL, KERNEL)
    if not in_8_bits:
        return ops.constant(random.normal(0, 0.02, shape).astype(np.float32))
    whole = ops.constant(random.integers(-127, 128, shape, dtype=np.int8))
    scale = ops.constant(np.full((CHANNELS, 1, 1, 1), 0.001, np.float32))
    return ops.multiply(ops.convert(whole, np.float32), scale)


def _kernel(compiled: Any) -> str:
    """Name the code by which OpenVINO really computes the convolution."""
    for node in compiled.get_runtime_model().get_ordered_ops():
        said = node.get_rt_info()
        if said["layerType"].astype(str) == "Convolution":
            return str(said["primitiveType"].astype(str))
    return "unknown"
