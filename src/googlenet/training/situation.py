"""What is known before a recipe is chosen, what is chosen so far, and how long that would take. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from googlenet.models.analysis import minimum_size, share_through
from googlenet.models.spec import Network
from googlenet.training.facts import Facts
from googlenet.training.local_weights import Pretrained
from googlenet.training.recipe import Recipe
from googlenet.training.speed import Speed

LIMIT_MINUTES = 60.0  # of a run whose length nobody gave: longer only where the user says so


@dataclass(frozen=True)
class Situation:
    """What is known before anything is chosen.

    Attributes:
        facts: what the images are like.
        given: settings that the user gave, by name; they are not chosen.
        network: the one that the user named.
        weights: pretrained weights to start from.
        speed: of this machine; ``None`` where it is unknown, and no time is estimated.
    """

    facts: Facts
    given: Mapping[str, Any] = field(default_factory=dict)
    network: Network | None = None
    weights: Pretrained | None = None
    speed: Speed | None = None

    @property
    def minutes(self) -> float:
        """The minutes that training may take."""
        return float(self.given.get("minutes") or LIMIT_MINUTES)


@dataclass(frozen=True)
class Choice:
    """A recipe: its ``base``, the ``settings`` that replace some of it, and why.

    ``lines`` say to people what was chosen, why, and how to change it.
    """

    base: str
    settings: Mapping[str, Any]
    network: Network
    reasons: tuple[str, ...]
    seconds: float | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe, with plain values."""
        return Recipe.load(self.base, **self.settings)


def run_seconds(situation: Situation, choice: Choice) -> float | None:
    """Return about how long a run will take, in seconds; ``None`` where the speed of the machine is unknown."""
    if situation.speed is None:
        return None
    if situation.given.get("minutes"):
        return 60.0 * situation.minutes
    epochs = situation.given.get("epochs") or choice.settings.get("epochs", choice.recipe.epochs)
    return float(epochs) * _epoch_seconds(situation, choice, size_of(situation, choice))


def _epoch_seconds(situation: Situation, choice: Choice, size: int) -> float:
    """Return the seconds of an epoch, validation included: a forward pass is a third of a training step."""
    assert situation.speed is not None
    freeze = situation.given.get("freeze") or choice.settings.get("freeze") or choice.settings.get("pool_from")
    learning = 1 - share_through(choice.network, freeze) if freeze else 1.0
    images = situation.facts.train * (1 + 2 * learning) / 3 * _growth(choice, size) + situation.facts.val / 3
    return images * situation.speed.seconds(choice.network, size)


def _growth(choice: Choice, size: int) -> float:
    """Return the time of a run whose images grow, as a share of one at full size."""
    recipe, steps = Recipe.load(choice.base), 20
    sides = [recipe.image_side(size, step / steps, minimum_size(choice.network)) for step in range(steps)]
    return sum(side**2 for side in sides) / size**2 / steps


def size_of(situation: Situation, choice: Choice) -> int:
    """Return the side of the images, in pixels, as far as it is chosen."""
    chosen = situation.given.get("image_size") or choice.settings.get("image_size")
    return int(chosen or own_size(situation, choice))


def own_size(situation: Situation, choice: Choice) -> int:
    """Return the side of the images, in pixels, that the weights expect, or else the network."""
    return situation.weights.side if situation.weights else choice.network.input_size


def passes_at(situation: Situation, choice: Choice, size: int) -> float:
    """Return how often the time allows to see every image at this size; for ever where the speed is unknown."""
    if situation.speed is None:
        return math.inf
    return 60 * situation.minutes / _epoch_seconds(situation, choice, size)
