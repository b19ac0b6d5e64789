"""What a network sees of an image, as data: how it is read, resized, cropped and normalised. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from googlenet import former
from googlenet.strict_json import check_keys, is_number, is_whole, keys_of, numbers

MAX_CHANNELS = 1024
_UNTOLD = ("value_range", None)  # the one list of the preprocessing that may be left open
# Mean and standard deviation of the pixels of ImageNet, RGB, on a scale of 0 to 1: what most published weights
# were trained with, and as good as any for a network trained from scratch.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)  # what R, G and B count for in grey (ITU-R BT.601), as Pillow has it
OTHER_MEAN, OTHER_STD = 0.5, 0.25  # of channels of which nothing is known
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


def preprocessing_from_json(fields: dict[str, Any]) -> Preprocessing:
    """Read the preprocessing of a card. Raises :class:`ValueError` naming what is missing, unknown or out of range."""
    fields = former.preprocessing(fields)
    check_keys(fields, *keys_of(Preprocessing), prefix="preprocessing")
    lists = [name for name in ("mean", "std", "value_range") if name in fields and (name, fields[name]) != _UNTOLD]
    sequences: dict[str, Any] = {name: numbers(f"preprocessing.{name}", fields[name]) for name in lists}
    found = Preprocessing(**{"color_profiles": "ignored", **fields, **sequences})
    as_many = 1 <= len(found.mean) == len(found.std) <= MAX_CHANNELS
    if not as_many or not is_number(found.size) or not is_number(found.crop_fraction):
        raise ValueError(
            f"preprocessing needs a size, a crop_fraction, a mean and a std for each channel, got {fields}"
        )
    if min(found.std) <= 0 or max(map(abs, (*found.mean, *found.std))) > 1e6:
        raise ValueError(f"std must be above 0, and neither it nor mean above 10⁶, got {fields}")
    if not is_whole(found.size, 1, 4096) or not 0.1 <= found.crop_fraction <= 1:
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
        if not pair or not all(is_number(each) and math.isfinite(each) for each in span) or span[0] >= span[1]:
            raise ValueError(f"value_range must be two numbers, the lower one first, got {found.value_range}")
