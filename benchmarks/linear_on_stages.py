"""A linear classifier on the pooled maps of each stage, and of several: which of them a fine-tuning should build on.

    python benchmarks/linear_on_stages.py DATA --weights RUN [--image-size 299] [--stages mixed_5d,mixed_6b]

Each line: stages, accuracy on the held-out images, and that of the mean answer to each image and its mirror image.
Training images are taken with their mirror images, as prediction sees them; the frozen network runs in the fastest
precision of OpenVINO. With --together also all of --stages at once (Head2Toe: Evci et al., 2022).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

import googlenet
from googlenet.data.image_set import ImageSet
from googlenet.images.resize import read, resize_and_crop
from googlenet.inference.engine import precisions
from googlenet.models.build import ConvNet
from googlenet.preprocessing import Preprocessing
from googlenet.training.frozen import FrozenStages
from googlenet.training.linear import fit
from googlenet.training.task import OneLabel

BATCH = 16
SMOOTHING = 0.1  # as in the recipe finetune


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--stages", help="comma-separated; by default all that have parameters")
    parser.add_argument("--together", action="store_true")
    options = parser.parse_args()
    data, network = googlenet.open_data(options.data), googlenet.load_module(options.weights).eval()
    rule = network.network.preprocessing(options.image_size)
    stages = options.stages.split(",") if options.stages else [s.name for s in network.network.stages_before_pooling()]
    pooled = {stage: _pooled(network, rule, stage, (data.train, data.val)) for stage in stages}
    labels = [torch.tensor([item.label for item in part.items]) for part in (data.train, data.val)]
    for some in [[stage] for stage in stages] + ([stages] if options.together else []):
        began = time.process_time()
        sets = [[torch.cat([pooled[s][part][flip] for s in some], 1) for flip in (0, 1)] for part in (0, 1)]
        train = torch.cat(sets[0]), labels[0].repeat(2)
        weight, bias = fit(train, (sets[1][0], labels[1]), OneLabel(len(data.class_names)), SMOOTHING)
        logits = [x @ weight.T + bias for x in sets[1]]
        right = [(answer.argmax(1) == labels[1]).float().mean().item() for answer in (logits[0], _mean(logits))]
        print(f"{' + '.join(some)}: {right[0]:.1%} ({right[1]:.1%}), {time.process_time() - began:.1f} s to fit")


def _mean(logits: Sequence[Tensor]) -> Tensor:
    return torch.stack([each.softmax(1) for each in logits]).mean(0)


def _pooled(network: ConvNet, rule: Preprocessing, stage: str, parts: Sequence[ImageSet]) -> list[list[Tensor]]:
    """Return for each part the mean maps (N, D) of its images, and of their mirror images."""
    frozen = FrozenStages(network, rule, stage, precisions()[-1], torch.device("cpu"))

    def mean(images: Tensor) -> Tensor:
        return frozen(images).float().mean((1, 2))

    return [
        [torch.cat([mean(x.flip(3) if mirrored else x) for x in _batches(part, rule)]) for mirrored in (False, True)]
        for part in parts
    ]


def _batches(images: ImageSet, rule: Preprocessing) -> Iterator[Tensor]:
    for start in range(0, len(images), BATCH):
        some = images.items[start : start + BATCH]
        pixels = np.stack([resize_and_crop(read(item.source, rule, rule.resized_side), rule) for item in some])
        yield torch.from_numpy(pixels).permute(0, 3, 1, 2)


if __name__ == "__main__":
    main()
