"""Which classifier made a prediction: enough to find it again, and to tell whether it has changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from googlenet import bundle as bundles
from googlenet.bundle import Bundle
from googlenet.card import ModelCard
from googlenet.errors import BundleError, GoogLeNetError
from googlenet.text import printable

ONE_CROP, AUTO = "1", "auto"
CROPS = (ONE_CROP, "10", "144", AUTO)  # how many parts of an image are answered from
OFF, ALWAYS = "off", "always"
EXIT_MODES = (OFF, AUTO, ALWAYS)  # whether an auxiliary head may answer


@dataclass(frozen=True)
class Origin:
    """Which classifier made a prediction: enough to load it again, and to tell whether it has changed."""

    bundle: Path  # absolute
    identity: str  # a hash of everything its answers depend on
    precision: str
    threads: int | None = None
    device: str = "cpu"
    crops: str = ONE_CROP
    exit: str = OFF


def identity(card: ModelCard) -> str:
    """Return a hash of everything that the answers of a bundle depend on."""
    decides = (card.files, card.class_names, card.preprocessing, card.thresholds)
    return hashlib.sha256(repr(decides).encode(errors="surrogatepass")).hexdigest()


def read_again(origin: Origin) -> Bundle:
    """Read the bundle that made a prediction. Raises :class:`BundleError` if it is gone, or has changed."""
    bundle = bundles.read(origin.bundle)
    if identity(bundle.card) != origin.identity:
        raise BundleError(f"{printable(str(origin.bundle))} has changed since: load it, and pass it the image again")
    return bundle


def check_crops(crops: object) -> str:
    """Return a number of crops as one of ``"1"``, ``"10"``, ``"144"`` and ``"auto"``.

    Raises :class:`GoogLeNetError` for others.
    """
    if isinstance(crops, bool) or str(crops) not in CROPS:
        raise GoogLeNetError(f"crops are {', '.join(CROPS[:-1])} or {AUTO}, got {crops!r}")
    return str(crops)
