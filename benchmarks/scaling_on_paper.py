"""The cost and the gain of training on many GPUs, estimated by arithmetic: nothing here is measured.

    python benchmarks/scaling_on_paper.py
    python benchmarks/scaling_on_paper.py --network inception_v3 --per-gpu 32 --tflops 60

Every assumption is an option or a constant below; docs/scaling.md explains the formula.
"""

from __future__ import annotations

import argparse
import math

import googlenet
from googlenet.models import zoo
from googlenet.models.spec import Conv, Parallel, Residual, SeparableConv

LINKS = {  # name: (bytes per second each way for one GPU, seconds that one hop of a small message takes)
    "NVLink, one host": (300e9, 5e-6),
    "InfiniBand, 200 Gbit/s a GPU": (25e9, 15e-6),
    "Ethernet, 10 Gbit/s a GPU": (1.1e9, 50e-6),
}
GPUS = (8, 16, 32, 64, 128, 256)
BACKWARD = 2 / 3  # of the step's arithmetic; gradients travel during it
OWN_REDUCTIONS = 3  # counts, losses, and clock with signal, in every step
IMAGES, EPOCHS = 1_281_167, 90


def normalised(layers) -> int:
    """Count the convolutions that batch normalisation follows: each sums its moments over the GPUs."""
    count = 0
    for layer in layers:
        if isinstance(layer, (Conv, SeparableConv)):
            count += layer.norm if isinstance(layer, Conv) else 1
        elif isinstance(layer, Parallel):
            count += sum(normalised(branch.layers) for branch in layer.branches)
        elif isinstance(layer, Residual):
            count += normalised(layer.body) + normalised(layer.shortcut)
    return count


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="googlenet_bn")
    parser.add_argument("--per-gpu", type=int, default=64, help="images a step on each GPU")
    parser.add_argument("--tflops", type=float, default=40.0, help="arithmetic that one GPU sustains")
    options = parser.parse_args()
    network = zoo.find(options.network)
    table = googlenet.analyse(network)
    layers = [layer for part in (*network.stages, *network.aux) for layer in part.layers]
    norms = normalised(layers) if network.norm else 0
    gradient = 4 * table.training_parameters
    # One multiply-accumulate is two operations, and the backward pass costs twice the forward pass.
    compute = 3 * 2 * table.macs * options.per_gpu / (options.tflops * 1e12)
    reductions = 2 * norms + OWN_REDUCTIONS
    print(
        f"{network.name}: {table.training_parameters:,} parameters with heads, {gradient / 1e6:.1f} MB a step; ", end=""
    )
    print(
        f"{reductions} small sums; {compute * 1e3:.1f} ms of arithmetic a step of {options.per_gpu} images (estimate)"
    )
    for link, (bandwidth, hop) in LINKS.items():
        print(f"\n{link}\n  GPUs  MB sent  ms to send  ms of small sums  efficiency  images/s  hours for ImageNet")
        for gpus in GPUS[:1] if link.startswith("NVLink") else GPUS:
            sent = 2 * (gpus - 1) / gpus * gradient
            sending, small = sent / bandwidth, reductions * math.ceil(math.log2(gpus)) * hop
            step = compute + max(0.0, sending - BACKWARD * compute) + small
            speed = gpus * options.per_gpu / step
            print(
                f"  {gpus:4}  {sent / 1e6:7.1f}  {sending * 1e3:10.2f}  {small * 1e3:16.2f}  {compute / step:10.0%}  "
                f"{speed:10,.0f}  {IMAGES * EPOCHS / speed / 3600:18.1f}"
            )


if __name__ == "__main__":
    main()
