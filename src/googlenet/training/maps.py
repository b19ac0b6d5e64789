"""The maps of frozen stages, computed once for each view of each image and kept in files mapped into memory.

View 0 of an image is the image as prediction sees it; view v > 0 is augmented by f(seed, v, index). Each epoch of a
phase trains on the next view, and begins again after the last. A resumed run reads the files; one that is missing or
damaged is computed again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from googlenet.data.image_set import ImageSet, LabelledData
from googlenet.preprocessing import Preprocessing
from googlenet.training.directory import explain
from googlenet.training.frozen import FrozenStages
from googlenet.training.function import Function
from googlenet.training.loading import Batch, BatchSampler, ImageDataset, Sample, SampleKey, default_workers, loader
from googlenet.training.options import RunOptions
from googlenet.training.progress import Progress
from googlenet.training.recipe import Recipe
from googlenet.training.task import Task

PREFIX = "maps-"  # of the files
HELD_OUT, MIRRORED = "held-out", "held-out-mirrored"
BLOCK = 16  # images computed at once
HASHED_BYTES = 1 << 24  # at a time

# Is called with a batch of images, how many are done and of how many; returns whether to stop.
Watch = Callable[[Batch, int, int], bool]


class Views(ImageDataset):
    """Images as (C, S, S) uint8: view 0 as in prediction, the others augmented. A key's ``epoch`` is the view."""

    def __init__(
        self, images: ImageSet, preprocessing: Preprocessing, recipe: Recipe, function: Function | None
    ) -> None:
        super().__init__(images, preprocessing, recipe.seed, recipe.augmentation, function)
        self.plain = ImageDataset(images, preprocessing, recipe.seed, None)

    def __getitem__(self, place: SampleKey) -> Sample:
        """Return index, labels and pixels, or the reason why the image cannot be read."""
        return super().__getitem__(place) if place.epoch else self.plain[place]


class MapCache:
    """The maps of the training images and of the held-out ones, in files of ``folder``.

    ``progress`` holds their sha256, so that a resumed run trains on the same maps, or says that it does not.
    """

    def __init__(
        self, frozen: FrozenStages, data: LabelledData, preprocessing: Preprocessing, recipe: Recipe, task: Task,
        options: RunOptions, folder: Path,
    ) -> None:  # fmt: skip
        self.frozen, self.data, self.task, self.folder, self.views = frozen, data, task, folder, recipe.cached_views
        self.maps: dict[str, Tensor] = {}
        self.orders: dict[str, BatchSampler] = {}
        self.loaders: dict[str, DataLoader[Any]] = {}
        workers = default_workers() if options.workers is None else options.workers
        train = Views(data.train, preprocessing, recipe, options.augment)
        held_out = ImageDataset(data.val, preprocessing, recipe.seed, None)
        for split, dataset in (("train", train), ("val", held_out)):
            count = len(dataset.images)
            order = BatchSampler(count, BLOCK, recipe.seed, False, lambda *_: (preprocessing.size, 1))
            self.orders[split], self.loaders[split] = order, loader(dataset, order, task, workers)

    def ensure(self, name: str, progress: Progress, watch: Watch, say: Callable[[str], None]) -> bool:
        """Have the maps of a view, or of the held-out images: read or computed. Returns ``False`` when stopped.

        Raises :class:`DiskFullError` where they cannot be written.
        """
        if name in self.maps:
            return True
        known = progress.maps.get(name)
        found = self._open(name) if known else None
        if found is not None and _sha256(found) == known:
            self.maps[name] = found
            return True
        del found
        maps = self._compute(name, watch)
        if maps is None:
            return False
        progress.maps[name] = sha256 = _sha256(maps)
        if known and sha256 != known:
            say(f"maps of view {name} were lost, and come out otherwise: the weights will not be bit for bit the same")
        self.maps[name] = maps
        return True

    def batches(
        self,
        keys: Iterable[list[SampleKey]],
        split: str,
        names: Callable[[SampleKey], tuple[str, ...]],
        unreadable: Mapping[str, str],
    ) -> Iterator[Batch]:
        """Yield batches of maps (V · N, D, h, w), channels last in memory, in the order of ``keys``.

        ``names`` tells the V views of each, by which the maps are ordered first; ``unreadable`` names the images that
        have no maps, with the reasons.
        """
        items = self.data.splits[split].items
        for some in keys:
            there = [key for key in some if items[key.index].name not in unreadable]
            missing = {k.index: unreadable[items[k.index].name] for k in some if items[k.index].name in unreadable}
            labels = self.task.targets([items[key.index].labels for key in there])
            indices = [key.index for key in there]
            views = list(zip(*map(names, there), strict=True))
            wanted = [name for view in views for name in view]
            yield Batch(self._gather(wanted, indices * len(views)), labels, indices, missing)

    def _gather(self, names: Sequence[str], indices: Sequence[int]) -> Tensor:
        """Return the maps of images, each of its view: (N, D, h, w)."""
        if not names:
            return torch.empty(0, self.frozen.shape[2], *self.frozen.shape[:2], dtype=self.frozen.dtype)
        if len(set(names)) == 1:
            return self.maps[names[0]][list(indices)].permute(0, 3, 1, 2)
        rows = [self.maps[name][index] for name, index in zip(names, indices, strict=True)]
        return torch.stack(rows).permute(0, 3, 1, 2)

    def clear(self) -> None:
        """End the processes that read images, and delete the files."""
        self.close()
        self.maps = {}
        clear_others(self.folder)

    def close(self) -> None:
        """End the processes that read images: the garbage collector can take seconds to do it."""
        self.loaders = {}

    def _compute(self, name: str, watch: Watch) -> Tensor | None:
        split = split_of(name)
        order, count = self.orders[split], len(self.data.splits[split])
        order.epoch = int(name) if split == "train" else 0
        maps = self._open(name, count)
        assert maps is not None
        done = 0
        for batch in self.loaders[split]:
            if len(batch.indices):
                maps[batch.indices] = self.frozen(batch.images.flip(3) if name == MIRRORED else batch.images)
            done += len(batch.indices) + len(batch.unreadable)
            if watch(batch, done, count):
                return None
        return maps

    def _open(self, name: str, fresh: int = 0) -> Tensor | None:
        """Map a file into memory: a ``fresh`` one for so many images, or what is there, if it has the right size."""
        path = self.folder / f"{PREFIX}{name}.bin"
        shape = (len(self.data.splits[split_of(name)]), *self.frozen.shape)
        size = bytes_of(shape)
        try:
            if fresh:
                _allocate(path, size)
            elif not path.is_file() or path.stat().st_size != size:
                return None
            return torch.from_file(str(path), shared=True, size=size // 2, dtype=self.frozen.dtype).view(shape)
        except OSError as error:
            raise explain(error, path) from error


def split_of(name: str) -> str:
    """Return the split whose maps have this name."""
    return "val" if name in (HELD_OUT, MIRRORED) else "train"


def bytes_of(shape: Sequence[int]) -> int:
    """Return the size of maps, which take two bytes a number."""
    size = 2
    for side in shape:
        size *= side
    return size


def clear_others(folder: Path, known: Iterable[str] = ()) -> None:
    """Delete the maps in a folder, but for the views that are ``known``."""
    for path in set(folder.glob(f"{PREFIX}*.bin")) - {folder / f"{PREFIX}{name}.bin" for name in known}:
        with suppress(OSError):
            path.unlink()


def _allocate(path: Path, size: int) -> None:
    """Make a file that has its space on the disk: a full one is an error here, not a crash on writing into memory."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def _sha256(maps: Tensor) -> str:
    digest, content = hashlib.sha256(), maps.reshape(-1).view(torch.uint8).numpy().data
    for start in range(0, len(content), HASHED_BYTES):
        digest.update(content[start : start + HASHED_BYTES])
    return digest.hexdigest()
