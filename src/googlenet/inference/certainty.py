"""What a bundle knows of how sure its answers are: ``certainty.npz``, read with every check. numpy alone."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from googlenet.bundle import CERTAINTY, Bundle
from googlenet.card import ModelCard
from googlenet.checks.arrays import ArrayLimits, read_npz
from googlenet.errors import BundleError, GoogLeNetError
from googlenet.inference import conformal
from googlenet.inference.conformal import METHODS
from googlenet.inference.origin import OFF, ONE_CROP, Origin, read_again
from googlenet.inference.unknown import ARRAYS, FALSE_ALARMS, MIN_IMAGES, Detector
from googlenet.text import printable

MAX_BYTES = 5_000_000
MIN_CALIBRATION_IMAGES = 10  # held-out images; with fewer, neither temperature nor scores are worth anything
MAX_SCORES = 2_000  # held-out images: the coverage of sets at 90 % then varies by 0.7 points


@dataclass(frozen=True)
class Certainty:
    """Scores of held-out images, sorted: of each method of conformal sets (N,), and what tells unusual images.

    ``conformal`` is empty where images may have several labels, ``detector`` is ``None`` for a network without
    embeddings.
    """

    conformal: dict[str, NDArray[np.float32]]
    detector: Detector | None

    def to_bytes(self) -> bytes:
        """Return the content of ``certainty.npz``."""
        arrays = dict(self.conformal)
        if self.detector is not None:
            arrays |= self.detector.arrays()
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        return content.getvalue()


_SCORES: dict[str, ArrayLimits] = dict.fromkeys(METHODS, ("f4", (None,), MAX_SCORES))


def read_certainty(bundle: Bundle) -> Certainty | None:
    """Read ``certainty.npz`` of a bundle; ``None`` if it has none, as those of earlier versions.

    Raises :class:`BundleError` if it is damaged, altered, or holds other arrays than ours.
    """
    is_here = bundle.holds(CERTAINTY)
    if not is_here:
        return None
    content = bundle.read(CERTAINTY)
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has {len(content):,} bytes, ours have {MAX_BYTES:,} at most")
        arrays = read_npz(content, {**_SCORES, **ARRAYS}, optional=True)
        scores = {name: arrays[name] for name in METHODS if name in arrays}
        return Certainty(scores, Detector.of(arrays) if ARRAYS.keys() & arrays.keys() else None)
    except ValueError as error:
        where = printable(str(bundle.path / CERTAINTY))
        raise BundleError(f"{where} is damaged: {printable(str(error))}; copy the bundle again") from error


def scores_of(bundle: Bundle, method: str = conformal.LAC) -> NDArray[np.float32]:
    """Return the calibration scores (N,) for conformal sets.

    Raises :class:`GoogLeNetError` if there is no such method, :class:`BundleError` if the bundle has no scores.
    """
    if method not in METHODS:
        raise GoogLeNetError(f"sets are made by {' or '.join(METHODS)}, got {method!r}")
    if bundle.card.multi_label:
        raise BundleError(
            f"{bundle.card.name} has several labels for an image, which are no set of classes: its labels are those "
            "above their thresholds"
        )
    certainty = read_certainty(bundle)
    if certainty is None or method not in certainty.conformal:
        few = _too_few(bundle.card, f"that takes {MIN_CALIBRATION_IMAGES} images", MIN_CALIBRATION_IMAGES)
        raise BundleError(
            f"{printable(str(bundle.path))} has no scores of held-out images, which sets need: "
            f"{few or 'train it with this version'}"
        )
    return certainty.conformal[method]


def _too_few(card: ModelCard, it_takes: str, needed: int) -> str:
    """Return how many images it takes and how many there were, or "" where as many as ``needed`` were held out."""
    count = next((count for count in map(card.data.get, ("calibrate", "val")) if isinstance(count, int) and count), 0)
    return f"{it_takes}, and its training held out {count:,}" if count < needed else ""


def check_sets(bundle: Bundle, level: float, method: str = conformal.LAC) -> None:
    """Raise :class:`GoogLeNetError` unless sets can be made at this level."""
    conformal.check_level(level)
    conformal.limit(scores_of(bundle, method), level)


def check_rate(bundle: Bundle, rate: float) -> None:
    """Raise :class:`GoogLeNetError` unless images can be called unknown at this rate of false alarms."""
    if not isinstance(rate, (int, float)) or isinstance(rate, bool) or not 0 < rate < 1:
        raise GoogLeNetError(f"the rate of false alarms is between 0 and 1, got {rate!r}: 0.05 is 5 % of known images")
    certainty = read_certainty(bundle)
    if certainty is None or certainty.detector is None:
        usual = 2 * conformal.images_needed(1 - FALSE_ALARMS)
        takes = f"that takes {MIN_IMAGES} held-out images, {usual} for a rate of {100 * FALSE_ALARMS:.4g} %"
        other = "train it with this version, a network that ends in a linear layer"
        raise BundleError(
            f"{printable(str(bundle.path))} cannot tell unknown images: "
            f"{_too_few(bundle.card, takes, MIN_IMAGES) or other}"
        )
    known = len(certainty.detector.known)
    if rate * (known + 1) < 1 - 1e-9:
        raise GoogLeNetError(
            f"a rate of {100 * rate:.4g} % needs {2 * conformal.images_needed(1 - rate):,} held-out images, half of "
            f"which say how unusual known images are; the classifier has {known:,} of these: ask for "
            f"{100 / (known + 1):.2g} % or more"
        )


@lru_cache(maxsize=8)
def limit_of(origin: Origin, level: float, method: str) -> float:
    """Return the limit of :func:`googlenet.inference.conformal.limit` for the classifier of a prediction.

    Raises :class:`GoogLeNetError` where it answers from many crops.
    """
    if origin.crops != ONE_CROP:
        raise GoogLeNetError(
            f"sets are calibrated by answers from one crop, and these are from {origin.crops}: predict with crops=1"
        )
    if origin.exit != OFF:
        raise GoogLeNetError("sets are calibrated by answers of the full network: predict without exit")
    return conformal.limit(scores_of(read_again(origin), method), level)


class WithCertainty:
    """How sure a prediction is: its part of :class:`~googlenet.inference.classifier.Prediction`."""

    class_names: tuple[str, ...]
    probabilities: NDArray[np.float32]
    origin: Origin
    p_value: float | None

    @property
    def is_unknown(self) -> bool:
        """Whether the image is unlike those the classifier knows: its ``p_value`` is 5 % or less.

        So about 5 % of images that it does know are called unknown as well; for another rate, compare ``p_value``
        with it. Always ``False`` for a bundle that does not tell.
        """
        return self.p_value is not None and self.p_value <= FALSE_ALARMS

    def set(self, level: float = 0.9, method: str = conformal.LAC) -> tuple[str, ...]:
        """Return the classes that may be the true one, the most probable first: a conformal set.

        It holds the true class with a probability of ``level``, on average over images that come from where the
        held-out images of training came from. ``"lac"`` makes the smallest sets, which may be empty; those of
        ``"aps"`` are larger and fit hard images better (:mod:`googlenet.inference.conformal`).

        Raises :class:`BundleError` if the bundle has no scores of held-out images, is gone or has changed;
        :class:`GoogLeNetError` if there were too few for this level, naming the number that is needed.

        ::

            classifier.predict("daisy.jpg").set(0.95)  # ("daisy", "dandelion")
        """
        conformal.check_level(level)
        return self.within(limit_of(self.origin, float(level), method), method)

    def within(self, limit: float, method: str = conformal.LAC) -> tuple[str, ...]:
        """Return the classes whose score does not exceed a limit (:func:`conformal.limit`), the most probable first."""
        inside = conformal.sets(self.probabilities[None], limit, method)[0]
        order = np.argsort(-self.probabilities, kind="stable")
        return tuple(self.class_names[index] for index in order if inside[index])
