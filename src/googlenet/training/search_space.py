"""What ``tune`` tries: a table, an entry for each setting, of the values around those of the recipe. No torch.

An entry returns a :class:`Span` of numbers or some :class:`Choices`; ``None`` where the setting does nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from googlenet.errors import RecipeError
from googlenet.models.analysis import minimum_size
from googlenet.models.layers.weightless import Dropout
from googlenet.models.spec import Network
from googlenet.text import nearest
from googlenet.training.augmentation import PRESETS, Augmentation, preset
from googlenet.training.plan import Plan
from googlenet.training.recipe import Recipe

AS_IT_IS = "recipe"  # of the augmentations: the recipe's own
SIZE_FACTORS, SIZE_STEP = (0.75, 1.0, 1.25), 16  # of the recipe's image size, and pixels that it is rounded to
Value = float | int | str


@dataclass(frozen=True)
class Span:
    """Numbers from ``low`` to ``high``; ``log``: every factor is as likely."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choices:
    """Values without an order."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Start:
    """What the values lie around: the plan of the recipe itself, and the learning rate that a range test found."""

    plan: Plan
    found_lr: float | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe itself."""
        return self.plan.recipe

    @property
    def size(self) -> int:
        """The side of its images in pixels."""
        return self.plan.preprocessing.size

    @property
    def dropout(self) -> float | None:
        """Its dropout probability before the classifier; ``None`` where the network has none."""
        own = _dropout(self.plan.network)
        return own if own is None or self.recipe.dropout is None else self.recipe.dropout


def _dropout(network: Network) -> float | None:
    layers = [layer for each in network.stages for layer in each.layers]
    return next((layer.p for layer in layers if isinstance(layer, Dropout)), None)


def _lr(start: Start) -> Span:
    known = [start.recipe.lr, start.found_lr or start.recipe.lr]
    return Span(min(known) / 4, max(known) * 4, log=True)


def _weight_decay(start: Start) -> Span:
    own = start.recipe.weight_decay
    return Span(own / 8, own * 8, log=True) if own else Span(0.0, 0.1)


def _label_smoothing(start: Start) -> Span:
    return Span(0.0, max(0.2, start.recipe.label_smoothing))


def _dropouts(start: Start) -> Span | None:
    return None if start.dropout is None else Span(0.0, max(0.6, start.dropout))


def _image_sizes(start: Start) -> Choices | None:
    least = minimum_size(start.plan.network)
    sizes = [round(start.size * factor / SIZE_STEP) * SIZE_STEP for factor in SIZE_FACTORS if factor != 1]
    return _choices([start.size, *(size for size in sizes if size >= least)])


def _augmentations(start: Start) -> Choices | None:
    channels, own = start.recipe.in_channels, start.recipe.augmentation.model_copy(update={"function": None})
    others = [name for name in PRESETS if Augmentation(**preset(name, channels)) != own]
    return _choices([AS_IT_IS, *others])


def _choices(values: Iterable[Value]) -> Choices | None:
    different = tuple(dict.fromkeys(values))
    return Choices(different) if len(different) > 1 else None


# Setting of a recipe → the values that are tried. To tune another one, add an entry.
SPACE: dict[str, Callable[[Start], Span | Choices | None]] = {
    "lr": _lr,
    "weight_decay": _weight_decay,
    "augmentation": _augmentations,
    "image_size": _image_sizes,
    "label_smoothing": _label_smoothing,
    "dropout": _dropouts,
}


def space_around(start: Start, names: Iterable[str] | None, given: Mapping[str, Any]) -> dict[str, Span | Choices]:
    """Return the values to try by setting: of ``names``, by default of all that were not ``given``.

    Raises :class:`RecipeError` for an unknown or useless name, and where no setting is left.
    """
    wanted = list(SPACE) if names is None else list(names)
    for name in wanted:
        if name not in SPACE:
            raise RecipeError(f"tune does not try {name!r}: {nearest(name, SPACE)}")
        if names is not None and name in given:
            raise RecipeError(f"--{name.replace('_', '-')} {given[name]} leaves nothing to try: leave one of them out")
    found = {name: SPACE[name](start) for name in wanted if name not in given}
    space = {name: values for name, values in found.items() if values is not None}
    if useless := [name for name in found if name not in space and names is not None]:
        raise RecipeError(f"{useless[0]} has nothing to try with {start.plan.network.name}: leave it out")
    if not space:
        raise RecipeError(f"every setting that is tried was given: leave out some of {', '.join(SPACE)}")
    return space


def values_of(start: Start, space: Iterable[str]) -> dict[str, Value]:
    """Return the values of the recipe itself."""
    own: dict[str, Value | None] = {"image_size": start.size, "augmentation": AS_IT_IS, "dropout": start.dropout}
    return {name: own[name] if name in own else getattr(start.recipe, name) for name in space}  # type: ignore[misc]


def recipe_with(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """Return the recipe with these values."""
    return recipe.override(**{name: value for name, value in values.items() if value != AS_IT_IS})
