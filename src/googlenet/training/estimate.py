"""How long the end of a run will take, before there was one: a run by minutes keeps the time for it."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from googlenet.models.build import ConvNet
from googlenet.training.checkpoint import Checkpoints
from googlenet.training.loading import Batch, SampleKey
from googlenet.training.trainer import Trainer
from googlenet.training.views import answer_views

PROBE_IMAGES = 32  # held-out images that are read and run
FEW, MORE = 16, 80  # images; what the second number takes longer than the first is the time of each
SAVES_AT_THE_END = 3  # the first checkpoint has no optimizer state yet, and the last is followed by the best weights


def estimate_validation(trainer: Trainer, checkpoints: Checkpoints) -> float:
    """Return the seconds of a validation with its checkpoints. Writes a checkpoint."""
    begun = time.perf_counter()
    trainer.save(checkpoints)
    saving = SAVES_AT_THE_END * (time.perf_counter() - begun)
    return trainer.processes.broadcast(_validation_seconds(trainer) + saving)


def seconds_each(work: Callable[[int], object], available: int) -> float:
    """Return the seconds that ``work`` takes for each further image: its start, where it compiles, is not counted."""
    if available <= 2 * FEW:
        return _seconds(work, available) / max(1, available)
    more = min(MORE, available)
    few = _seconds(work, FEW)
    return max(0.0, _seconds(work, more) - few) / (more - FEW)


def seconds_left(work: Callable[[int], object], total: int, done: int) -> float:
    """Return the seconds that ``work`` takes for the images of ``total`` beyond those ``done``."""
    return (total - done) * seconds_each(work, total) if total > done else 0.0


def _seconds(work: Callable[[int], object], count: int) -> float:
    begun = time.perf_counter()
    work(count)
    return time.perf_counter() - begun


@torch.no_grad()
def _validation_seconds(trainer: Trainer) -> float:
    network, loader, count = trainer.best_network.eval(), trainer.val_loader, len(trainer.data.val)
    some = range(0, count, -(-count // PROBE_IMAGES))
    begun = time.perf_counter()
    size = trainer.preprocessing.size
    batch: Batch = loader.collate_fn([loader.dataset[SampleKey(0, index, size)] for index in some])
    reading = (time.perf_counter() - begun) / len(some) / max(1, loader.num_workers)
    images = trainer.fabric.to_device(batch.images)
    taken = [0.0]
    if len(images):
        taken = [_seconds_to_run(trainer, network, images) for _ in range(3)]  # the first is slow: it compiles
    return (reading + min(taken) / max(1, len(images))) * count / trainer.processes.count


def _seconds_to_run(trainer: Trainer, network: ConvNet, images: Tensor) -> float:
    begun = time.perf_counter()
    with trainer.fabric.autocast():
        answer_views(network, trainer.normalise(images), trainer.recipe).sum().item()
    return time.perf_counter() - begun
