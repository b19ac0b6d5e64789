"""``find_lr``: the learning-rate range test, by which a highest learning rate is chosen in a minute or so. No torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from googlenet.data.image_set import DataLike
from googlenet.errors import RecipeError, RunError
from googlenet.extras import TRAINING, require
from googlenet.models.spec import Network
from googlenet.stages import stage
from googlenet.training import torchrun
from googlenet.training.choosing import Request
from googlenet.training.options import TrainOptions, split_options
from googlenet.training.plan import NOWHERE, Plan
from googlenet.training.recipe import Recipe
from googlenet.training.train import planned

if TYPE_CHECKING:
    from typing_extensions import Unpack

STEPS, MIN_STEPS, MAX_STEPS = 100, 20, 10_000
SMOOTHED_SHARE = 0.05  # of the steps, before and after each, whose mean loss is taken
MIN_FALL = 0.03  # of the first loss: with less, no rate has learnt anything
SAFE_FACTOR = 2.0  # between the suggested rate and the one at which the loss is least


@dataclass(frozen=True)
class LRRange:
    """What :func:`find_lr` measured.

    Attributes:
        rates: the learning rate of each step, rising.
        losses: the loss of each step, auxiliary heads included.
        precision: the number format of the steps.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    precision: str = "fp32"

    @property
    def smoothed(self) -> tuple[float, ...]:
        """The mean loss of each step and those around it."""
        reach = max(1, round(SMOOTHED_SHARE * len(self.losses)))
        around = [self.losses[max(0, at - reach) : at + reach + 1] for at in range(len(self.losses))]
        return tuple(sum(some) / len(some) for some in around)

    @property
    def suggestion(self) -> float | None:
        """Half the rate at which the loss is least, two digits; ``None`` where the loss did not fall.

        At the least loss itself training is near to diverging.

        >>> losses = [2.0] * 10 + [1.5, 1.0, 0.8, 0.9, 3.0]
        >>> LRRange(tuple(10 ** (at / 5 - 4) for at in range(15)), tuple(losses)).suggestion
        0.013
        """
        smoothed = self.smoothed
        if len(smoothed) < 2 or min(smoothed) > (1 - MIN_FALL) * smoothed[0]:
            return None
        return float(f"{self.rates[smoothed.index(min(smoothed))] / SAFE_FACTOR:.2g}")

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {"suggestion": self.suggestion, **asdict(self)}

    def save(self, path: str | Path) -> None:
        """Draw the loss by learning rate to an image file."""
        from googlenet.evaluation.plots import draw_lr_range

        draw_lr_range(self.rates, self.losses, self.smoothed, self.suggestion, Path(path))


def find_lr(
    data: DataLike,
    *,
    recipe: str | Path | Recipe | None = None,
    network: str | Network | None = None,
    weights: str | Path | None = None,
    steps: int = STEPS,
    **options: Unpack[TrainOptions],
) -> LRRange:
    """Find a highest learning rate by a range test: train for some steps while the rate rises from 1e-6 to 10.

    Nothing is written, and the weights are thrown away. The steps are those that :func:`googlenet.train` would begin
    with, on the same images and at the same size, until the loss is three times the least one. (Smith, *Cyclical
    learning rates for training neural networks*, 2017, section 3.3; the rate rises exponentially here.)

    Args:
        data, recipe, network, weights: as :func:`googlenet.train` takes them.
        steps: how many steps, 20 to 10,000, over the whole range.
        options: those of :func:`googlenet.train`.

    Raises:
        RecipeError: ``steps`` out of range.
        GoogLeNetError: what :func:`googlenet.train` raises before any work is done.

    ::

        found = googlenet.find_lr("photos/")
        googlenet.train("photos/", "runs/flowers", lr=found.suggestion)
    """
    require("train", *TRAINING)
    if isinstance(steps, bool) or not isinstance(steps, int) or not MIN_STEPS <= steps <= MAX_STEPS:
        raise RecipeError(f"steps = {steps!r}: should be a whole number, {MIN_STEPS} to {MAX_STEPS:,}")
    if torchrun.is_launched():
        raise RunError("find_lr measures in one process: start it without torchrun")
    settings, run_options = split_options(options)
    plan = planned(data, NOWHERE, Request(recipe, {**settings, "network": network}, weights), run_options)
    found = range_test(plan, steps)
    assert found is not None
    return found


def range_test(plan: Plan, steps: int, seconds: float = math.inf, least: int = MIN_STEPS) -> LRRange | None:
    """Make the range test of a plan, with fewer steps where they would take more ``seconds``.

    Returns ``None`` where these would be fewer than ``least``.
    """
    with stage("loading PyTorch"):
        from googlenet.training import range_test as work
    measured = work.measure(plan, steps, least, seconds)
    return None if measured is None else LRRange(*measured)
