"""What the sections of a report are made from: an evaluation, the card, the log and record of the run, thumbnails."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from googlenet.bundle import IN_RUN, MODEL
from googlenet.card import ModelCard
from googlenet.data.splits import RECORD, Recorded, read_record
from googlenet.errors import GoogLeNetError
from googlenet.evaluation.answers import Answers
from googlenet.evaluation.evaluate import Evaluation
from googlenet.files import open_regular
from googlenet.inference.certainty import Certainty, read_certainty
from googlenet.inference.classifier import Classifier
from googlenet.inference.engine import processor
from googlenet.reporting.examples import Examples, choose_examples
from googlenet.reporting.thumbnails import Thumbnails, add_heat, draw_thumbnails

LOG, UNREADABLE = "log.csv", "unreadable.csv"  # of a run; the room that writes them is above this one
MAX_LOG_BYTES = 16 << 20
MAX_LATENCY_SECONDS, MAX_ANSWERS = 0.3, 20  # of measuring how long one image takes


@dataclass(frozen=True)
class Material:
    """Everything a section may use.

    ``run`` is the directory of the run, ``None`` for a bundle outside of one; ``history`` its log, a dictionary for
    each row; ``record`` the images of the run with their splits. ``latency`` are seconds from pixels to probabilities
    of one image, as measured now, on ``processor``.
    """

    evaluation: Evaluation
    card: ModelCard
    path: Path
    run: Path | None
    history: Sequence[dict[str, float]]
    record: Sequence[Recorded]
    unreadable: int
    certainty: Certainty | None
    model_bytes: int
    latency: float | None
    processor: str
    examples: Examples
    thumbnails: Thumbnails = field(repr=False)

    @property
    def answers(self) -> Answers:
        """The answers to the images that were measured."""
        return self.evaluation.answers

    @property
    def several(self) -> bool:
        """Whether an image may have several labels, or none."""
        return self.card.multi_label

    @cached_property
    def images_of_class(self) -> NDArray[np.int64]:
        """How many of the measured images each class has, (K,)."""
        truth, count = self.answers.truth, len(self.card.class_names)
        return np.asarray(truth.sum(axis=0) if self.several else np.bincount(truth, minlength=count), np.int64)

    @property
    def learnt_of_class(self) -> list[int] | None:
        """How many images of each class the run learnt from, where the card says so."""
        found = self.card.data.get("class_images")
        if not isinstance(found, list) or len(found) != len(self.card.class_names):
            return None
        return found if all(isinstance(each, int) for each in found) else None

    @property
    def calibrated_on_these(self) -> bool:
        """Whether the images that are reported on also fitted the temperature and the scores of sets."""
        return self.evaluation.split == "val" and "calibrate" not in self.card.data


def gather(evaluation: Evaluation, classifier: Classifier) -> Material:
    """Collect what a report is made from; takes a few seconds at most, whatever the number of images."""
    bundle, card = classifier.bundle, classifier.card
    run = bundle.path.parent if bundle.path.name == IN_RUN else None
    examples = choose_examples(evaluation.answers)
    images = evaluation.answers.images
    thumbnails = draw_thumbnails(images, examples.wanted, examples.confident, card.preprocessing)
    add_heat(thumbnails, classifier, images, examples.evidence_for)
    return Material(
        evaluation=evaluation,
        card=card,
        path=run or bundle.path,
        run=run,
        history=_history(run / LOG) if run else [],
        record=_record(run, card) if run else [],
        unreadable=max(0, len(_lines(run / UNREADABLE)) - 1) if run else 0,
        certainty=read_certainty(bundle),
        model_bytes=(bundle.path / MODEL).stat().st_size,
        latency=_latency(classifier),
        processor=" ".join(processor().split()),
        examples=examples,
        thumbnails=thumbnails,
    )


def _lines(path: Path) -> list[list[str]]:
    """Read the cells of a CSV file of the run; none where it is missing, too large or damaged."""
    try:
        with open_regular(path) as file:
            content = file.read(MAX_LOG_BYTES)
        return list(csv.reader(io.StringIO(content.decode(), newline="")))
    except (OSError, ValueError, csv.Error):
        return []


def _history(path: Path) -> list[dict[str, float]]:
    """Read the log: the finite numbers of each row, by column."""
    rows = _lines(path)
    found = []
    for row in rows[1:]:
        numbers = {name: _number(cell) for name, cell in zip(rows[0], row, strict=False)}
        found.append({name: value for name, value in numbers.items() if math.isfinite(value)})
    return [row for row in found if "epoch" in row]


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _record(run: Path, card: ModelCard) -> list[Recorded]:
    sha256 = card.data.get("record")
    try:
        return read_record(run / RECORD, sha256) if isinstance(sha256, str) else []
    except GoogLeNetError:  # altered: evaluate says so
        return []


def _latency(classifier: Classifier) -> float:
    """Return the median seconds of the network for one image, measured for a fraction of a second."""
    image = np.zeros((1, *classifier.engine.image), np.uint8)
    classifier.engine.probabilities(image)
    taken: list[float] = []
    while len(taken) < MAX_ANSWERS and sum(taken) < MAX_LATENCY_SECONDS:
        begun = time.perf_counter()
        classifier.engine.probabilities(image)
        taken.append(time.perf_counter() - begun)
    return median(taken)
