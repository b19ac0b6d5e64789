"""How much more the images that ``visualize`` finds excite channels than the best image of the data does.

    python benchmarks/neurons.py RUN DATA [--stage inception_5b] [--channels 40] [--steps 256] [--seed 0] [--noise 40]

Channels are drawn by chance. An excitation is the mean of a channel over all places, of images as they are saved, in 8
bits. Printed are the ratio to the best image of DATA for each channel, and the share of channels whose ratio is at
least 5. With --noise also what so many steps along the sign of the gradient of single pixels reach from that best
image, at the best step: noise that nobody can read, but nearer to the most that is possible.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

import googlenet
from googlenet.explaining.stage_maps import find_stage
from googlenet.gradients import objectives
from googlenet.gradients.excitation import Stage
from googlenet.gradients.neurons import Neurons
from googlenet.images.decode import Pixels

ENOUGH = 5.0  # times the best image of the data
STEP = 8 / 255  # of a pixel; in the second half of the steps 3 / 255


def noise_ratios(run: str, found: Neurons, steps: int) -> list[float]:
    """Return, for each channel, what following signs of gradients from the best image of the data reaches, in times."""
    shown, ratios = Stage(googlenet.load(run, "fp32"), found.stage), []
    for each in found.neurons:
        best = loudest_noise(shown, each.data[0].pixels, each.channel, steps)
        ratios.append(float(shown.excitations(best[None])[0, each.channel]) / max(each.data[0].excitation, 1e-9))
    return ratios


def loudest_noise(shown: Stage, pixels: Pixels, channel: int, steps: int) -> Pixels:
    """Return, of all images on the way from ``pixels``, (S, S, C) uint8, the one that excites a channel most."""
    images = torch.tensor(pixels)[None].permute(0, 3, 1, 2).float() / 255
    best, most = images, -np.inf
    for step in range(steps + 1):
        images.requires_grad_()
        score = objectives.channels(shown.quick_maps(images), [channel]).sum()
        (gradient,) = torch.autograd.grad(score, images)
        if score.item() > most:
            best, most = images.detach(), score.item()
        size = STEP if step < steps // 2 else STEP * 3 / 8
        images = (images.detach() + size * gradient.sign()).clamp(0, 1)
    return (255 * best[0].permute(1, 2, 0)).round().to(torch.uint8).numpy()


def main() -> None:
    """Find images, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("--stage", default="inception_5b")
    parser.add_argument("--channels", type=int, default=40)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", type=int, default=0, metavar="STEPS")
    parser.add_argument("--sheet")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    card = googlenet.load(arguments.run).card
    count = find_stage(googlenet.load(arguments.run).bundle.network, card.preprocessing.size, arguments.stage)[0]
    drawn = np.random.default_rng(arguments.seed).choice(count, min(arguments.channels, count), replace=False)
    begun = time.perf_counter()
    found = googlenet.visualize(arguments.run, f"{arguments.stage}:{','.join(map(str, sorted(drawn)))}", arguments.data,
                                steps=arguments.steps, seed=arguments.seed)  # fmt: skip
    rows = [(each.channel, each.found.excitation, each.data[0].excitation) for each in found.neurons]
    ratios = np.array([ours / max(best, 1e-9) for _, ours, best in rows])
    if arguments.sheet:
        found.save(arguments.sheet)
    if arguments.json:
        print(json.dumps([{"channel": c, "found": ours, "data": best} for c, ours, best in rows]))
        return
    for (channel, ours, best), ratio in zip(rows, ratios, strict=True):
        print(f"channel {channel:4}: found {ours:8.3f}, best of the data {best:8.3f}, {ratio:6.1f} times")
    quantiles = ", ".join(f"{value:.1f}" for value in np.quantile(ratios, [0.0, 0.1, 0.5, 0.9, 1.0]))
    seconds, size = time.perf_counter() - begun, card.preprocessing.size
    print(f"{card.name} at {size} px, {found.stage}, {found.steps} steps, seed {arguments.seed}, {seconds:.0f} s")
    print(f"{np.mean(ratios >= ENOUGH):.0%} of {len(rows)} channels at least {ENOUGH:g} times; quantiles {quantiles}")
    if arguments.noise:
        reached = noise_ratios(arguments.run, found, arguments.noise)
        print("noise from the best image of the data:", ", ".join(f"{ratio:.1f}" for ratio in reached), "times; "
              f"{np.mean(np.array(reached) >= ENOUGH):.0%} at least {ENOUGH:g}")  # fmt: skip


if __name__ == "__main__":
    main()
