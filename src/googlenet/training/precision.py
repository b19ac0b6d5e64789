"""The number format to train in: the fastest one here, found by trying."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Literal

import torch

from googlenet.inference.engine import precisions
from googlenet.models.build import ConvNet
from googlenet.preprocessing import Preprocessing
from googlenet.training.fused import use_fused_layers
from googlenet.training.gradients import use_small_map_gradients
from googlenet.training.objective import Objective
from googlenet.training.task import OneLabel

Precision = Literal["fp32", "bf16"]
TRIAL_PIXELS = 8 * 224**2  # in a trial step: with fewer, overheads would be measured
MIN_ROUNDS, MIN_SECONDS = 3, 0.3  # trials of each precision, and more of them while they are short
MAX_SECONDS = 5.0  # of all trials, where other programs make a step take seconds
MAX_TIME_SHARE = 0.8  # of fp32's time: a smaller gain is not worth the lost digits, nor found reliably


def fastest(network: ConvNet, preprocessing: Preprocessing, batch_size: int, device: str) -> Precision:
    """Return the precision in which a few training steps are fastest, among those that the device has instructions for.

    The steps have ``batch_size`` images, or fewer where these are large. bf16 keeps weights, moments and sums in 32
    bits and computes convolutions and matrix products in 16 (Kalamkar et al., *A study of bfloat16 for deep learning
    training*, 2019).
    """
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device != "cpu" or "bf16" not in precisions():
        return "fp32"
    count = min(batch_size, max(2, TRIAL_PIXELS // preprocessing.size**2))
    with torch.random.fork_rng(devices=[]):
        exact, fast = seconds_of_a_step(network, preprocessing, count, formats_of_cpu())
        return "bf16" if fast < MAX_TIME_SHARE * exact else "fp32"


def formats_of_cpu() -> tuple[torch.dtype, ...]:
    """Return fp32 and, if this CPU has it, bf16."""
    return (torch.float32, torch.bfloat16) if "bf16" in precisions() else (torch.float32,)


def seconds_of_a_step(
    network: ConvNet, preprocessing: Preprocessing, count: int, formats: Sequence[torch.dtype], device: str = "cpu"
) -> tuple[float, ...]:
    """Return the least seconds of a training step of ``count`` images in each of the formats.

    They take turns: other programs then slow down all. The network is copied, and stays as it is.
    """
    objective = Objective(copy.deepcopy(network), preprocessing, 0.0, OneLabel(network.network.num_classes))
    objective.to(device).to(memory_format=torch.channels_last)
    use_small_map_gradients(objective)
    use_fused_layers(objective)
    size = preprocessing.size
    images = torch.randint(0, 256, (count, network.network.in_channels, size, size), dtype=torch.uint8)
    labels = torch.zeros(count, dtype=torch.long).to(device)
    taken: list[list[float]] = [[] for _ in formats]
    begun = time.perf_counter()
    seconds = 0.0
    while seconds < MIN_SECONDS or (len(taken[-1]) < MIN_ROUNDS and seconds < MAX_SECONDS):
        for number, dtype in enumerate(formats):
            started = time.perf_counter()
            with torch.autocast(device, torch.bfloat16, enabled=dtype == torch.bfloat16):
                loss = objective(images.to(device), labels).total
            loss.backward()
            loss.item()  # a GPU works on after its calls returned
            taken[number].append(time.perf_counter() - started)
        seconds = time.perf_counter() - begun
    return tuple(map(min, taken))
