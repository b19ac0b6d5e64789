"""Sets that have a name, and where they are kept: each as a list of images, which ``googlenet.fetch`` writes."""

from __future__ import annotations

import os
from pathlib import Path

from googlenet.errors import DataError
from googlenet.files import user_cache
from googlenet.text import nearest

# The official test images are `val` where a set has no official validation images: all but flowers102, which has
# both, and imagenette and imagenet, which have official validation images and no test images with labels.
NAMED = (
    "mnist", "fashion-mnist", "cifar10", "cifar100", "flowers102", "food101", "oxford-pets", "imagenette", "imagenet",
)  # fmt: skip
BY_HAND = {
    "imagenet": "it may not be downloaded without an account: get ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
    "ILSVRC2012_devkit_t12.tar.gz from image-net.org and put them there, then --download unpacks them",
}
LIST = "list.csv"
PLACE = "GOOGLENET_DATA"  # the environment variable that says where named sets are kept


def folder_of(name: str) -> Path:
    """Say where a named set is kept: below ``$GOOGLENET_DATA``, otherwise below the user's cache."""
    if told := os.environ.get(PLACE):
        return Path(told) / name
    cache = user_cache()
    if cache is None:
        raise DataError(f"there is no home directory to keep {name} in: say with {PLACE} where named sets are kept")
    return cache / "data" / name


def check_fetchable(name: str) -> None:
    """Raise :class:`DataError` where no set is called ``name``, or a folder here would be taken in its place."""
    if name not in NAMED:
        raise DataError(f"{name} is none of the sets that can be fetched: {nearest(name, NAMED)}")
    if Path(name).is_dir():
        raise DataError(f"{name} is a folder here, which goes before the set of that name: leave --download out")


def find_named(name: str) -> Path:
    """Find the list of a named set. Raises :class:`DataError` when it was not fetched yet, saying how."""
    folder = folder_of(name)
    if not (folder / LIST).is_file():
        raise DataError(f"{name} is not in {folder}: {BY_HAND.get(name, '--download fetches it')}")
    return folder / LIST
