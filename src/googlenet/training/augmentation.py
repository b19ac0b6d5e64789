"""How training images are changed at random, as data: probabilities, ranges, and presets for kinds of images. No torch.

Each probability is an entry of ``AUGMENTATIONS`` in :mod:`googlenet.training.augment`, or of ``MIXES`` in
:mod:`googlenet.training.mixing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from googlenet import former
from googlenet.text import nearest
from googlenet.training.settings import Fraction, Table


def _ordered(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"the first must not be above the second, got {list(span)}")
    return span


_Positive = Annotated[float, Field(gt=0)]
_Quality = Annotated[int, Field(ge=1, le=100)]
# Lists in TOML and JSON.
Span = Annotated[tuple[_Positive, _Positive], Field(strict=False), AfterValidator(_ordered)]
Shares = Annotated[tuple[Fraction, Fraction], Field(strict=False), AfterValidator(_ordered)]
Qualities = Annotated[tuple[_Quality, _Quality], Field(strict=False), AfterValidator(_ordered)]


class Augmentation(Table):
    """How each training image is changed at random every time it is drawn."""

    crop_scale: Span = Field(
        default=(0.35, 1.0), description="Random crop: least and greatest share of the image's area."
    )
    crop_ratio: Span = Field(default=(3 / 4, 4 / 3), description="Random crop: least and greatest width / height.")
    hflip_prob: Fraction = Field(default=0.5, description="Probability of a horizontal flip.")
    vflip_prob: Fraction = Field(default=0.0, description="Probability of a vertical flip.")
    rot90_prob: Fraction = Field(
        default=0.0, description="Probability of a turn by 90, 180 or 270 degrees, each equally likely."
    )
    rotation_prob: Fraction = Field(
        default=0.0, description="Probability of a rotation; what turns into view at the corners is mirrored."
    )
    rotation_degrees: float = Field(
        default=15.0, gt=0, le=180, description="Rotation: the most in degrees, to either side."
    )
    perspective_prob: Fraction = Field(default=0.0, description="Probability of a view from another angle.")
    perspective_scale: float = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="Perspective: how far each corner moves towards the centre at most, as a share of half the side.",
    )
    trivial_augment_prob: Fraction = Field(
        default=0.0,
        description="Probability of TrivialAugment: one of 14 changes of random strength (Müller & Hutter, 2021).",
    )
    rand_augment_prob: Fraction = Field(
        default=0.0,
        description="Probability of RandAugment: several of 14 changes of one strength (Cubuk et al., 2020).",
    )
    rand_augment_ops: int = Field(default=2, ge=1, le=14, description="RandAugment: how many changes.")
    rand_augment_magnitude: int = Field(default=9, ge=0, le=30, description="RandAugment: their strength.")
    photometric_prob: Fraction = Field(
        default=0.0,
        description="Probability of each change of brightness, contrast, saturation and hue (Howard, 2013).",
    )
    jitter_prob: Fraction = Field(
        default=0.0, description="Probability of colour jitter: of all four of the next settings at once."
    )
    jitter_brightness: Fraction = Field(
        default=0.2, description="Colour jitter: brightness is multiplied by 1 - this to 1 + this."
    )
    jitter_contrast: Fraction = Field(
        default=0.2, description="Colour jitter: contrast is multiplied by 1 - this to 1 + this."
    )
    jitter_saturation: Fraction = Field(
        default=0.2, description="Colour jitter: saturation is multiplied by 1 - this to 1 + this."
    )
    jitter_hue: float = Field(
        default=0.02, ge=0, le=0.5, description="Colour jitter: hue moves by at most this share of the colour circle."
    )
    grey_prob: Fraction = Field(default=0.0, description="Probability that an RGB image loses its colours.")
    blur_prob: Fraction = Field(default=0.0, description="Probability of a Gaussian blur.")
    blur_sigma: Span = Field(
        default=(0.001, 0.01),
        description="Blur: least and greatest standard deviation, as a share of the image's side.",
    )
    noise_prob: Fraction = Field(default=0.0, description="Probability of Gaussian noise.")
    noise_std: Span = Field(
        default=(0.01, 0.05), description="Noise: least and greatest standard deviation, as a share of white."
    )
    jpeg_prob: Fraction = Field(default=0.0, description="Probability of the artefacts of JPEG compression.")
    jpeg_quality: Qualities = Field(
        default=(30, 90), description="JPEG: least and greatest quality, 1 to 100, of Pillow's scale."
    )
    erasing_prob: Fraction = Field(
        default=0.25, description="Probability that a random rectangle is covered with grey (Zhong et al., 2017)."
    )
    erasing_scale: Span = Field(
        default=(0.05, 0.25), description="Erasing: least and greatest share of the image's area."
    )
    mixup_prob: Fraction = Field(
        default=0.0,
        description="Probability that images and labels of a step are blended in pairs (Zhang et al., 2018).",
    )
    mixup_alpha: float = Field(
        default=0.2, gt=0, le=100, description="MixUp: shares are of Beta(alpha, alpha); 1 draws all equally often."
    )
    cutmix_prob: Fraction = Field(
        default=0.0,
        description="Probability that each image of a step gets a rectangle of another one, and a share of its label "
        "(Yun et al., 2019).",
    )
    cutmix_alpha: float = Field(
        default=1.0, gt=0, le=100, description="CutMix: shares are of Beta(alpha, alpha); 1 draws all equally often."
    )
    mix_during: Shares = Field(
        default=(0.0, 1.0),
        description="MixUp and CutMix: from which share of the run on, and up to which share of it, they act.",
    )
    function: str | None = Field(
        default=None,
        description="Name of the function that `augment=` in Python applies last; a record, nothing is imported by it.",
    )

    @model_validator(mode="after")
    def _mixes_once(self) -> Augmentation:
        if self.mixup_prob + self.cutmix_prob > 1:
            raise ValueError(
                f"mixup_prob = {self.mixup_prob:g} and cutmix_prob = {self.cutmix_prob:g}: a step has one of them, so "
                "their sum should be at most 1"
            )
        return self

    def __str__(self) -> str:
        """Return the preset that it is, or what it changes with its ranges: for messages."""
        for name in PRESETS:
            if any(self == Augmentation(**preset(name, channels)) for channels in (3, 1, 2)):
                return name
        return " ".join(f"{name}={_short(getattr(self, name))}" for name in self.active())

    def active(self) -> list[str]:
        """Return the names of the settings that say something: the crop's, probabilities above 0 and their ranges.

        >>> Augmentation(erasing_prob=0, rotation_prob=0.1).active()
        ['crop_scale', 'crop_ratio', 'hflip_prob', 'rotation_prob', 'rotation_degrees']
        """
        probabilities = {name for name in type(self).model_fields if name.endswith("_prob") and getattr(self, name)}
        return [
            name
            for name in type(self).model_fields
            if name.startswith("crop_")
            or name in probabilities
            or (
                not name.endswith("_prob") and any(name.startswith(each.removesuffix("prob")) for each in probabilities)
            )
            or (name == "mix_during" and {"mixup_prob", "cutmix_prob"} & probabilities)
            or (name == "function" and self.function)
        ]


# The channels that a setting supports, where it does not support any number.
CHANNELS: dict[str, tuple[int, ...]] = {
    "trivial_augment_prob": (1, 3),
    "rand_augment_prob": (1, 3),
    "photometric_prob": (3,),
    "jitter_saturation": (3,),
    "jitter_hue": (3,),
    "grey_prob": (3,),
    "jpeg_prob": (1, 3),
}
_NAMES = {(3,): "RGB images (in_channels = 3)", (1, 3): "grey and RGB images (in_channels = 1 or 3)"}

_NOTHING = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "hflip_prob": 0.0, "erasing_prob": 0.0}
# What differs from the defaults of ``Augmentation``, by kind of image. docs/augmentation.md says why.
PRESETS: dict[str, dict[str, Any]] = {
    "photos": {},
    "documents": {
        "crop_scale": (0.7, 1.0),
        "crop_ratio": (0.9, 1.1),
        "hflip_prob": 0.0,
        "rotation_prob": 0.5,
        "rotation_degrees": 3.0,
        "perspective_prob": 0.2,
        "perspective_scale": 0.1,
        "jitter_prob": 0.5,
        "jitter_saturation": 0.0,
        "jitter_hue": 0.0,
        "blur_prob": 0.1,
        "blur_sigma": (0.001, 0.005),
        "noise_prob": 0.1,
        "jpeg_prob": 0.2,
        "erasing_prob": 0.0,
    },
    "microscopy": {
        "crop_scale": (0.5, 1.0),
        "crop_ratio": (0.9, 1.1),
        "vflip_prob": 0.5,
        "rot90_prob": 0.75,
        "jitter_prob": 0.5,
        "jitter_saturation": 0.2,
        "jitter_hue": 0.04,
        "blur_prob": 0.1,
        "erasing_prob": 0.0,
    },
    "aerial": {
        "crop_ratio": (0.9, 1.1),
        "vflip_prob": 0.5,
        "rot90_prob": 0.75,
        "rotation_prob": 0.3,
        "rotation_degrees": 45.0,
        "jitter_prob": 0.5,
        "jitter_hue": 0.0,
        "erasing_prob": 0.1,
    },
    "none": _NOTHING,
}


def preset(name: str, channels: int) -> dict[str, Any]:
    """Return the settings of a preset, without those that images of so many ``channels`` cannot have.

    Raises :class:`ValueError` where there is none of this name.

    >>> preset("aerial", channels=3)["rot90_prob"]
    0.75
    >>> preset("microscopy", channels=1)["jitter_hue"]
    0.0
    """
    if name not in PRESETS:
        raise ValueError(f"{nearest(name, PRESETS)}, or a table")
    unsupported = {setting: 0.0 for setting, allowed in CHANNELS.items() if channels not in allowed}
    return PRESETS[name] | unsupported


def changed(table: Any, changes: Any, channels: int) -> Any:
    """Return an augmentation, a preset's name or a table, with the changes of another table; else the ``changes``."""
    if isinstance(table, str) and isinstance(changes, Mapping):
        table = preset(table, channels)
    if isinstance(table, Mapping) and isinstance(changes, Mapping):
        return {**former.recipe({"augmentation": table})["augmentation"], **changes}
    return changes


def unsupported(augmentation: Augmentation, channels: int) -> str | None:
    """Say which setting images of so many channels cannot have, if there is one."""
    active = augmentation.active()
    for setting, allowed in CHANNELS.items():
        value = getattr(augmentation, setting)
        if value and setting in active and channels not in allowed:
            return (
                f"augmentation.{setting} = {value:g} is for {_NAMES[allowed]}, got in_channels = {channels}: set it "
                "to 0 in a recipe of your own"
            )
    return None


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return "-".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
