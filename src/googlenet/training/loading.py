"""Batches for training: order = f(seed, epoch), augmentation = f(seed, epoch, index). Nothing else decides.

An image drawn again within an epoch, to balance the classes, is augmented anew: f(seed, epoch, index, times before).
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from googlenet import machine
from googlenet.data.image_set import ImageSet
from googlenet.errors import ImageError, MachineError
from googlenet.images.decode import Pixels
from googlenet.images.resize import make_square, read, resize_and_crop
from googlenet.preprocessing import Preprocessing
from googlenet.training.augment import augment, smallest_side
from googlenet.training.recipe import Augmentation
from googlenet.training.task import Task

_STOPPING = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}
WATCH_SECONDS = 1.0  # between looks at whether the process that trains is still there
MAX_WORKERS = 8
NICE = 10  # how far processes that read stand back: a step that loses one of its cores loses all of them
CACHE_BYTES = 64 * 2**20  # bytes of decoded images that each process that reads may keep
SQUARES_AT_MOST = 4  # sides of the input: a random crop down to a sixteenth of the area still enlarges nothing


@dataclass(frozen=True)
class SampleKey:
    """An image to be seen: in which epoch, which one, at what side in pixels, how often it came before in it."""

    epoch: int
    index: int
    side: int
    before: int = 0


@dataclass(frozen=True)
class Batch:
    """``images`` (N, C, S, S) uint8, ``labels`` as the task takes them, ``indices``, and which could not be read."""

    images: Tensor
    labels: Tensor
    indices: list[int]
    unreadable: dict[int, str] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as bytes in a pipe.

        Tensors would go through shared memory, of which containers have little, and take an open file each.
        """
        return _unpacked, (self.images.numpy(), self.labels.numpy(), self.indices, self.unreadable)


def _unpacked(images: Any, labels: Any, indices: list[int], unreadable: dict[int, str]) -> Batch:
    return Batch(torch.from_numpy(images), torch.from_numpy(labels), indices, unreadable)


class BatchSampler:
    """The batches of one epoch, from batch ``start`` on: a sampler that can be told where to begin.

    ``shape`` gives, for a batch of an epoch, the pixels of a side and how many batches a step takes from there, which
    then come as one. A last batch smaller than ``batch_size`` is left out
    in training (``shuffle``), unless it is the only one. Where several processes train, number ``rank`` of ``ranks``
    takes its slice of every batch; nothing is seen twice. Where ``classes``, the class of each image, are given,
    every class is drawn equally often.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        shuffle: bool,
        shape: Callable[[int, int], tuple[int, int]],
        rank: int = 0,
        ranks: int = 1,
        classes: Sequence[int] | None = None,
    ) -> None:
        self.count, self.batch_size, self.seed, self.shuffle, self.shape = count, batch_size, seed, shuffle, shape
        self.rank, self.ranks = rank, ranks
        self.members = None if classes is None else _members(classes)
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        whole, rest = divmod(self.count, self.batch_size)
        return whole if self.shuffle and whole else whole + bool(rest)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order, at = self._order(), self.start
        while at < len(self):
            side, batches = self.shape(self.epoch, at)
            begin, at = at, min(at + batches, len(self))
            some = order[begin * self.batch_size : at * self.batch_size]
            yield [
                SampleKey(self.epoch, index, side, before) for index, before in some[self.rank :: self.ranks].tolist()
            ]

    def _order(self) -> NDArray[np.int64]:
        """Give (count, 2): the index of each image and how often it came before."""
        random = _generator(self.seed, self.epoch)
        if self.members is not None:
            return _balanced(random, self.members, self.count)
        order = random.permutation(self.count) if self.shuffle else np.arange(self.count)
        return np.stack([order, np.zeros_like(order)], axis=1)


def _members(classes: Sequence[int]) -> list[NDArray[np.int64]]:
    """Give the indices of the images of each class that has any."""
    by_class = np.split(np.argsort(classes, kind="stable"), np.cumsum(np.bincount(classes))[:-1])
    return [members for members in by_class if len(members)]


def _balanced(random: np.random.Generator, members: list[NDArray[np.int64]], count: int) -> NDArray[np.int64]:
    """Draw every class equally often (the rest, too small to share, from some of them), as (index, how often before).

    No image comes again before all of its class have come.
    """
    share, rest = divmod(count, len(members))
    drawn = []
    for place, which in enumerate(random.permutation(len(members))):
        images, wanted = members[which], share + (place < rest)
        rounds = range(-(-wanted // len(images)))
        shuffled = [np.stack([random.permutation(images), np.full_like(images, r)], axis=1) for r in rounds]
        drawn += [np.concatenate(shuffled)[:wanted]] if shuffled else []
    return random.permutation(np.concatenate(drawn))


class ImageDataset(Dataset[Any]):
    """Images as (C, S, S) uint8, augmented in training, prepared as in prediction otherwise."""

    def __init__(
        self, images: ImageSet, preprocessing: Preprocessing, seed: int, augmentation: Augmentation | None
    ) -> None:
        self.images, self.preprocessing, self.seed, self.augmentation = images, preprocessing, seed, augmentation
        self.at_least = (
            preprocessing.resized_side if augmentation is None else smallest_side(preprocessing.size, augmentation)
        )
        self.decoded: dict[int, Pixels] = {}  # small images, so that they are decoded once
        self.room = CACHE_BYTES

    def __getitem__(self, place: SampleKey) -> tuple[int, tuple[int, ...], Tensor | str]:
        """Give index, classes and pixels, or the reason why there are none."""
        labels = self.images.items[place.index].labels
        try:
            pixels = self._read(place.index)
        except ImageError as error:
            return place.index, labels, str(error)
        if self.augmentation is None:
            seen = resize_and_crop(pixels, self.preprocessing)
        else:
            square = make_square(pixels, self.preprocessing.resize, SQUARES_AT_MOST * self.preprocessing.size)
            random = _generator(self.seed, place.epoch, place.index, place.before)
            seen = augment(square, place.side, self.augmentation, random)
        return place.index, labels, torch.from_numpy(np.array(seen)).permute(2, 0, 1)

    def _read(self, index: int) -> Pixels:
        """Decode an image, or find it among those that were kept: the first ones, while there is room."""
        pixels = self.decoded.get(index)
        if pixels is None:
            pixels = read(self.images.items[index].source, self.preprocessing, self.at_least)
            if pixels.nbytes <= self.room:
                self.decoded[index], self.room = pixels, self.room - pixels.nbytes
        return pixels


def default_workers(processes_here: int = 1) -> int:
    """Share the machine's cores out: how many processes read images for each that trains."""
    return max(1, min(MAX_WORKERS, (os.cpu_count() or 1) // processes_here))


def loader(dataset: ImageDataset, batches: BatchSampler, task: Task, workers: int) -> DataLoader[Any]:
    """Read and augment batches in ``workers`` processes, ahead of the training step; in this one where it is 0."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more processes than cores: as was asked
        return _Loader(
            dataset,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=partial(_collate, task),
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # its own: asking for batches must not move the global one
            worker_init_fn=_serve,
            multiprocessing_context=_context() if workers else None,
        )


class _Loader(DataLoader[Any]):
    """A DataLoader whose processes start with the signals blocked, and without the script that trains.

    A process that is spawned would run that script anew, and train in its turn: no script needs
    ``if __name__ == "__main__"`` for training.
    """

    def __iter__(self) -> Any:
        if not self.num_workers:
            return super().__iter__()
        try:
            with _signals_blocked(), _without_main():
                return super().__iter__()
        except (pickle.PicklingError, AttributeError) as error:
            raise MachineError(
                f"processes that read images cannot be given what the script defines itself ({error}): put it into a "
                "module of its own and import it, or train with workers=0 (--workers 0)"
            ) from error
        except OSError as error:
            no_room = error.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT)  # for a semaphore
            why = "/dev/shm is full or cannot be written" if no_room else machine.explain(error)
            raise MachineError(
                f"processes that read images cannot be started: {why}; --workers 0 needs none"
            ) from error


def _context() -> str | None:
    """Choose how processes are started: as the program was told, else by fork where that is safe."""
    told = multiprocessing.get_start_method(allow_none=True)
    return told or ("fork" if sys.platform == "linux" else None)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Processes that are started here inherit the mask: no Ctrl-C reaches them before they can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _without_main() -> Iterator[None]:
    """Let processes that are spawned, or the server that forks them, find an empty ``__main__``."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _collate(task: Task, samples: Sequence[tuple[int, tuple[int, ...], Tensor | str]]) -> Batch:
    readable = [(index, labels, x) for index, labels, x in samples if isinstance(x, Tensor)]
    return Batch(
        torch.stack([x for _, _, x in readable]) if readable else torch.empty(0, 3, 1, 1, dtype=torch.uint8),
        task.targets([labels for _, labels, _ in readable]),
        [index for index, _, _ in readable],
        {index: x for index, _, x in samples if isinstance(x, str)},
    )


def _generator(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _serve(_: int) -> None:
    """Leave signals to the process that trains, end with it, and leave it the processor where both want it."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    for number in _STOPPING - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(os.getppid(), multiprocessing.parent_process()), daemon=True).start()


def _end_with(parent: int, trainer: Any) -> None:
    """End this process when its parent, or the process that trains, is gone or says so; whatever it waits for.

    SIGTERM counts from these alone: one to all processes of a job is for the one that trains, which saves first.
    """
    while os.getppid() == parent and trainer.is_alive():
        if not hasattr(signal, "sigtimedwait"):
            time.sleep(WATCH_SECONDS)
            continue
        sent = signal.sigtimedwait({signal.SIGTERM}, WATCH_SECONDS)
        if sent is not None and sent.si_pid in (parent, trainer.pid):
            break
    os._exit(0)
