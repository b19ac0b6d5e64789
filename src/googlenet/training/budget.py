"""How long a run lasts, in epochs or in minutes: where it is on the schedule, when it is over, when to validate."""

from __future__ import annotations

from typing import Protocol

VALIDATION_SHARE = 0.05  # of the time, at most, for validation before the end
MARGIN_SHARE = 0.01  # of the time, kept for what cannot be foreseen
SMOOTHING = 0.9  # decay of the moving average of a step's seconds


class RunPosition(Protocol):
    """What a budget has to know of a run: whole epochs, batches of the next one, and seconds since it was started."""

    epoch: int
    batch: int
    elapsed: float


class Epochs:
    """A number of epochs, each of which is validated. ``steps`` are those of an epoch."""

    def __init__(self, epochs: int, steps: int) -> None:
        self.epochs, self.steps = epochs, steps

    def share(self, run: RunPosition) -> float:
        """Return how much of the schedule is over, 0 at its start and 1 at its end."""
        return (run.epoch * self.steps + run.batch) / (self.epochs * self.steps)

    def is_over(self, run: RunPosition) -> bool:
        """Whether no step is left."""
        return run.epoch >= self.epochs

    def should_validate(self, run: RunPosition) -> bool:
        """Whether to validate after an epoch."""
        return True

    def after_step(self, seconds: float, pixels: int) -> None:
        """Note the seconds of a training step, and how many pixels it had."""

    def after_validation(self, seconds: float) -> None:
        """Note the seconds of a validation with its checkpoint."""

    def begin_phase(self) -> None:
        """Forget how long steps and validations took: other stages learn from now on."""


class Minutes:
    """Minutes of wall time, everything included: the recipe's schedule is stretched over the time left for training.

    ``reserve`` sets the seconds kept for the end: for the last validation with its checkpoints, and for the bundle. The
    former is updated by every validation. Both reserves are scaled up if training has slowed down since then.
    """

    def __init__(self, minutes: float) -> None:
        self.budget = 60 * minutes
        self.validation = self.bundle = self.whole_validation = 0.0
        self.spent = 0.0  # on validation so far
        self.over = False
        self.per_pixel = 0.0  # seconds of training, a moving average
        self.fastest: float | None = None  # the least of it since the reserves were measured

    def reserve(self, validation: float, bundle: float) -> None:
        """Keep seconds for the last validation and for writing the bundle, before the first step."""
        self.validation = self.whole_validation = validation
        self.bundle = bundle

    def share(self, run: RunPosition) -> float:
        """Return how much of the schedule is over: the share of the training time that is used."""
        return min(1.0, run.elapsed / max(self._for_training, 1e-9))

    def is_over(self, run: RunPosition) -> bool:
        """Whether the time left is needed for the end: once it is, also where the last validation took less."""
        self.over = self.over or run.elapsed >= self._for_training
        return self.over

    def should_validate(self, run: RunPosition) -> bool:
        """Whether to validate: at the end, and before it as long as all validation together stays cheap."""
        return self.is_over(run) or self.spent + self.validation <= VALIDATION_SHARE * run.elapsed

    def after_step(self, seconds: float, pixels: int) -> None:
        """Note the seconds of a training step, and how many pixels it had."""
        now = seconds / max(pixels, 1)
        self.per_pixel = SMOOTHING * self.per_pixel + (1 - SMOOTHING) * now if self.per_pixel else now
        self.fastest = min(self.fastest or self.per_pixel, self.per_pixel)

    def after_validation(self, seconds: float) -> None:
        """Note the seconds of a validation with its checkpoint."""
        self.spent += seconds
        self.validation, self.fastest = seconds, self.per_pixel or None

    def begin_phase(self) -> None:
        """Forget how long steps and validations took: other stages learn from now on."""
        self.validation, self.per_pixel, self.fastest = self.whole_validation, 0.0, None

    @property
    def _for_training(self) -> float:
        slower = max(1.0, self.per_pixel / self.fastest) if self.fastest else 1.0
        return (1 - MARGIN_SHARE) * self.budget - slower * (self.validation + self.bundle)


Budget = Epochs | Minutes
