"""Batches for training: order = f(seed, epoch), augmentation = f(seed, epoch, index). Nothing else decides."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from googlenet.card import Preprocessing
from googlenet.data.pictures import Pictures
from googlenet.errors import ImageError
from googlenet.images.decode import COLOURS, Pixels
from googlenet.images.preprocess import prepare
from googlenet.training.recipe import Augmentation

MAX_WORKERS = 8
Place = tuple[int, int, int]  # (epoch, index of the picture, side of what the network sees of it)


@dataclass(frozen=True)
class Batch:
    """``images`` (N, C, S, S) uint8, ``labels`` (N,), the ``indices`` of the pictures, and those not readable."""

    images: Tensor
    labels: Tensor
    indices: list[int]
    unreadable: dict[int, str] = field(default_factory=dict)


class Batches:
    """The batches of one epoch, from batch ``start`` on: a sampler that can be told where to begin.

    ``side`` gives the pixels of a side for a batch of an epoch. A last batch smaller than ``batch_size`` is left out
    in training (``shuffle``), unless it is the only one.
    """

    def __init__(self, count: int, batch_size: int, seed: int, shuffle: bool, side: Callable[[int, int], int]) -> None:
        self.count, self.batch_size, self.seed, self.shuffle, self.side = count, batch_size, seed, shuffle, side
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        whole, rest = divmod(self.count, self.batch_size)
        return whole if self.shuffle and whole else whole + bool(rest)

    def __iter__(self) -> Iterator[list[Place]]:
        order = _generator(self.seed, self.epoch).permutation(self.count) if self.shuffle else np.arange(self.count)
        for at in range(self.start, len(self)):
            side = self.side(self.epoch, at)
            yield [(self.epoch, int(i), side) for i in order[at * self.batch_size : (at + 1) * self.batch_size]]


class PictureDataset(Dataset[Any]):
    """Pictures as (C, S, S) uint8, augmented in training, prepared as in prediction otherwise."""

    def __init__(self, pictures: Pictures, rule: Preprocessing, seed: int, augmentation: Augmentation | None) -> None:
        self.pictures, self.rule, self.seed, self.augmentation = pictures, rule, seed, augmentation

    def __getitem__(self, place: Place) -> tuple[int, int, Tensor | str]:
        """Give index, class and pixels, or the reason why there are none."""
        epoch, index, side = place
        item = self.pictures.items[index]
        try:
            pixels = item.read(self.rule.channels)
        except ImageError as error:
            return index, item.label, str(error)
        if self.augmentation is None:
            return index, item.label, _to_tensor(prepare(pixels, self.rule))
        return index, item.label, self._augmented(pixels, epoch, index, augmenting(self.augmentation, side))

    def _augmented(self, pixels: Pixels, epoch: int, index: int, transform: v2.Transform) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would also note a stack trace for every GPU to come: slow, and kept for ever.
            torch.default_generator.manual_seed(int(_generator(self.seed, epoch, index).integers(2**62)))
            # Pillow, the faster one, knows no picture of five channels.
            varied: Tensor = transform(Image.fromarray(pixels) if pixels.shape[2] == COLOURS else _to_tensor(pixels))
        return varied


@cache
def augmenting(augmentation: Augmentation, size: int) -> v2.Transform:
    """Compose torchvision's transforms: a Pillow image, or (C, H, W) uint8 → (C, size, size) uint8."""
    steps: list[v2.Transform] = [
        v2.RandomResizedCrop(size, scale=augmentation.crop_area, ratio=augmentation.crop_aspect)
    ]
    if augmentation.flip:
        steps.append(v2.RandomHorizontalFlip(augmentation.flip))
    if augmentation.distort:
        steps.append(v2.RandomPhotometricDistort(p=augmentation.distort))
    steps.append(v2.PILToTensor())
    if augmentation.erase:
        steps.append(v2.RandomErasing(augmentation.erase, scale=(0.05, 0.25), value=127))
    return v2.Compose(steps)


def loader(dataset: PictureDataset, batches: Batches) -> DataLoader[Any]:
    """Read and augment batches in processes of their own, ahead of the training step."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=min(MAX_WORKERS, os.cpu_count() or 1),
        collate_fn=_collate,
        persistent_workers=True,
        generator=torch.Generator(),  # its own: asking for batches must not move the global one
        worker_init_fn=_leave_signals_to_the_parent,
    )


def _collate(samples: Sequence[tuple[int, int, Tensor | str]]) -> Batch:
    readable = [(index, label, x) for index, label, x in samples if isinstance(x, Tensor)]
    return Batch(
        torch.stack([x for _, _, x in readable]) if readable else torch.empty(0, 3, 1, 1, dtype=torch.uint8),
        torch.tensor([label for _, label, _ in readable], dtype=torch.long),
        [index for index, _, _ in readable],
        {index: x for index, _, x in samples if isinstance(x, str)},
    )


def _to_tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)


def _generator(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _leave_signals_to_the_parent(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
