"""Which numbers to train in: what computes fastest here, found by trying."""

from __future__ import annotations

import copy
import time
from typing import Literal

import torch

from googlenet.inference.engine import precisions
from googlenet.models.build import ConvNet
from googlenet.preprocessing import Preprocessing
from googlenet.training.gradients import use_matmul_weight_gradients
from googlenet.training.objective import Objective
from googlenet.training.task import OneLabel

Precision = Literal["fp32", "bf16"]
PIXELS = 8 * 224**2  # of the images of a trial step: with fewer, what is tried is how steps begin and end
ROUNDS, SECONDS = 3, 0.3  # at least so many trials of each, and more of them while they are short
MAX_TIME_SHARE = (
    0.8  # of the time: a gain smaller than that is not worth the digits, nor sure to be found a second time
)


def fastest(network: ConvNet, preprocessing: Preprocessing, batch_size: int, device: str) -> Precision:
    """Try a few training steps of ``network`` in each precision that the device has instructions for.

    They are of ``batch_size`` images or, where those are large, of some of them.

    bf16 keeps the weights, their moments and sums in 32 bits and computes convolutions and products in 16
    (Kalamkar et al., *A study of bfloat16 for deep learning training*, 2019).
    """
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device != "cpu" or "bf16" not in precisions():
        return "fp32"
    with torch.random.fork_rng(devices=[]):
        objective = Objective(copy.deepcopy(network), preprocessing, 0.0, OneLabel(network.network.num_classes)).to(
            memory_format=torch.channels_last
        )
        use_matmul_weight_gradients(objective)
        exact, fast = _compare(objective, min(batch_size, max(2, PIXELS // preprocessing.size**2)), preprocessing.size)
        return "bf16" if fast < MAX_TIME_SHARE * exact else "fp32"


def _compare(objective: Objective, count: int, size: int) -> tuple[float, float]:
    """Take turns, so that what else the machine does hits both: the least seconds of a step in fp32 and in bf16."""
    images = torch.randint(0, 256, (count, objective.network.network.in_channels, size, size), dtype=torch.uint8)
    labels = torch.zeros(count, dtype=torch.long)
    taken: tuple[list[float], list[float]] = ([], [])
    begun = time.perf_counter()
    while len(taken[1]) < ROUNDS or time.perf_counter() - begun < SECONDS:
        for low, seconds in enumerate(taken):
            started = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=bool(low)):
                loss = objective(images, labels).total
            loss.backward()
            seconds.append(time.perf_counter() - started)
    return min(taken[0]), min(taken[1])
