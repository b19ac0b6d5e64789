"""Images as training sees them, drawn on a sheet. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from googlenet.data.image_set import ImageSet
from googlenet.images.pixels import Pixels
from googlenet.preprocessing import Preprocessing
from googlenet.training.function import Function
from googlenet.training.recipe import Recipe


@dataclass(frozen=True)
class AugmentedImage:
    """A training image: its name and labels, ``original`` as the network sees it in prediction, and in training.

    Each of ``views`` is (S, S, C) uint8; S is smaller than at the end where a recipe begins with smaller images.
    """

    name: str
    labels: tuple[str, ...]
    original: Pixels = field(repr=False)
    views: tuple[Pixels, ...] = field(repr=False)


@dataclass(frozen=True)
class MixedImage:
    """An image of a step with MixUp or CutMix: (S, S, C) uint8, and the share of each label above 0."""

    pixels: Pixels = field(repr=False)
    shares: dict[str, float]


@dataclass(frozen=True)
class AugmentedImages:
    """What :func:`googlenet.augment` returns.

    Attributes:
        images: some training images, of all classes in turn.
        epochs: the epochs, from 1, that their views are of.
        mixed: the first images of the first step that MixUp or CutMix mixes; none without them.
        recipe: the settings.
    """

    images: tuple[AugmentedImage, ...]
    epochs: tuple[int, ...]
    mixed: tuple[MixedImage, ...]
    recipe: Recipe

    def save(self, path: str | Path) -> None:
        """Draw all of it to an image file: a row for each image, a column for each epoch."""
        from googlenet.evaluation.plots import draw_augmented

        rows = [(", ".join(each.labels), each.original, each.views) for each in self.images]
        mixed = [(each.pixels, each.shares) for each in self.mixed]
        headings = [f"epoch {epoch}" for epoch in self.epochs]
        draw_augmented(rows, headings, mixed, str(self.recipe.augmentation), Path(path))


@dataclass(frozen=True)
class Request:
    """What is to be drawn, once it was checked."""

    images: ImageSet
    recipe: Recipe
    preprocessing: Preprocessing
    smallest: int  # side that the network can take, in pixels
    function: Function | None
    count: int
    views: int
