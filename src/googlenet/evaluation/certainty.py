"""How sure a classifier may be, measured on held-out images: its temperature, scores for sets, and for "unknown"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.bundle import Bundle
from googlenet.card import ModelCard
from googlenet.data.image_set import LabelledImage
from googlenet.errors import ImageError
from googlenet.evaluation.calibration import Temperature, calibrated, choose_temperature, moved_thresholds
from googlenet.images.resize import load_image
from googlenet.inference import conformal
from googlenet.inference.batches import BATCH, answer_many
from googlenet.inference.certainty import MAX_SCORES, MIN_CALIBRATION_IMAGES, Certainty
from googlenet.inference.engine import Engine, Floats
from googlenet.inference.unknown import Detector
from googlenet.metrics import truth_of


@dataclass(frozen=True)
class HeldOutAnswers:
    """Answers of a classifier without temperature: probabilities (N, K), truth as ``choose_temperature`` takes it,
    and embeddings (N, D), or ``None`` where the network has none.
    """

    probabilities: Floats
    truth: NDArray[Any]
    embeddings: Floats | None


def held_out_answers(bundle: Bundle, items: Sequence[LabelledImage], limit: int = MAX_SCORES) -> HeldOutAnswers:
    """Answer up to ``limit`` held-out images with the engine that predicts; unreadable ones are left out."""
    engine, count = Engine(bundle), len(bundle.card.class_names)
    chosen = np.sort(np.random.default_rng(0).permutation(len(items))[:limit])
    some = [items[index] for index in chosen]

    def infer(batch: Any, streams: int) -> Floats:
        if not engine.has_embeddings:
            return engine.probabilities(batch, streams)
        return np.concatenate(engine.probabilities_and_embeddings(batch, streams), axis=1)

    answers = answer_many(
        lambda source: load_image(source, bundle.card.preprocessing), infer, [item.source for item in some], BATCH
    )
    read = [(item.labels, row) for item, (_, row) in zip(some, answers, strict=True) if not isinstance(row, ImageError)]
    rows = np.stack([row for _, row in read]) if read else np.empty((0, count), np.float32)
    truth = truth_of([labels for labels, _ in read], count, bundle.card.multi_label)
    return HeldOutAnswers(rows[:, :count], truth, rows[:, count:] if rows.shape[1] > count else None)


def certainty_of(answers: HeldOutAnswers) -> tuple[Temperature, Certainty]:
    """Fit the temperature, and return with it the calibrated scores of the images. Of fewer than 10, nothing useful."""
    found = choose_temperature(answers.probabilities, answers.truth)
    scores, after, several = {}, calibrated(answers.probabilities, found.value), answers.truth.ndim > 1
    if not several:
        scores = {name: np.sort(conformal.scores(after, answers.truth, name)) for name in conformal.METHODS}
    detector = None if answers.embeddings is None else Detector.fit(answers.embeddings, after, several)
    return found, Certainty(scores, detector)


def with_temperature(card: ModelCard, found: Temperature) -> ModelCard:
    """Return the card with the temperature, and with thresholds that name the same labels as before."""
    thresholds = moved_thresholds(card.thresholds, found.value) if isinstance(found.value, tuple) else card.thresholds
    measured = {"images": found.images, "log_loss": found.after, "log_loss_uncalibrated": found.before}
    return replace(card, temperature=found.value, thresholds=thresholds, calibration=measured)


def described(card: ModelCard) -> str:
    """Say in one line what calibration did."""
    if not card.calibration:
        return f"not calibrated: that takes {MIN_CALIBRATION_IMAGES} held-out images"
    images = int(card.calibration["images"])
    before, after = (card.calibration[name] for name in ("log_loss_uncalibrated", "log_loss"))
    if before == after:
        return f"temperature 1: on {images:,} held-out images no other lowers the log loss ({before:.4g})"
    shown = shown_temperature(card)
    return f"temperature {shown}: log loss {before:.4g} → {after:.4g} on {images:,} held-out images, cross-fitted"


def shown_temperature(card: ModelCard, to: str = " to ") -> str:
    """Return the temperature as people read it: of several labels the lowest and the highest, where these differ."""
    found = card.temperature
    ends = (min(found), max(found)) if isinstance(found, tuple) else (found,)
    return to.join(dict.fromkeys(f"{end:.3g}" for end in ends))
