"""Up to which map size is one matrix product faster than oneDNN's weight gradient of a convolution?

    python benchmarks/small_maps.py [--batch 64]

The limit in ``googlenet.training.gradients`` comes from here. For convolutions of GoogLeNet in bf16, on square maps of
growing side: milliseconds of forward and backward with torch's convolution and with the matrix product, in turns.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn

from googlenet.training import gradients
from googlenet.training.gradients import use_small_map_gradients

LAYERS = ((512, 128, 1), (832, 384, 1), (160, 320, 3), (192, 384, 3), (48, 128, 5))  # inputs, outputs, kernel
SIDES = (1, 2, 3, 4, 6, 8, 14)
ROUNDS, REPEATS = 5, 4


def seconds(layer: nn.Module, x: Tensor, down: Tensor) -> float:
    """Return the milliseconds of forward and backward."""
    begun = time.perf_counter()
    for _ in range(REPEATS):
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        y.backward(down)
    return (time.perf_counter() - begun) / REPEATS


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    batch = parser.parse_args().batch
    gradients.LARGEST = max(SIDES) ** 2  # quick wherever it can be
    print(f"batch {batch}, {torch.get_num_threads()} threads; ms of torch's convolution, of the quick one, ratio")
    for inputs, outputs, kernel in LAYERS:
        row = [f"{inputs:>4} → {outputs}, {kernel}×{kernel}:"]
        for side in SIDES:
            plain, quick = (
                nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False).to(
                    memory_format=torch.channels_last
                )
                for _ in range(2)
            )
            use_small_map_gradients(quick)
            x = torch.randn(batch, inputs, side, side).to(torch.bfloat16, memory_format=torch.channels_last)
            x.requires_grad_()
            down = torch.randn(batch, outputs, side, side).to(torch.bfloat16, memory_format=torch.channels_last)
            pairs = [(seconds(plain, x, down), seconds(quick, x, down)) for _ in range(ROUNDS)]
            slow, fast = (1000 * min(times) for times in zip(*pairs, strict=True))
            row.append(f"{side}² {slow:.2f} {fast:.2f} {slow / fast:.1f}×")
        print("   ".join(row))


if __name__ == "__main__":
    main()
