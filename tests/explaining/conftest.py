"""Small bundles to explain: of any network with weights that are not those of initialisation, and without training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from googlenet.card import ModelCard
from googlenet.exporting.bundles import write_bundle
from googlenet.models.build import create
from googlenet.models.spec import to_json

CLASSES = ("ant", "bee", "cow", "dog")


def module_of(network, size, channels=3):
    """A module whose batch statistics are not those of initialisation, in evaluation."""
    torch.manual_seed(0)
    built = create(replace(network, input_size=size), num_classes=len(CLASSES), in_channels=channels, aux=0,
                   init="truncated_normal").train()  # fmt: skip
    with torch.no_grad():
        for _ in range(3):
            built(torch.randn(8, channels, size, size))
        for parameter in built.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return built.eval()


def photo(size, seed=0, channels=3):
    """A smooth image (H, W, C), wider than high."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, channels), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, size // 4, axis=0), size // 4, axis=1)


@pytest.fixture
def write(tmp_path):
    """Write the bundle of a network; return it with its module."""

    def bundle(network, size=32, name="bundle", module=None, channels=3, **fields):
        module = module or module_of(network, size, channels)
        preprocessing = module.network.preprocessing(size)
        card = ModelCard(network.name, to_json(module.network), CLASSES, preprocessing, **fields)
        images = np.random.default_rng(1).integers(0, 256, (2, size, size, channels), dtype=np.uint8)
        return write_bundle(tmp_path / name, module, card, images), module

    return bundle


def logits_of(module, pixels):
    """What the module says of an image as the network sees it, (S, S, C) uint8 → (K,)."""
    preprocessing = module.network.preprocessing(len(pixels))
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (preprocessing.mean, preprocessing.std))
    x = (torch.tensor(pixels)[None].permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        return module(x)[0].numpy()
