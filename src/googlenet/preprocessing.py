"""How an image is read, resized, cropped and normalised for a network, as data. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from googlenet import former
from googlenet.strict_json import check_keys, is_number, is_whole, keys_of, numbers

MAX_CHANNELS = 1024
_UNSET = ("value_range", None)  # the one list that may be missing
# Mean and standard deviation of ImageNet's pixels, RGB, 0 to 1: most published weights were trained with these, and
# they are as good as any for training from scratch.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)  # weights of R, G and B in grey (ITU-R BT.601), as in Pillow
OTHER_MEAN, OTHER_STD = 0.5, 0.25  # of unknown channels
ResizeMode = Literal["crop", "pad", "squash"]  # how an image becomes square
ColorProfiles = Literal["applied", "ignored"]  # of image files


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the input of a network.

    The image is resized, the centre ``size × size`` is cropped, and, inside the network's graph, each channel is
    normalised: (pixel / 255 - mean) / std. ``resize="crop"`` resizes the shorter side to ``size / crop_fraction``
    pixels and loses the ends of the longer side; ``"pad"`` resizes the longer side and fills the rest with grey;
    ``"squash"`` resizes both sides and changes the proportions.

    ``mean`` and ``std`` have one number for each channel: one for grey images, three for RGB, always in the order R,
    G, B. ``channel_order`` is the order in which the first layer sees the colours: ``"BGR"`` for weights from Caffe.

    ``value_range`` is the range of values that becomes 0 to 255 in images deeper than 8 bits whose files do not give
    one; ``None``: the range of each image's type, or of its own values. ``color_profiles`` says whether colours are
    converted to sRGB; up to format 3 bundles were made without.
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
        """The resized side in pixels, before the crop."""
        return round(self.size / self.crop_fraction)

    @property
    def channels(self) -> int:
        """The number of channels of an image."""
        return len(self.mean)

    @property
    def kind(self) -> str:
        """The kind of images in words: ``"RGB"``, ``"grey"`` or, for example, ``"5-channel"``."""
        return {1: "grey", 3: "RGB"}.get(self.channels, f"{self.channels}-channel")


def preprocessing_from_json(fields: dict[str, Any]) -> Preprocessing:
    """Read the preprocessing of a card. Raises :class:`ValueError` naming what is missing, unknown or out of range."""
    fields = former.preprocessing(fields)
    check_keys(fields, *keys_of(Preprocessing), prefix="preprocessing")
    lists = [name for name in ("mean", "std", "value_range") if name in fields and (name, fields[name]) != _UNSET]
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
        raise ValueError(f"resize must be {', '.join(get_args(ResizeMode))}, got {fields}")
    check_reading(found)
    return found


def check_reading(found: Preprocessing) -> None:
    """Raise :class:`ValueError` if ``color_profiles`` or ``value_range`` is not valid."""
    if found.color_profiles not in get_args(ColorProfiles):
        raise ValueError(f"color_profiles must be applied or ignored, got {found.color_profiles!r}")
    if found.value_range is not None:
        span: Any = found.value_range
        pair = isinstance(span, list | tuple) and len(span) == 2
        if not pair or not all(is_number(each) and math.isfinite(each) for each in span) or span[0] >= span[1]:
            raise ValueError(f"value_range must be two numbers, the lower one first, got {found.value_range}")
