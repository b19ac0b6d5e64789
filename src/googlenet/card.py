"""The card of a trained classifier: what it is, what it takes, how well it does. Plain JSON.

Standard library only, so that whoever receives a bundle can read its card with nothing installed.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from googlenet.errors import BundleError

FORMAT = 3  # raised when a bundle of today could not be read by the code of yesterday

# Mean and standard deviation of the pixels of ImageNet, RGB, on a scale of 0 to 1: what most published weights
# were trained with, and as good as any for a network trained from scratch.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)  # what R, G and B count for in grey (ITU-R BT.601), as Pillow has it
OTHER_MEAN, OTHER_STD = 0.5, 0.25  # of channels of which nothing is known
SHOWN = {"top1": "top-1", "top5": "top-5", "map": "mAP", "exact": "exact match"}  # scores where people read them
TOLERANCE = 0.005  # of top-1 accuracy, or mAP, that a faster precision may cost and still be taken

ToSquare = Literal["crop", "pad", "squash"]  # how a picture that is not square becomes square


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes what the network sees.

    It is resized as ``fit`` says, the centre ``size × size`` is cut out, and, inside the network's graph,
    (pixel / 255 - mean) / std is taken for each channel. ``"crop"`` resizes the shorter side to
    ``size / crop_fraction`` pixels, so that what the longer one has more is lost; ``"pad"`` the longer side, with
    grey beside the picture; ``"squash"`` both sides, which changes the proportions and loses nothing either.

    ``mean`` and ``std`` have one number a channel: one for grey pictures, three for RGB, in the order R, G, B, always,
    and others for others. ``channel_order`` is the order in which the first layer sees the normalised colours:
    ``"BGR"`` for weights made with Caffe.
    """

    size: int
    crop_fraction: float = 1.0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channel_order: Literal["RGB", "BGR"] = "RGB"
    fit: ToSquare = "crop"

    @property
    def resize(self) -> int:
        """Pixels of the resized side before the crop."""
        return round(self.size / self.crop_fraction)

    @property
    def channels(self) -> int:
        """Channels of a picture."""
        return len(self.mean)

    @property
    def kind(self) -> str:
        """Say what pictures these are: ``"RGB"``, ``"grey"`` or, say, ``"5-channel"``."""
        return {1: "grey", 3: "RGB"}.get(self.channels, f"{self.channels}-channel")


@dataclass(frozen=True)
class ModelCard:
    """``card.json`` of a bundle.

    ``network`` is the network as data, ``metrics`` what was measured on the validation pictures
    (``top1``, ``top5``, ``map`` and ``exact`` are fractions of 1), ``data`` what it was trained on (``record``: the
    sha256 of the run's ``split.csv``, which names every image with its split and content), ``files`` the
    sha256 of every file beside the card.

    ``precisions`` has, for each that was measured, ``score`` (top-1 accuracy, or mAP with several labels),
    ``latency_ms`` of one picture and ``pictures_per_second`` of many; ``measured_on`` says on which processor.

    Where a picture may be of several classes or of none (``multi_label``), the probabilities are of each class on
    its own, and ``thresholds`` say for each from which probability on, 0 to 1, a picture is taken to be of it.
    """

    name: str
    network: dict[str, Any] = field(repr=False)
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    metrics: dict[str, float] = field(default_factory=dict)
    precisions: dict[str, dict[str, float]] = field(default_factory=dict, repr=False)
    measured_on: str = ""
    temperature: float = 1.0
    multi_label: bool = False
    thresholds: tuple[float, ...] = ()
    data: dict[str, Any] = field(default_factory=dict, repr=False)
    recipe: dict[str, Any] = field(default_factory=dict, repr=False)
    versions: dict[str, str] = field(default_factory=dict, repr=False)
    files: dict[str, str] = field(default_factory=dict, repr=False)
    format: int = FORMAT

    def to_json(self) -> str:
        """Give the text of ``card.json``."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read ``card.json``. Raises :class:`BundleError` when it is damaged, foreign or too new."""
        try:
            fields = json.loads(text)
            if not isinstance(fields, dict) or not isinstance(fields.get("format"), int):
                raise BundleError("card.json is not the card of a bundle: it names no format")
            if fields["format"] > FORMAT:
                raise BundleError(
                    f"the bundle has format {fields['format']}, this version reads up to {FORMAT}: "
                    "pip install --upgrade googlenet"
                )
            names, thresholds = tuple(fields["class_names"]), tuple(fields.get("thresholds", ()))
            card = cls(**{**fields, "class_names": names, "thresholds": thresholds})
            _check_thresholds(card)
            _check_precisions(card)
            return dataclasses.replace(card, preprocessing=_preprocessing(fields["preprocessing"]))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise BundleError(f"card.json is damaged: {type(error).__name__}: {error}") from error


def _check_thresholds(card: ModelCard) -> None:
    if not isinstance(card.multi_label, bool):
        raise ValueError(f"multi_label must be true or false, got {card.multi_label!r}")
    wanted = len(card.class_names) if card.multi_label else 0
    numbers = [each for each in card.thresholds if _is_number(each) and 0 <= each <= 1]
    if not len(numbers) == len(card.thresholds) == wanted:
        raise ValueError(f"thresholds must be {wanted} numbers from 0 to 1, got {card.thresholds}")


def _check_precisions(card: ModelCard) -> None:
    found: Any = card.precisions
    tables = list(found.values()) if isinstance(found, dict) else [None]
    if not all(isinstance(table, dict) and all(map(_is_number, table.values())) for table in tables):
        raise ValueError(f"precisions must be tables of numbers, got {found}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _preprocessing(fields: dict[str, Any]) -> Preprocessing:
    found = Preprocessing(**{**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})
    numbers = (found.size, found.crop_fraction, *found.mean, *found.std)
    as_many = 1 <= len(found.mean) == len(found.std)
    if not as_many or not all(map(_is_number, numbers)):
        raise ValueError(
            f"preprocessing needs a size, a crop_fraction, a mean and a std for each channel, got {fields}"
        )
    if not 1 <= found.size <= 4096 or not 0.1 <= found.crop_fraction <= 1:
        raise ValueError(f"size must be 1 to 4096 and crop_fraction 0.1 to 1, got {fields}")
    if found.channel_order not in ("RGB", "BGR"):
        raise ValueError(f"channel_order must be RGB or BGR, got {fields}")
    if found.channel_order == "BGR" and found.channels != 3:
        raise ValueError(f"channel_order BGR is for 3 channels, got {fields}")
    if found.fit not in get_args(ToSquare):
        raise ValueError(f"fit must be {', '.join(get_args(ToSquare))}, got {fields}")
    return found
