"""Public data sets by name, and where they are stored: each as a list of images that ``googlenet.fetch`` writes."""

from __future__ import annotations

import os
from pathlib import Path

from googlenet.errors import DataError
from googlenet.files import user_cache
from googlenet.text import nearest

# The official test images become `val`, except for flowers102, which has both, and for imagenette and imagenet, which
# have official validation images but no test images with labels.
NAMED = (
    "mnist", "fashion-mnist", "cifar10", "cifar100", "flowers102", "food101", "oxford-pets", "imagenette", "imagenet",
)  # fmt: skip
BY_HAND = {
    "imagenet": "it may not be downloaded without an account: get ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
    "ILSVRC2012_devkit_t12.tar.gz from image-net.org and put them there, then --download unpacks them",
}
LIST = "list.csv"
VARIABLE = "GOOGLENET_DATA"  # environment variable: the folder of named sets


def folder_of(name: str) -> Path:
    """Return the folder of a named set: below ``$GOOGLENET_DATA``, by default below the user's cache."""
    if folder := os.environ.get(VARIABLE):
        return Path(folder) / name
    cache = user_cache()
    if cache is None:
        raise DataError(f"there is no home directory to keep {name} in: say with {VARIABLE} where named sets are kept")
    return cache / "data" / name


def check_fetchable(name: str) -> None:
    """Raise :class:`DataError` if no set is called ``name``, or a folder of that name would be read instead."""
    if name not in NAMED:
        raise DataError(f"{name} is none of the sets that can be fetched: {nearest(name, NAMED)}")
    if Path(name).is_dir():
        raise DataError(f"{name} is a folder here, which goes before the set of that name: leave --download out")


def find_named(name: str) -> Path:
    """Return the list of a named set. Raises :class:`DataError` if it was not fetched yet."""
    folder = folder_of(name)
    if not (folder / LIST).is_file():
        raise DataError(f"{name} is not in {folder}: {BY_HAND.get(name, '--download fetches it')}")
    return folder / LIST
