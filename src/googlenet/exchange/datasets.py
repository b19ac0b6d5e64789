"""``fetch``: well-known data sets. torchvision downloads and unpacks them; a CSV list says what is in them.

torchvision checks the archives against their known checksums, and CIFAR's pickled files before it opens them. The
folder then holds ordinary images and a CSV list, which are read without torch.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision import datasets
from torchvision.models import ResNet18_Weights

from googlenet.data.datasets import BY_HAND, LIST, check_fetchable, folder_of
from googlenet.errors import DiskFullError, FetchError
from googlenet.files import write_error

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Source:
    """A class of torchvision, its arguments for each of our splits, and how many images there must be.

    ``sizes`` are needed where torchvision takes whatever images it finds, to detect an incomplete set.
    """

    dataset: Callable[..., Any]
    splits: dict[str, dict[str, Any]]
    sizes: dict[str, int] = field(default_factory=dict)


_OFFICIAL = {"train": {"train": True}, "val": {"train": False}}
_SOURCES = {
    "mnist": _Source(datasets.MNIST, _OFFICIAL),
    "fashion-mnist": _Source(datasets.FashionMNIST, _OFFICIAL),
    "cifar10": _Source(datasets.CIFAR10, _OFFICIAL),
    "cifar100": _Source(datasets.CIFAR100, _OFFICIAL),
    "flowers102": _Source(
        datasets.Flowers102, {name: {"split": name, "loader": Path} for name in ("train", "val", "test")}
    ),
    "food101": _Source(
        datasets.Food101, {"train": {"split": "train", "loader": Path}, "val": {"split": "test", "loader": Path}}
    ),
    "oxford-pets": _Source(datasets.OxfordIIITPet, {"train": {"split": "trainval"}, "val": {"split": "test"}}),
    "imagenette": _Source(
        datasets.Imagenette,
        {name: {"split": name, "loader": Path} for name in ("train", "val")},
        {"train": 9_469, "val": 3_925},
    ),
    "imagenet": _Source(
        datasets.ImageNet,
        {name: {"split": name, "loader": Path} for name in ("train", "val")},
        {"train": 1_281_167, "val": 50_000},
    ),
}


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Download a named data set, unless it is there, and return the list that ``train`` and ``evaluate`` read.

    It goes to ``$GOOGLENET_DATA`` or the user's cache. Archives that are there already are used.
    The official test images are ``val`` where a set has no official validation images.

    Args:
        name: mnist, fashion-mnist, cifar10, cifar100, flowers102, food101, oxford-pets, imagenette or imagenet
            (whose archives must be put into its folder by hand).
        progress: called with the number of images done and their total, once they are downloaded.

    Raises:
        DataError: there is no such set, or a folder of its name is here, which would be used instead.
        FetchError: the download failed or is incomplete.
        DiskFullError: the disk is full.

    ::

        googlenet.fetch("cifar10")
        googlenet.train("cifar10", out="runs/cifar10")
    """
    check_fetchable(name)
    folder = folder_of(name)
    target = folder / LIST
    if target.is_file():
        return target
    with _errors_of(name, folder):
        folder.mkdir(parents=True, exist_ok=True)
        parts = {split: _dataset(name, split, folder) for split in _SOURCES[name].splits}
        unfinished = folder / f".{LIST}.{os.getpid()}"
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("path", "label", "split"), *_rows(name, parts, folder, progress)])
        unfinished.replace(target)  # the list comes last: where it is, the set is whole
    return target


def _dataset(name: str, split: str, folder: Path) -> Any:
    source = _SOURCES[name]
    download = {} if name in BY_HAND else {"download": True}
    dataset = source.dataset(folder, **source.splits[split], **download)
    wanted = source.sizes.get(split, len(dataset))
    if len(dataset) != wanted:
        raise FetchError(
            f"{name} in {folder} is not whole: it has {len(dataset):,} images of {split} and should have {wanted:,}; "
            "delete what was unpacked there and fetch it again"
        )
    return dataset


def _rows(name: str, parts: dict[str, Any], folder: Path, progress: Progress | None) -> Iterator[tuple[str, str, str]]:
    done, total = 0, sum(map(len, parts.values()))
    for split, dataset in parts.items():
        class_names = _class_names(name, dataset)
        for index in range(len(dataset)):
            path, label = _file(dataset, index, folder / split)
            yield path.relative_to(folder).as_posix(), class_names[label], split
            done += 1
            if progress:
                progress(done, total)


def _file(dataset: Any, index: int, folder: Path) -> tuple[Path, int]:
    """Return the path and label of an image. One from an array is written as PNG, without loss."""
    if isinstance(dataset, datasets.OxfordIIITPet):
        return dataset._images[index], dataset._labels[index]  # without decoding: it takes no loader
    image, label = dataset[index]
    if isinstance(image, Image.Image):
        folder.mkdir(exist_ok=True)
        path = folder / f"{index:05d}.png"
        image.save(path)
        return path, label
    return image, label


def _class_names(name: str, dataset: Any) -> list[str]:
    """Return the class names that published weights use: the first of several, and unique ones for ImageNet."""
    names = ResNet18_Weights.DEFAULT.meta["categories"] if name == "imagenet" else dataset.classes
    return [each if isinstance(each, str) else each[0] for each in names]


@contextmanager
def _errors_of(name: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except FetchError:
        raise
    except Exception as error:  # torchvision and its dependencies raise errors of many families
        if isinstance(error, OSError) and isinstance(full := write_error(folder, error), DiskFullError):
            raise full from error
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        hint = BY_HAND.get(name, "check the connection, delete what is damaged there if anything is, and try again")
        raise FetchError(f"{name} could not be fetched to {folder}: {reason}: {hint}") from error
