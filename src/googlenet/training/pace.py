"""How long a run lasts: so many epochs, or so many minutes. Says where it stands, when it is over, when to validate."""

from __future__ import annotations

from typing import Protocol

VALIDATING = 0.05  # the share of the time that validation before the end may take
MARGIN = 0.01  # the share of the time kept for what cannot be foreseen


class Standing(Protocol):
    """What a pace has to know of a run: whole epochs, batches of the next one, and seconds since it began."""

    epoch: int
    batch: int
    elapsed: float


class Epochs:
    """So many epochs, each of them validated."""

    def __init__(self, epochs: int, steps: int) -> None:
        self.epochs, self.steps = epochs, steps

    def position(self, run: Standing) -> float:
        """Give the place on the learning rate's schedule, in steps of ``epochs * steps``."""
        return run.epoch * self.steps + run.batch

    def is_up(self, run: Standing) -> bool:
        """Say whether no step is left."""
        return run.epoch >= self.epochs

    def validates(self, run: Standing) -> bool:
        """Say whether to validate now that an epoch has ended."""
        return True

    def validated(self, seconds: float) -> None:
        """Hear what a validation took, and the checkpoint after it."""


class Minutes:
    """So many minutes of wall time, all in: the schedule is the recipe's, run over the time that training has.

    ``validation`` and ``bundle`` are the seconds kept for the end: for the last validation with its checkpoints, and
    for the bundle. Whoever runs it foresees them; the first is measured as soon as there was one.
    """

    def __init__(self, minutes: float, epochs: int, steps: int) -> None:
        self.budget = 60 * minutes
        self.length = epochs * steps
        self.validation = self.bundle = 0.0
        self.spent = 0.0  # on validation so far

    def position(self, run: Standing) -> float:
        """Give the place on the schedule that the share of the time used corresponds to."""
        return self.length * min(1.0, run.elapsed / max(self._for_training, 1e-9))

    def is_up(self, run: Standing) -> bool:
        """Say whether what is left of the time is needed to end."""
        return run.elapsed >= self._for_training

    def validates(self, run: Standing) -> bool:
        """Say whether to validate: at the end, and before it where all validation together stays cheap."""
        return self.is_up(run) or self.spent + self.validation <= VALIDATING * run.elapsed

    def validated(self, seconds: float) -> None:
        """Hear what a validation took, and the checkpoint after it."""
        self.spent += seconds
        self.validation = seconds

    @property
    def _for_training(self) -> float:
        return (1 - MARGIN) * self.budget - self.validation - self.bundle


Pace = Epochs | Minutes
