"""Training on cached maps: which are needed when, and the classifier that is fitted on them before the first step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from googlenet.training import linear, maps
from googlenet.training.budget import Minutes
from googlenet.training.frozen import FrozenStages
from googlenet.training.learning import Learning
from googlenet.training.loading import Batch, SampleKey
from googlenet.training.maps import HELD_OUT, MIRRORED, MapCache
from googlenet.training.progress import Callback

MIN_VIEWS_LEFT = 3  # a run by minutes computes another view only where there is time for so many


class CachedMaps:
    """The cached maps of a phase. They are made when they are first needed, and deleted at its end."""

    def __init__(self, learning: Learning) -> None:
        self.learning = learning
        self.cache: MapCache | None = None
        self.seconds = 0.0  # that the last view took

    def ensure(self, callback: Callback, folder: Path, watch: Callable[[Batch, str], bool]) -> bool:
        """Have the maps of the held-out images and of the next epoch's view. Returns ``False`` when asked to stop.

        ``watch`` is called with each batch of images and its split, and returns whether to stop.
        """
        learning = self.learning
        progress = learning.progress
        cache = self.cache = self.cache or self._make(folder)
        next_view = progress.epoch - progress.phase_start
        known = [*progress.maps]
        held_out = (HELD_OUT, MIRRORED) if learning.recipe.mirror else (HELD_OUT,)
        wanted = [*held_out, *known] + ([str(next_view)] if next_view < cache.views and self._have_time(known) else [])
        for name in dict.fromkeys(wanted):
            began = time.perf_counter()

            def seen(batch: Batch, done: int, count: int, name: str = name) -> bool:
                callback.maps(name, done, count)
                return watch(batch, maps.split_of(name))

            if not cache.ensure(name, progress, seen, callback.warn):
                return False
            self.seconds = time.perf_counter() - began
        return True

    def batches(self, split: str) -> Iterator[Batch]:
        """Return the batches of maps of an epoch (``"train"``), or of the held-out images (``"val"``)."""
        order = self.learning.batches if split == "train" else self.learning.val_batches
        return self._batches(split, order)

    def fit_first_classifier(self) -> bool:
        """Fit the last layer on the embeddings of all images as they are, where it is new. Returns whether it was.

        What it got right of the training images is counted as an epoch's steps are.
        """
        learning, began = self.learning, time.perf_counter()
        layer = linear.last_layer(learning.network)
        if layer is None or layer.weight.any():  # a new one starts at zero: see `transfer.load_matching`
            return False
        x, y = self._embeddings("train")
        weights, task, smoothing = learning.class_weights, learning.task, learning.recipe.label_smoothing
        weight, bias = linear.fit((x, y), self._embeddings("val"), task, smoothing, weights)
        for network in {learning.network, learning.best_network}:
            linear.set_last_layer(network, weight, bias)
        logits = x @ weight.T + bias
        loss = task.loss(logits, y, smoothing, weights).item()
        heads = [task.chance_loss()] * len(learning.network.network.aux)
        total = loss + sum(tap.weight * head for tap, head in zip(learning.network.network.aux, heads, strict=True))
        learning.progress.count([len(y) * each for each in (total, loss, *heads)], task.correct(logits, y), len(y))
        learning.progress.seconds = time.perf_counter() - began
        return True

    def forget_first_classifier(self) -> None:
        """Undo :meth:`fit_first_classifier`."""
        learning = self.learning
        layer = linear.last_layer(learning.network)
        assert layer is not None
        for network in {learning.network, learning.best_network}:
            linear.set_last_layer(network, torch.zeros_like(layer.weight), torch.zeros_like(layer.bias))
        progress = learning.progress
        progress.sums, progress.correct, progress.seen, progress.seconds = [], 0, 0, 0.0

    def clear(self) -> None:
        """Delete the maps."""
        if self.cache:
            self.cache.clear()
        self.cache = None
        self.learning.progress.maps = {}

    def close(self) -> None:
        """End the processes that read images, but keep the maps: a resumed run reads them."""
        if self.cache:
            self.cache.close()

    def _make(self, folder: Path) -> MapCache:
        learning = self.learning
        stage = learning.phase.freeze
        assert stage is not None
        frozen = FrozenStages(
            learning.network, learning.preprocessing, stage, learning.recipe.precision, learning.fabric.device
        )
        maps.clear_others(folder, learning.progress.maps)
        return MapCache(
            frozen, learning.data, learning.preprocessing, learning.recipe, learning.task, learning.options, folder
        )  # fmt: skip

    def _have_time(self, known: list[str]) -> bool:
        """Whether another view pays in the time that is left of the phase."""
        learning = self.learning
        share = learning.budget.share(learning.progress)
        if not isinstance(learning.budget, Minutes) or not any(map(str.isdecimal, known)) or not share:
            return True
        left = learning.progress.elapsed / share * (learning.phase.end - share)
        return left > MIN_VIEWS_LEFT * self.seconds

    def _batches(self, split: str, keys: Iterable[list[SampleKey]], view: int | None = None) -> Iterator[Batch]:
        cache, progress = self.cache, self.learning.progress
        assert cache is not None
        at = progress.epoch - progress.phase_start if view is None else view
        count = sum(maps.split_of(name) == "train" for name in cache.maps)
        held_out = (HELD_OUT, MIRRORED) if self.learning.recipe.mirror and view is None else (HELD_OUT,)

        def names(key: SampleKey) -> tuple[str, ...]:
            return held_out if split == "val" else (str((at + key.before) % count),)

        return cache.batches(keys, split, names, progress.unreadable)

    @torch.no_grad()
    def _embeddings(self, split: str) -> tuple[Tensor, Tensor]:
        """Return the embeddings (N, D) of all images as they are, and their targets."""
        learning = self.learning
        assert self.cache is not None
        stage = self.cache.frozen.stage
        network, found = learning.network.eval(), []
        for batch in self._batches(split, self.cache.orders[split], view=0):
            with learning.fabric.autocast():
                images = learning.fabric.to_device(batch.images).float()
                found.append((network.embed(images, stage).float().cpu(), batch.labels))
        x, y = (torch.cat(parts) for parts in zip(*found, strict=True))
        return x, y
