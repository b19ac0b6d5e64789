"""The card of a trained classifier: its network, classes, preprocessing and metrics. Plain JSON.

Standard library only, so that the card of a bundle can be read with nothing installed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from googlenet import former
from googlenet.errors import BundleError
from googlenet.preprocessing import Preprocessing, preprocessing_from_json
from googlenet.strict_json import check_keys, is_number, is_table, is_whole, keys_of, parse_json
from googlenet.text import json_text

FORMAT = 6  # raised when earlier code could not read a new bundle
SEALED = 4  # since this format the card holds its own sha256
MAX_CLASSES = 100_000
MAX_NAME = 1024  # characters of a class, a network, a file, a version
MAX_FILES = 64
MAX_ERROR = 300  # characters of a message about a damaged card

PASSES, FAILS, NOT_SHOWN = "passes", "fails", "not shown"  # of a method to explain answers, checked on images
VERDICTS = (PASSES, FAILS, NOT_SHOWN)
TOLERANCE = 0.005  # of top-1 accuracy, or mAP, that a faster precision may lose and still be chosen


@dataclass(frozen=True)
class ModelCard:
    """``card.json`` of a bundle.

    ``network`` is the network as data. ``metrics`` was measured on the validation images (``googlenet.metrics`` has
    titles and units). ``intervals`` has the ends of the 95 % interval, ``low`` and ``high``, of each metric that is a
    share of ``n`` images, unless images have groups. ``data`` is what it was trained on (``record``: the sha256 of the
    run's ``split.csv``, which has the split and the content of every image). ``files`` has the sha256 of every file
    beside the card.

    ``precisions`` has, for each that was measured, ``score`` (top-1 accuracy, or mAP with several labels),
    ``latency_ms`` of one image and ``images_per_second`` of many; ``measured_on`` says on which processor.

    ``temperature`` divides the logits before the softmax; with several labels it is a number for each class, before the
    sigmoid. Training fits it on held-out images, and it stays 1 where it does not lower their log loss; graphs and
    programs that are exported apply it. ``calibration`` has the number of these ``images``, and their ``log_loss`` and
    ``log_loss_uncalibrated``; it is empty where nothing was fitted.

    With ``mirror`` the graph runs each image and its mirror image, and answers with the mean of their probabilities;
    the temperature then divides the logits that this mean has.
    ``metrics`` are of that, and ``metrics["mirror_gain"]`` is how much better the main one is than without, as a
    fraction of 1.

    ``explanations`` has a verdict on each method to explain answers that was checked on images of the user
    (:func:`googlenet.check_explanations`): ``"passes"``, ``"fails"`` or ``"not shown"``.

    With ``multi_label`` an image may have several classes or none: each class has its own probability, and a class
    is predicted where that reaches the class's threshold, 0 to 1 (``thresholds``).
    """

    name: str
    network: dict[str, Any] = field(repr=False)
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, dict[str, float]] = field(default_factory=dict, repr=False)
    precisions: dict[str, dict[str, float]] = field(default_factory=dict, repr=False)
    measured_on: str = ""
    temperature: float | tuple[float, ...] = 1.0
    calibration: dict[str, float] = field(default_factory=dict, repr=False)
    mirror: bool = False
    explanations: dict[str, str] = field(default_factory=dict, repr=False)
    multi_label: bool = False
    thresholds: tuple[float, ...] = ()
    data: dict[str, Any] = field(default_factory=dict, repr=False)
    recipe: dict[str, Any] = field(default_factory=dict, repr=False)
    versions: dict[str, str] = field(default_factory=dict, repr=False)
    files: dict[str, str] = field(default_factory=dict, repr=False)
    format: int = FORMAT

    @property
    def views(self) -> int:
        """How many images the network sees for each one: 2 with ``mirror``."""
        return 2 if self.mirror else 1

    def to_json(self) -> str:
        """Return the text of ``card.json``. Since format 4 its last line is the sha256 of the rest."""
        fields = json.loads(json_text(dataclasses.asdict(self)))  # as it will be read: lists, and text as keys
        for table in (fields["metrics"], *fields["precisions"].values()):
            for name in [name for name, value in table.items() if not math.isfinite(value)]:
                del table[name]  # a loss that overflowed is not a measurement
        seal = {"sha256": _digest(fields)} if self.format >= SEALED else {}
        return json_text(fields | seal, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read ``card.json``. Raises :class:`BundleError` if it is damaged, changed, foreign or too new."""
        try:
            fields = parse_json(text)
            if not isinstance(fields, dict) or not is_whole(fields.get("format"), 1, math.inf):
                raise BundleError("card.json is not the card of a bundle: it names no format")
            if fields["format"] > FORMAT:
                raise BundleError(
                    f"the bundle has format {fields['format']}, this version reads up to {FORMAT}: "
                    "pip install --upgrade googlenet"
                )
            seal = fields.pop("sha256", None)
            check_keys(fields, *keys_of(cls))
            names = _names(fields["class_names"])
            given = {**fields, "class_names": names, "thresholds": fields.get("thresholds", [])}
            given["temperature"] = _tuple(fields.get("temperature", 1.0))
            card = cls(**{**given, "precisions": _measured(fields.get("precisions", {}))})
            _check_kinds(card)
            _check_thresholds(card)
            _check_temperature(card)
            _check_precisions(card)
            preprocessing = preprocessing_from_json(fields["preprocessing"])
            card = dataclasses.replace(card, preprocessing=preprocessing, thresholds=tuple(card.thresholds))
        except ValueError as error:
            raise BundleError(f"card.json is damaged: {_cut(error)}") from error
        if card.format >= SEALED and seal != _digest(fields):
            raise BundleError("card.json was altered or damaged: its sha256 is not the one of its text; copy it again")
        return card


def _digest(fields: dict[str, Any]) -> str:
    """Hash the content of a card, whatever its layout: JSON with sorted keys and no spaces."""
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


def _is_files(value: Any) -> bool:
    """Whether these are names of files beside the card, not paths to other places, each with a sha256."""
    return (
        isinstance(value, dict)
        and len(value) <= MAX_FILES
        and all(isinstance(digest, str) and len(digest) == 64 for digest in value.values())
        and all(0 < len(name.encode()) <= 255 and not set(name) & set("/\\:\0") for name in value)
        and not {".", ".."} & set(value)
    )


_KINDS: dict[str, Callable[[Any], bool]] = {
    "name": _is_name,
    "network": is_table,
    "metrics": lambda value: is_table(value) and all(map(is_number, value.values())),
    "intervals": lambda value: (
        is_table(value) and all(is_table(ends) and all(map(is_number, ends.values())) for ends in value.values())
    ),
    "measured_on": _is_name,
    "calibration": lambda value: is_table(value) and all(map(is_number, value.values())),
    "mirror": lambda value: isinstance(value, bool),
    "explanations": lambda value: is_table(value) and all(each in VERDICTS for each in value.values()),
    "data": lambda value: is_table(value) and isinstance(value.get("name", ""), str),
    "recipe": lambda value: (
        is_table(value)
        and is_whole(value.get("seed", 0), 0, math.inf)
        and is_number(value.get("val_fraction", 0.5))
        and 0 < value.get("val_fraction", 0.5) < 1
    ),
    "versions": lambda value: is_table(value) and all(map(_is_name, value.values())),
    "files": _is_files,
}


def _check_thresholds(card: ModelCard) -> None:
    if not isinstance(card.multi_label, bool):
        raise ValueError(f"multi_label must be true or false, got {card.multi_label!r}")
    wanted = len(card.class_names) if card.multi_label else 0
    found: Any = card.thresholds
    numbers = [each for each in found if is_number(each) and 0 <= each <= 1] if isinstance(found, list) else None
    shown = tuple(found) if isinstance(found, list) else json_text(found)[:80]
    if numbers is None or not len(numbers) == len(found) == wanted:
        raise ValueError(f"thresholds must be {wanted} numbers from 0 to 1, got {shown}")


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check_temperature(card: ModelCard) -> None:
    found: Any = card.temperature
    numbers = found if isinstance(found, tuple) else (found,)
    fits = len(numbers) == len(card.class_names) and card.multi_label if isinstance(found, tuple) else True
    if not fits or not all(is_number(each) and each > 0 for each in numbers):
        raise ValueError(
            "temperature must be a number above 0, or with several labels one for each class, got "
            f"{json_text(found)[:80]}"
        )


def _measured(precisions: Any) -> Any:
    if not isinstance(precisions, dict):
        return precisions
    return {name: former.measured(table) for name, table in precisions.items()}


def _check_precisions(card: ModelCard) -> None:
    found: Any = card.precisions
    tables = list(found.values()) if isinstance(found, dict) else [None]
    if not all(isinstance(table, dict) and all(map(is_number, table.values())) for table in tables):
        raise ValueError(f"precisions must be tables of numbers, got {found}")
