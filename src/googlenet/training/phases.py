"""The phases of a run: which stages learn in which share of its schedule. No torch.

Fine-tuning deepens step by step, so that what is random never changes what was learnt before (Howard & Ruder,
*Universal language model fine-tuning*, 2018, section 3.3; Kumar et al., *Fine-tuning can distort pretrained features*,
2022): first the classifier alone, then the last stages, then all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from googlenet.training.recipe import Recipe

UNFROZEN_LR = 0.3  # of the recipe's rate, once all stages learn: the last ones have learnt already


@dataclass(frozen=True)
class Phase:
    """A share of the schedule, from ``begin`` to ``end`` (0 to 1), with its own optimizer, rate and moving average.

    ``freeze`` is the last stage that does not learn in it, or ``None``; the learning rate is the recipe's times
    ``lr_scale``. ``cached``: maps of the frozen stages are kept (see :mod:`~googlenet.training.maps`).
    """

    freeze: str | None
    begin: float
    end: float
    lr_scale: float = 1.0
    cached: bool = False

    def share(self, of_run: float) -> float:
        """Return how much of this phase is over, 0 to 1, at a share of the whole schedule.

        >>> Phase(None, 0.5, 1.0).share(0.75)
        0.5
        """
        return min(1.0, max(0.0, (of_run - self.begin) / (self.end - self.begin)))


def phases_of(recipe: Recipe) -> tuple[Phase, ...]:
    """Return the phases of a recipe, whose ``cache_after`` is chosen. In a run by epochs, a phase has whole epochs.

    >>> recipe = Recipe(epochs=5, unfreeze="gradual", cache_after="inception_4d", cached_share=0.5, cached_views=2)
    >>> [(phase.freeze, phase.begin, phase.end) for phase in phases_of(recipe)]
    [('inception_4d', 0.0, 0.4), (None, 0.4, 1.0)]
    """
    cached = recipe.cached_views > 0
    if recipe.unfreeze == "none" or recipe.cache_after is None:
        return (Phase(recipe.freeze, 0.0, 1.0, cached=cached and recipe.freeze is not None),)
    at = recipe.cached_share if recipe.minutes else round(recipe.cached_share * recipe.epochs) / recipe.epochs
    first = Phase(recipe.cache_after, 0.0, at, cached=cached)
    last = Phase(recipe.freeze, at, 1.0, UNFROZEN_LR, cached=cached and recipe.freeze is not None)
    return tuple(phase for phase in (first, last) if phase.begin < phase.end)
