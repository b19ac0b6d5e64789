"""What an evaluation says of how far its probabilities can be believed, and of the calibration that the run has."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from googlenet.card import ModelCard
from googlenet.evaluation.answers import Answers
from googlenet.evaluation.calibration import (
    CalibrationError,
    Decomposition,
    calibration_error,
    decompose,
    stated_and_right,
)


@dataclass(frozen=True)
class Reliability:
    """How far the stated probabilities of answers are from the share of answers that are right.

    With one label for each image, an answer is its most probable class; with several labels, each label of each image.
    ``error`` is the calibration error beside what a perfect model shows, ``brier`` the Brier score of the answers in
    parts. ``grouped``: images have groups and err together, so that chance explains more than for a perfect model of
    single images.
    """

    error: CalibrationError
    brier: Decomposition
    grouped: bool = False

    @classmethod
    def of(cls, answers: Answers) -> Reliability:
        """Measure it on the answers to N images."""
        stated, right = stated_and_right(answers.probabilities, answers.truth)
        grouped = any(group is not None for group in answers.groups)
        return cls(calibration_error(stated, right), decompose(stated, right), grouped)

    @property
    def verdict(self) -> str:
        """Whether miscalibration is visible, in words; empty where images have groups."""
        if self.grouped:
            return ""
        return "more than chance explains" if self.error.is_visible else "no more than chance explains"

    def described(self) -> list[str]:
        """Return what people read, in lines of at most 80 letters."""
        error, parts = self.error, self.brier
        limit = f"a perfect model shows up to {error.perfect:.1%}"
        verdict = f": {self.verdict}" if self.verdict else ""
        return [
            f"calibration error {error.shown} ({limit}){verdict}",
            f"Brier score of the answers {parts.score:.4f} = miscalibration {parts.miscalibration:.4f}",
            f"  - discrimination {parts.discrimination:.4f} + uncertainty {parts.uncertainty:.4f}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {
            "calibration_error": self.error.error,
            "perfect_model": self.error.perfect,
            "answers": self.error.images,
            "brier_parts": asdict(self.brier),
        }


def temperature_of(card: ModelCard) -> dict[str, Any]:
    """Return the calibration of a run as ``json.dumps`` takes it: its temperature, and what it was measured on."""
    if not card.calibration:
        return {"temperature": None}
    found = card.temperature
    return {"temperature": list(found) if isinstance(found, tuple) else found, **card.calibration}
