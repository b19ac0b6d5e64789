"""The card of a trained classifier: what it is, what it takes, how well it does. Plain JSON.

Standard library only, so that whoever receives a bundle can read its card with nothing installed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from googlenet.errors import BundleError
from googlenet.text import json_text

FORMAT = 4  # raised when a bundle of today could not be read by the code of yesterday
SEALED = 4  # the format from which on the card holds its own sha256

_UNTOLD = ("value_range", None)  # the one list of the preprocessing that may be left open

# What a card may hold: far more than any of ours, and little enough to be read in no time.
MAX_CARD_BYTES = 2**23
MAX_CLASSES = 100_000
MAX_CHANNELS = 1024
MAX_NAME = 1024  # characters of a class, a network, a file, a version
MAX_TEXT = 2**16  # characters of any other text
MAX_DEPTH = 64  # of lists and tables in each other
MAX_FILES = 64
MAX_ERROR = 300  # characters of what is said to be wrong

# Mean and standard deviation of the pixels of ImageNet, RGB, on a scale of 0 to 1: what most published weights
# were trained with, and as good as any for a network trained from scratch.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)  # what R, G and B count for in grey (ITU-R BT.601), as Pillow has it
OTHER_MEAN, OTHER_STD = 0.5, 0.25  # of channels of which nothing is known
METRIC_TITLES = {
    "top1": "top-1",
    "top5": "top-5",
    "map": "mAP",
    "exact": "exact match",
}  # scores where people read them
TOLERANCE = 0.005  # of top-1 accuracy, or mAP, that a faster precision may cost and still be taken

ResizeMode = Literal["crop", "pad", "squash"]  # how an image that is not square becomes square
ColorProfiles = Literal["applied", "ignored"]  # what is done with the colour profile in an image file


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes what the network sees.

    It is resized as ``resize`` says, the centre ``size × size`` is cut out, and, inside the network's graph,
    (pixel / 255 - mean) / std is taken for each channel. ``"crop"`` resizes the shorter side to
    ``size / crop_fraction`` pixels, so that what the longer one has more is lost; ``"pad"`` the longer side, with
    grey beside the image; ``"squash"`` both sides, which changes the proportions and loses nothing either.

    ``mean`` and ``std`` have one number a channel: one for grey images, three for RGB, in the order R, G, B, always,
    and others for others. ``channel_order`` is the order in which the first layer sees the normalised colours:
    ``"BGR"`` for weights made with Caffe.

    ``value_range`` says which values of images deeper than 8 bits become 0 and 255, where their files do not say it
    themselves; ``None``: each image by its type or its own values. ``color_profiles`` says whether colours in another
    space than sRGB are converted to it; bundles of format 3 and older were made without.
    """

    size: int
    crop_fraction: float = 1.0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channel_order: Literal["RGB", "BGR"] = "RGB"
    resize: ResizeMode = "crop"
    value_range: tuple[float, float] | None = None
    color_profiles: ColorProfiles = "applied"

    @property
    def resized_side(self) -> int:
        """Pixels of the resized side before the crop."""
        return round(self.size / self.crop_fraction)

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return len(self.mean)

    @property
    def kind(self) -> str:
        """Say what images these are: ``"RGB"``, ``"grey"`` or, say, ``"5-channel"``."""
        return {1: "grey", 3: "RGB"}.get(self.channels, f"{self.channels}-channel")


@dataclass(frozen=True)
class ModelCard:
    """``card.json`` of a bundle.

    ``network`` is the network as data, ``metrics`` what was measured on the validation images
    (``top1``, ``top5``, ``map`` and ``exact`` are fractions of 1), ``data`` what it was trained on (``record``: the
    sha256 of the run's ``split.csv``, which names every image with its split and content), ``files`` the
    sha256 of every file beside the card.

    ``precisions`` has, for each that was measured, ``score`` (top-1 accuracy, or mAP with several labels),
    ``latency_ms`` of one image and ``images_per_second`` of many; ``measured_on`` says on which processor.

    Where an image may be of several classes or of none (``multi_label``), the probabilities are of each class on
    its own, and ``thresholds`` say for each from which probability on, 0 to 1, an image is taken to be of it.
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
        """Give the text of ``card.json``. From format 4 on its last line is the sha256 of all else."""
        fields = json.loads(json_text(dataclasses.asdict(self)))  # as it will be read: lists, and keys that are text
        for table in (fields["metrics"], *fields["precisions"].values()):
            for name in [name for name, value in table.items() if not math.isfinite(value)]:
                del table[name]  # a loss that overflowed is nothing that was measured
        seal = {"sha256": _digest(fields)} if self.format >= SEALED else {}
        return json_text(fields | seal, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read ``card.json``. Raises :class:`BundleError` when it is damaged, altered, foreign or too new."""
        try:
            fields = parse_json(text)
            if not isinstance(fields, dict) or not _is_whole(fields.get("format"), 1, math.inf):
                raise BundleError("card.json is not the card of a bundle: it names no format")
            if fields["format"] > FORMAT:
                raise BundleError(
                    f"the bundle has format {fields['format']}, this version reads up to {FORMAT}: "
                    "pip install --upgrade googlenet"
                )
            seal = fields.pop("sha256", None)
            check_keys(fields, *_keys(cls))
            names = _names(fields["class_names"])
            card = cls(**{**fields, "class_names": names, "thresholds": fields.get("thresholds", [])})
            _check_kinds(card)
            _check_thresholds(card)
            _check_precisions(card)
            preprocessing = _preprocessing(fields["preprocessing"])
            card = dataclasses.replace(card, preprocessing=preprocessing, thresholds=tuple(card.thresholds))
        except ValueError as error:
            raise BundleError(f"card.json is damaged: {_cut(error)}") from error
        if card.format >= SEALED and seal != _digest(fields):
            raise BundleError("card.json was altered or damaged: its sha256 is not the one of its text; copy it again")
        return card


def parse_json(text: str) -> Any:
    """Parse JSON from elsewhere strictly: bounded, no key twice, only finite numbers and text that UTF-8 can hold.

    Raises :class:`ValueError`, whose text says what is wrong.
    """
    if len(text) > MAX_CARD_BYTES:
        raise ValueError(f"more than {MAX_CARD_BYTES:,} characters")
    try:
        value = json.loads(text, object_pairs_hook=_table, parse_constant=_finite, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON from line {error.lineno}, column {error.colno} on") from error
    except RecursionError as error:
        raise ValueError(f"deeper than {MAX_DEPTH}") from error
    _check_plain(value)
    return value


def check_keys(table: Any, required: Iterable[str], known: Iterable[str], prefix: str = "") -> None:
    """Raise :class:`ValueError` unless ``table`` is one that has all keys that are ``required`` and none not ``known``.

    >>> check_keys({"newkey": 1}, ["name"], ["name", "network"])
    Traceback (most recent call last):
    ValueError: name is missing; newkey is not known
    """
    if not isinstance(table, dict):
        raise ValueError(f"{prefix or 'it'} should be a table, got {json_text(table)[:80]}")
    at = f"{prefix}." if prefix else ""
    wrong = [f"{at}{key} is missing" for key in required if key not in table]
    wrong += [f"{at}{key[:80]} is not known" for key in table.keys() - set(known)]
    if wrong:
        raise ValueError("; ".join(wrong[:5]))


def _keys(cls: type[Any]) -> tuple[list[str], list[str]]:
    """Give the keys that a table for a dataclass must have, and those that it may have."""
    fields = dataclasses.fields(cls)
    unset = dataclasses.MISSING
    required = [each.name for each in fields if each.default is unset and each.default_factory is unset]
    return required, [each.name for each in fields]


def _numbers(name: str, found: Any) -> tuple[float, ...]:
    if not isinstance(found, list) or not all(map(_is_number, found)):
        raise ValueError(f"{name} should be a list of numbers, got {json_text(found)[:80]}")
    return tuple(found)


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key is there twice")
    return table


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


def _check_plain(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        _check_all(value, depth)
        _check_all(value.values(), depth)
    elif isinstance(value, list):
        _check_all(value, depth)
    elif isinstance(value, str):
        value.encode()
        if len(value) > MAX_TEXT:
            raise ValueError(f"a text of more than {MAX_TEXT:,} characters")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("a number of more than 63 bits")


def _check_all(values: Iterable[Any], depth: int) -> None:
    for each in values:
        _check_plain(each, depth + 1)


def _digest(fields: dict[str, Any]) -> str:
    """Hash what a card says, however it is laid out: JSON with sorted keys and nothing between."""
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _cut(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= MAX_ERROR else text[:MAX_ERROR] + "…"


def _names(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_CLASSES or not all(map(_is_name, found)):
        raise ValueError(f"class_names must be a list of 1 to {MAX_CLASSES:,} names of up to {MAX_NAME:,} characters")
    return tuple(found)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME


def _check_kinds(card: ModelCard) -> None:
    wrong = [name for name, fits in _KINDS.items() if not fits(getattr(card, name))]
    if wrong:
        raise ValueError("; ".join(f"{name} cannot be {json_text(getattr(card, name))[:80]}" for name in wrong))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_files(value: Any) -> bool:
    """Whether these are names of files beside the card, none a way to another place, each with a sha256."""
    return (
        isinstance(value, dict)
        and len(value) <= MAX_FILES
        and all(isinstance(digest, str) and len(digest) == 64 for digest in value.values())
        and all(0 < len(name.encode()) <= 255 and not set(name) & set("/\\:\0") for name in value)
        and not {".", ".."} & set(value)
    )


_KINDS: dict[str, Callable[[Any], bool]] = {
    "name": _is_name,
    "network": _is_table,
    "metrics": lambda value: _is_table(value) and all(map(_is_number, value.values())),
    "measured_on": _is_name,
    "temperature": lambda value: _is_number(value) and value > 0,
    "data": lambda value: _is_table(value) and isinstance(value.get("name", ""), str),
    "recipe": lambda value: (
        _is_table(value)
        and _is_whole(value.get("seed", 0), 0, math.inf)
        and _is_number(value.get("val_fraction", 0.5))
        and 0 < value.get("val_fraction", 0.5) < 1
    ),
    "versions": lambda value: _is_table(value) and all(map(_is_name, value.values())),
    "files": _is_files,
}


def _check_thresholds(card: ModelCard) -> None:
    if not isinstance(card.multi_label, bool):
        raise ValueError(f"multi_label must be true or false, got {card.multi_label!r}")
    wanted = len(card.class_names) if card.multi_label else 0
    found: Any = card.thresholds
    numbers = [each for each in found if _is_number(each) and 0 <= each <= 1] if isinstance(found, list) else None
    shown = tuple(found) if isinstance(found, list) else json_text(found)[:80]
    if numbers is None or not len(numbers) == len(found) == wanted:
        raise ValueError(f"thresholds must be {wanted} numbers from 0 to 1, got {shown}")


def _check_precisions(card: ModelCard) -> None:
    found: Any = card.precisions
    tables = list(found.values()) if isinstance(found, dict) else [None]
    if not all(isinstance(table, dict) and all(map(_is_number, table.values())) for table in tables):
        raise ValueError(f"precisions must be tables of numbers, got {found}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any, least: float, most: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _preprocessing(fields: dict[str, Any]) -> Preprocessing:
    check_keys(fields, *_keys(Preprocessing), prefix="preprocessing")
    lists = [name for name in ("mean", "std", "value_range") if name in fields and (name, fields[name]) != _UNTOLD]
    sequences: dict[str, Any] = {name: _numbers(f"preprocessing.{name}", fields[name]) for name in lists}
    found = Preprocessing(**{"color_profiles": "ignored", **fields, **sequences})
    as_many = 1 <= len(found.mean) == len(found.std) <= MAX_CHANNELS
    if not as_many or not _is_number(found.size) or not _is_number(found.crop_fraction):
        raise ValueError(
            f"preprocessing needs a size, a crop_fraction, a mean and a std for each channel, got {fields}"
        )
    if min(found.std) <= 0 or max(map(abs, (*found.mean, *found.std))) > 1e6:
        raise ValueError(f"std must be above 0, and neither it nor mean above 10⁶, got {fields}")
    if not _is_whole(found.size, 1, 4096) or not 0.1 <= found.crop_fraction <= 1:
        raise ValueError(f"size must be 1 to 4096 and crop_fraction 0.1 to 1, got {fields}")
    if found.channel_order not in ("RGB", "BGR"):
        raise ValueError(f"channel_order must be RGB or BGR, got {fields}")
    if found.channel_order == "BGR" and found.channels != 3:
        raise ValueError(f"channel_order BGR is for 3 channels, got {fields}")
    if found.resize not in get_args(ResizeMode):
        raise ValueError(f"fit must be {', '.join(get_args(ResizeMode))}, got {fields}")
    check_reading(found)
    return found


def check_reading(found: Preprocessing) -> None:
    """Raise :class:`ValueError` where it does not say how image files are read."""
    if found.color_profiles not in get_args(ColorProfiles):
        raise ValueError(f"color_profiles must be applied or ignored, got {found.color_profiles!r}")
    if found.value_range is not None:
        span: Any = found.value_range
        pair = isinstance(span, list | tuple) and len(span) == 2
        if not pair or not all(_is_number(each) and math.isfinite(each) for each in span) or span[0] >= span[1]:
            raise ValueError(f"value_range must be two numbers, the lower one first, got {found.value_range}")
