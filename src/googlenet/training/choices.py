"""Optimizers and learning-rate schedules, which a recipe chooses by name: one entry in a table adds one. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from googlenet.training.recipe import Recipe


@dataclass(frozen=True)
class OptimizerChoice:
    """``torch_name`` is the class in ``torch.optim``; ``arguments`` makes its arguments but for ``lr``.

    Where ``orthogonal``, that class is for the parameters which :class:`~googlenet.training.muon.Muon` leaves to it.
    """

    torch_name: str
    arguments: Callable[[Recipe], dict[str, Any]]
    orthogonal: bool = False


OPTIMIZERS = {
    "sgd": OptimizerChoice(
        "SGD", lambda recipe: {"momentum": recipe.momentum, "nesterov": recipe.nesterov and recipe.momentum > 0}
    ),
    "adamw": OptimizerChoice("AdamW", lambda recipe: {"fused": True}),
    "muon": OptimizerChoice("AdamW", lambda recipe: {}, orthogonal=True),
}


def _cosine(recipe: Recipe, share: float, steps: int) -> float:
    """Rise linearly over the warm-up, then fall to 0 (Loshchilov & Hutter, *SGDR*, 2017, without restarts)."""
    warmup = max(recipe.warmup, 1 / steps)
    if share < warmup:
        return min(1.0, (share + 1 / steps) / warmup)
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / max(1 - warmup, 1e-9)))


def _linear(recipe: Recipe, share: float, steps: int) -> float:
    """Rise linearly over the warm-up, then fall linearly to 0."""
    warmup = max(recipe.warmup, 1 / steps)
    if share < warmup:
        return min(1.0, (share + 1 / steps) / warmup)
    return (1 - share) / max(1 - warmup, 1e-9)


def _step(recipe: Recipe, share: float, steps: int) -> float:
    """Multiply by ``lr_gamma`` every ``step_epochs`` (Szegedy et al., 2014, section 6: 4 % every 8 epochs)."""
    return math.pow(recipe.lr_gamma, int(share * recipe.epochs + 1e-9) // recipe.step_epochs)


# Each is called with the recipe, the share of the schedule that is over (0 to 1) and the steps of the whole run,
# and returns the factor that ``lr`` is multiplied by.
SCHEDULES: dict[str, Callable[[Recipe, float, int], float]] = {
    "cosine": _cosine,
    "linear": _linear,
    "step": _step,
}
