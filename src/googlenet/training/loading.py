"""Batches for training: order = f(seed, epoch), augmentation = f(seed, epoch, index), and of nothing else.

An image that is drawn again within an epoch, to balance the classes, is augmented differently each time:
f(seed, epoch, index, times drawn before).
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
from googlenet.errors import ImageError, MachineError, RecipeError
from googlenet.images.decode import Pixels
from googlenet.images.resize import make_square, read, resize_and_crop
from googlenet.parallel import start_method
from googlenet.preprocessing import Preprocessing
from googlenet.text import printable
from googlenet.training.augment import augment, smallest_side
from googlenet.training.augmentation import Augmentation
from googlenet.training.function import Function
from googlenet.training.task import Task
from googlenet.training.transforms import load_torchvision

_STOPPING = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}
WATCH_SECONDS = 1.0  # between checks that the training process still exists
MAX_WORKERS = 8
NICE = 10  # priority of workers: a training step waits for its slowest core
CACHE_BYTES = 64 * 2**20  # decoded images kept by each worker
MAX_SQUARE_SIDES = 4  # of the input's side: even a crop of 1/16 of the area is not upsampled


@dataclass(frozen=True)
class SampleKey:
    """An image to load: its index, in which epoch, at what side in pixels, how often the epoch has drawn it before."""

    epoch: int
    index: int
    side: int
    before: int = 0


@dataclass(frozen=True)
class FunctionFailure:
    """Takes the place of an image on which the user's function failed: its error would lose its type in a worker."""

    message: str


@dataclass(frozen=True)
class Batch:
    """``images`` (N, C, S, S) uint8, ``labels`` as the task makes them, ``indices``, and why others are unreadable.

    ``failure`` says on which image the user's function failed, if it did.
    """

    images: Tensor
    labels: Tensor
    indices: list[int]
    unreadable: dict[int, str] = field(default_factory=dict)
    failure: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as bytes, which go through a pipe between processes.

        Tensors would go through shared memory, of which containers have little, with an open file each.
        """
        return _unpacked, (self.images.numpy(), self.labels.numpy(), self.indices, self.unreadable, self.failure)


def _unpacked(images: Any, labels: Any, *others: Any) -> Batch:
    return Batch(torch.from_numpy(images), torch.from_numpy(labels), *others)


Sample = tuple[int, tuple[int, ...], Tensor | str | FunctionFailure]


class BatchSampler:
    """The batches of one epoch, from batch ``start`` on, so that a resumed run continues within an epoch.

    ``shape(epoch, batch)`` returns the side of the images in pixels and how many batches are merged into one step. In
    training (``shuffle``) a last batch smaller than ``batch_size`` is dropped, unless it is the only one. Where several
    processes train, ``rank`` of ``ranks`` takes its slice of every batch. Where the class of each image is given as
    ``classes``, every class is drawn equally often.
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
        """Return (count, 2): the index of each image, and how often it was drawn before."""
        random = _generator(self.seed, self.epoch)
        if self.members is not None:
            return _balanced(random, self.members, self.count)
        order = random.permutation(self.count) if self.shuffle else np.arange(self.count)
        return np.stack([order, np.zeros_like(order)], axis=1)


def _members(classes: Sequence[int]) -> list[NDArray[np.int64]]:
    """Return the indices of the images of each class that has any."""
    by_class = np.split(np.argsort(classes, kind="stable"), np.cumsum(np.bincount(classes))[:-1])
    return [members for members in by_class if len(members)]


def _balanced(random: np.random.Generator, members: list[NDArray[np.int64]], count: int) -> NDArray[np.int64]:
    """Draw every class equally often, and the remainder from some of them: (count, 2), as :meth:`_order` returns it.

    No image is drawn again before all of its class were.
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
    """Images as (C, S, S) uint8: augmented in training, otherwise resized and cropped as in prediction."""

    def __init__(
        self,
        images: ImageSet,
        preprocessing: Preprocessing,
        seed: int,
        augmentation: Augmentation | None,
        function: Function | None = None,
    ) -> None:
        self.images, self.preprocessing, self.seed, self.augmentation = images, preprocessing, seed, augmentation
        self.function = function
        if augmentation is not None:
            load_torchvision(augmentation)
        self.at_least = (
            preprocessing.resized_side if augmentation is None else smallest_side(preprocessing.size, augmentation)
        )
        self.decoded: dict[int, Pixels] = {}  # small images are decoded once
        self.room = CACHE_BYTES

    def __getitem__(self, place: SampleKey) -> Sample:
        """Return index, labels and pixels, or the reason why the image cannot be read or the function failed."""
        labels = self.images.items[place.index].labels
        try:
            pixels = self._read(place.index)
        except ImageError as error:
            return place.index, labels, str(error)
        if self.augmentation is None:
            seen = resize_and_crop(pixels, self.preprocessing)
        else:
            square = make_square(pixels, self.preprocessing.resize, MAX_SQUARE_SIDES * self.preprocessing.size)
            random = _generator(self.seed, place.epoch, place.index, place.before)
            try:
                seen = augment(square, place.side, self.augmentation, random, self.function)
            except RecipeError as error:
                name = printable(self.images.items[place.index].name)
                return place.index, labels, FunctionFailure(f"{error}, on the image {name}")
        return place.index, labels, torch.from_numpy(np.array(seen)).permute(2, 0, 1)

    def _read(self, index: int) -> Pixels:
        """Decode an image, or take it from the cache, which holds the first ones that fit."""
        pixels = self.decoded.get(index)
        if pixels is None:
            pixels = read(self.images.items[index].source, self.preprocessing, self.at_least)
            if pixels.nbytes <= self.room:
                self.decoded[index], self.room = pixels, self.room - pixels.nbytes
        return pixels


def default_workers(processes_here: int = 1) -> int:
    """Return how many workers each training process of this machine has by default."""
    return max(1, min(MAX_WORKERS, (os.cpu_count() or 1) // processes_here))


def loader(dataset: ImageDataset, batches: BatchSampler, task: Task, workers: int) -> DataLoader[Any]:
    """Read and augment batches ahead of the training step in ``workers`` processes; with 0, in this one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more processes than cores: as asked
        return _Loader(
            dataset,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=partial(_collate, task),
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # its own: drawing batches must not advance the global one
            worker_init_fn=_set_up_worker,
            multiprocessing_context=start_method() if workers else None,
        )


class _Loader(DataLoader[Any]):
    """A DataLoader whose workers start with signals blocked, and without the caller's script.

    A spawned process would run that script again, and train too. This way no script needs
    ``if __name__ == "__main__"``.
    """

    def __iter__(self) -> Any:
        if not self.num_workers:
            return _checked(super().__iter__())
        try:
            with _signals_blocked(), _without_main():
                return _checked(super().__iter__())
        except (pickle.PicklingError, AttributeError) as error:
            raise MachineError(
                f"workers that read images cannot be sent what the script itself defines ({error}): put it into a "
                "module and import it, or train with workers=0 (--workers 0)"
            ) from error
        except OSError as error:
            no_room = error.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT)  # for a semaphore
            why = "/dev/shm is full or cannot be written" if no_room else machine.explain(error)
            raise MachineError(f"workers that read images cannot be started: {why}; --workers 0 needs none") from error


def _checked(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Raise :class:`RecipeError` at a batch in which the user's function failed."""
    for batch in batches:
        if batch.failure:
            raise RecipeError(batch.failure)
        yield batch


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block signals while workers start, who inherit the mask: no Ctrl-C reaches them before they can ignore it."""
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
    """Give spawned processes, or the server that forks them, an empty ``__main__``."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _collate(task: Task, samples: Sequence[Sample]) -> Batch:
    readable = [(index, labels, x) for index, labels, x in samples if isinstance(x, Tensor)]
    return Batch(
        torch.stack([x for _, _, x in readable]) if readable else torch.empty(0, 3, 1, 1, dtype=torch.uint8),
        task.targets([labels for _, labels, _ in readable]),
        [index for index, _, _ in readable],
        {index: x for index, _, x in samples if isinstance(x, str)},
        next((x.message for _, _, x in samples if isinstance(x, FunctionFailure)), ""),
    )


def _generator(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _set_up_worker(_: int) -> None:
    """Set up a worker: it leaves signals to the training process, ends with it, and runs at a lower priority."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    for number in _STOPPING - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(os.getppid(), multiprocessing.parent_process()), daemon=True).start()


def _end_with(parent: int, trainer: Any) -> None:
    """End this worker when its parent or the training process is gone, or sends SIGTERM, whatever it waits for.

    SIGTERM of others is ignored: one to all processes of a job is meant for the training process, which saves first.
    """
    while os.getppid() == parent and trainer.is_alive():
        if not hasattr(signal, "sigtimedwait"):
            time.sleep(WATCH_SECONDS)
            continue
        sent = signal.sigtimedwait({signal.SIGTERM}, WATCH_SECONDS)
        if sent is not None and sent.si_pid in (parent, trainer.pid):
            break
    os._exit(0)
