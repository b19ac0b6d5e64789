"""How long a run lasts: so many epochs, or so many minutes. Says where it stands, when it is over, when to validate."""

from __future__ import annotations

from typing import Protocol

VALIDATING = 0.05  # the share of the time that validation before the end may take
MARGIN = 0.01  # the share of the time kept for what cannot be foreseen
MEMORY = 0.9  # how much of what is known of a step's seconds stays with the next one


class RunPosition(Protocol):
    """What a pace has to know of a run: whole epochs, batches of the next one, and seconds since it began."""

    epoch: int
    batch: int
    elapsed: float


class Epochs:
    """So many epochs, each of them validated."""

    def __init__(self, epochs: int, steps: int) -> None:
        self.epochs, self.steps = epochs, steps

    def share(self, run: RunPosition) -> float:
        """Give the place on the schedule, 0 at its beginning and 1 at its end."""
        return (run.epoch * self.steps + run.batch) / (self.epochs * self.steps)

    def is_up(self, run: RunPosition) -> bool:
        """Say whether no step is left."""
        return run.epoch >= self.epochs

    def validates(self, run: RunPosition) -> bool:
        """Say whether to validate now that an epoch has ended."""
        return True

    def stepped(self, seconds: float, pixels: int) -> None:
        """Hear what a training step took, and how many pixels it saw."""

    def validated(self, seconds: float) -> None:
        """Hear what a validation took, and the checkpoint after it."""


class Minutes:
    """So many minutes of wall time, all in: the schedule is the recipe's, run over the time that training has.

    ``foresee`` tells the seconds kept for the end: for the last validation with its checkpoints, and for the bundle.
    The first is measured as soon as there was one; both are kept longer where the machine has become slower since.
    """

    def __init__(self, minutes: float) -> None:
        self.budget = 60 * minutes
        self.validation = self.bundle = 0.0
        self.spent = 0.0  # on validation so far
        self.per_pixel = 0.0  # seconds of training, of late
        self.then: float | None = None  # the same at best, since the end was foreseen

    def foresee(self, validation: float, bundle: float) -> None:
        """Hear what the end will take, in seconds, before the first step."""
        self.validation, self.bundle = validation, bundle

    def share(self, run: RunPosition) -> float:
        """Give the place on the schedule that the share of the time used corresponds to."""
        return min(1.0, run.elapsed / max(self._for_training, 1e-9))

    def is_up(self, run: RunPosition) -> bool:
        """Say whether what is left of the time is needed to end."""
        return run.elapsed >= self._for_training

    def validates(self, run: RunPosition) -> bool:
        """Say whether to validate: at the end, and before it where all validation together stays cheap."""
        return self.is_up(run) or self.spent + self.validation <= VALIDATING * run.elapsed

    def stepped(self, seconds: float, pixels: int) -> None:
        """Hear what a training step took, and how many pixels it saw."""
        now = seconds / max(pixels, 1)
        self.per_pixel = MEMORY * self.per_pixel + (1 - MEMORY) * now if self.per_pixel else now
        self.then = min(self.then or self.per_pixel, self.per_pixel)

    def validated(self, seconds: float) -> None:
        """Hear what a validation took, and the checkpoint after it."""
        self.spent += seconds
        self.validation, self.then = seconds, self.per_pixel or None

    @property
    def _for_training(self) -> float:
        slower = max(1.0, self.per_pixel / self.then) if self.then else 1.0
        return (1 - MARGIN) * self.budget - slower * (self.validation + self.bundle)


Budget = Epochs | Minutes
