"""``verify``: replay the outputs a bundle must give, on the machine where it is now."""

from __future__ import annotations

import io
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from googlenet import bundle as bundles
from googlenet.bundle import GOLDEN
from googlenet.card import Preprocessing
from googlenet.data.pictures import Pictures
from googlenet.errors import BundleError, DataError, ImageError
from googlenet.images.decode import Pixels
from googlenet.images.preprocess import prepare
from googlenet.inference.engine import Engine

GOLDEN_PICTURES = 4
TOLERANCE = 1e-4  # of a probability, between PyTorch where it was trained and OpenVINO here


@dataclass(frozen=True)
class Verification:
    """What was checked: files hashed, golden pictures replayed, the largest difference of a probability."""

    path: Path
    files: tuple[str, ...]
    pictures: int
    largest_difference: float
    seconds: float


def verify(path: str | Path) -> Verification:
    """Check every hash of a bundle and replay its golden pictures.

    Raises :class:`BundleError` when a file is missing or altered, or an output differs by more than 1e-4.
    """
    start = time.perf_counter()
    bundle = bundles.read(path)
    contents = {name: bundle.read(name) for name in sorted(bundle.card.files)}
    if GOLDEN not in contents:
        raise BundleError(f"{bundle.path} holds no {GOLDEN}: there is nothing to replay")
    try:
        with np.load(io.BytesIO(contents[GOLDEN]), allow_pickle=False) as golden:
            images, expected = golden["images"], golden["probabilities"]
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise BundleError(f"{bundle.path / GOLDEN} is damaged: {error}") from error
    difference = float(np.abs(Engine(bundle).probabilities(images) - expected).max())
    if not difference <= TOLERANCE:
        raise BundleError(
            f"{bundle.path}: a golden probability differs by {difference:.2g}, allowed is {TOLERANCE:g}: "
            "this machine does not compute what the bundle was made with"
        )
    return Verification(bundle.path, tuple(contents), len(images), difference, time.perf_counter() - start)


def golden_inputs(pictures: Pictures, rule: Preprocessing) -> Pixels:
    """Pick a few readable pictures, spread over the classes, as the network sees them: (N, S, S, C) uint8.

    Raises :class:`DataError` where none can be read.
    """
    found: list[Pixels] = []
    stride = max(1, len(pictures) // GOLDEN_PICTURES)
    for item in (*pictures.items[::stride], *pictures.items):
        try:
            found.append(prepare(item.read(rule.channels, rule.resize), rule))
        except ImageError as error:
            reason = str(error)
        if len(found) == GOLDEN_PICTURES:
            break
    if not found:
        raise DataError(f"none of the {len(pictures)} validation pictures could be read: {reason}")
    return np.stack(found)
