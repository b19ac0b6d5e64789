"""MixUp and CutMix: the images of a step are mixed in pairs, and so are their labels, as f(seed, epoch, batch)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from googlenet.training.augmentation import Augmentation
from googlenet.training.loading import Batch
from googlenet.training.progress import Progress
from googlenet.training.recipe import Recipe
from googlenet.training.transforms import drawn_from, torchvision_transforms

MIXING = 1  # keeps these random numbers apart from those of the order and of single images

# By the setting of ``Augmentation`` that is its probability: makes torchvision's transform of a batch.
MIXES: dict[str, Callable[[Augmentation, int], Any]] = {
    "mixup_prob": lambda how, classes: torchvision_transforms().MixUp(alpha=how.mixup_alpha, num_classes=classes),
    "cutmix_prob": lambda how, classes: torchvision_transforms().CutMix(alpha=how.cutmix_alpha, num_classes=classes),
}


def mix(batch: Batch, recipe: Recipe, classes: int, at: Progress, share: float) -> Batch:
    """Mix each image of a step with the one before it, at random; all of a step in the same proportion.

    Labels of a mixed step are (N, K) in place of class numbers (N,): each class by its share. Where images have several
    labels, each is 0 to 1. Several processes mix within the images of each, in the same way.

    Args:
        batch: the images of a step, (N, C, S, S).
        recipe: its augmentation and its seed.
        classes: K, the number of classes.
        at: the epoch and the batch, which decide with the seed alone.
        share: how much of the run is over, 0 to 1.
    """
    random, how = _generator(recipe, at), recipe.augmentation
    name = _drawn(how, share, random)
    if name is None or len(batch.labels) < 2:
        return batch
    images, labels = batch.images, batch.labels
    whole = not images.is_floating_point()
    transform = MIXES[name](how, classes)
    mixed, targets = drawn_from(random, lambda: transform(images.float(), labels))
    return replace(batch, images=mixed.round_().to(images.dtype) if whole else mixed, labels=targets)


def drawn_mix(recipe: Recipe, at: Progress, share: float) -> str | None:
    """Return the entry of ``MIXES`` by which the step is mixed that begins there, or ``None``."""
    return _drawn(recipe.augmentation, share, _generator(recipe, at))


def _generator(recipe: Recipe, at: Progress) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence((recipe.seed, at.epoch, at.batch), spawn_key=(MIXING,)))


def _drawn(how: Augmentation, share: float, random: np.random.Generator) -> str | None:
    """Draw how a step is mixed: one of ``MIXES``, or not at all."""
    begin, end = how.mix_during
    number = random.random()
    for name in MIXES if begin <= share <= end else ():
        number -= getattr(how, name)
        if number < 0:
            return name
    return None
