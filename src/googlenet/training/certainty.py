"""Calibration at the end of a run: the bundle learns on held-out images how sure its answers may be."""

from __future__ import annotations

from collections.abc import Sequence

from googlenet.bundle import CERTAINTY, Bundle
from googlenet.card import ModelCard
from googlenet.data.image_set import LabelledImage
from googlenet.evaluation.certainty import certainty_of, held_out_answers, with_temperature
from googlenet.inference.certainty import MAX_SCORES, MIN_CALIBRATION_IMAGES
from googlenet.training.estimate import seconds_left
from googlenet.training.trainer import Trainer

MAX_IMAGES_TOGETHER = 500  # of several processes: the others wait, and would take the first one for lost
PROBE_IMAGES = 16


def calibration_images(trainer: Trainer) -> tuple[LabelledImage, ...]:
    """Return the held-out images that calibrate: those with this role, else all; none where these are too few."""
    images = trainer.data.splits.get("calibrate") or trainer.data.val
    return images.items if len(images) >= MIN_CALIBRATION_IMAGES else ()


def calibrate(bundle: Bundle, items: Sequence[LabelledImage], limit: int) -> tuple[ModelCard, dict[str, bytes]]:
    """Return the card with a temperature, and the further file that the bundle gets, from its answers to images."""
    answers = held_out_answers(bundle, items, limit)
    if not len(answers.truth):
        return bundle.card, {}
    found, certainty = certainty_of(answers)
    return with_temperature(bundle.card, found), {CERTAINTY: certainty.to_bytes()}


def max_images(trainer: Trainer) -> int:
    """Return how many images calibrate at most."""
    return MAX_SCORES if trainer.processes.count == 1 else MAX_IMAGES_TOGETHER


def rehearse_calibration(bundle: Bundle, trainer: Trainer, timed: bool) -> float:
    """Calibrate with a few images; with ``timed``, return the seconds that all of them will take beyond that."""
    items = calibration_images(trainer)
    if not items:
        return 0.0
    calibrate(bundle, items, PROBE_IMAGES)
    if not timed:
        return 0.0
    total = min(len(items), max_images(trainer))
    return seconds_left(lambda count: held_out_answers(bundle, items, count), total, PROBE_IMAGES)
