"""The peak number of operations per second of this processor, measured. No torch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from googlenet.inference.runtime import runtime
from googlenet.parallel import cores

# An ideal convolution: 3×3 over enough channels to fill every register, on maps small enough for the cache. A call
# takes a millisecond, so that among many some are not disturbed by other programs.
CHANNELS, SIDE, KERNEL = 512, 14, 3
MIN_CALLS = 10


@dataclass(frozen=True)
class Peak:
    """The most that was reached, in 10⁹ operations per second (two per multiply-accumulate), and with which kernel."""

    gops: float
    kernel: str


def peak(precision: str, seconds: float = 0.5) -> Peak:
    """Measure the peak of all cores in ``"fp32"``, ``"bf16"`` or ``"int8"``: the best of many short convolutions.

    OpenVINO runs them as it runs networks, so a network's share of the peak says how well its shapes suit the
    processor. ``kernel`` is OpenVINO's name of the code, which contains the instruction set and the number format.

    ::

        peak("int8").gops / peak("fp32").gops  # 4 where there are instructions for it
    """
    images = max(cores() // 2, 1)  # half an image per core
    hint = "bf16" if precision == "bf16" else "f32"
    config = {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": cores()}
    compiled = runtime().compile_model(_convolution(images, precision == "int8"), "CPU", config)
    request = compiled.create_infer_request()
    batch = np.random.default_rng(0).random((images, CHANNELS, SIDE, SIDE), dtype=np.float32)
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while len(taken) < MIN_CALLS or time.perf_counter() < until:
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
    if in_8_bits:  # as NNCF writes it, so that OpenVINO computes with 8-bit activations and weights
        low, high = ops.constant(np.float32(0)), ops.constant(np.float32(1))
        seen = ops.fake_quantize(images, low, high, low, high, 256)
    same, edge = [1, 1], [KERNEL // 2] * 2
    features = ops.relu(ops.convolution(seen, weights, same, edge, edge, same))
    # The output is one number: copying the features would take longer than some processors take to compute them.
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
    """Return OpenVINO's name of the code that computes the convolution."""
    for node in compiled.get_runtime_model().get_ordered_ops():
        said = node.get_rt_info()
        if said["layerType"].astype(str) == "Convolution":
            return str(said["primitiveType"].astype(str))
    return "unknown"
