"""What more crops and more networks gain, and what they cost: Table 3 of the paper for runs of one's own.

Szegedy et al., *Going deeper with convolutions* (2015), section 7: the probabilities of all crops and networks are
averaged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from googlenet.data.image_set import DataLike
from googlenet.errors import DataError
from googlenet.evaluation.answers import Answers
from googlenet.evaluation.evaluate import Evaluation, check_same_classes, evaluate_on, measured
from googlenet.evaluation.selection import Selection, in_the_order_of, select_images, without_images_of
from googlenet.inference.crops import CropClassifier, load
from googlenet.inference.origin import check_crops
from googlenet.text import printable


@dataclass(frozen=True)
class Cost:
    """An accuracy and what it costs: ``networks`` and ``crops``, ``"1"``, ``"10"``, ``"144"`` or ``"auto"``.

    ``passes`` is how often a network is computed for an image, on average: crops that coincide are computed once.
    ``images_per_second`` is of this machine, images decoded.
    """

    networks: int
    crops: str
    passes: float
    images_per_second: float
    evaluation: Evaluation

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {
            "networks": self.networks,
            "crops": self.crops,
            "passes": self.passes,
            "images_per_second": self.images_per_second,
            "metrics": self.evaluation.metrics.values,
            "intervals": {name: each.to_dict() for name, each in self.evaluation.intervals.items()},
        }


@dataclass(frozen=True)
class Costs:
    """What crops and networks gain and cost, on the images of ``split`` of ``data``."""

    rows: tuple[Cost, ...]
    data: str
    split: str
    images: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        rows = [each.to_dict() for each in self.rows]
        return {"data": self.data, "split": self.split, "images": self.images, "rows": rows}


def compare_crops(
    runs: Sequence[str | Path],
    data: DataLike | None = None,
    *,
    crops: Sequence[int | str] = (1, 10, 144, "auto"),
    split: str | None = None,
    precision: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Costs:
    """Measure the first run, and all of them together, with each number of crops.

    Args:
        runs: runs or bundles of the same classes; one is enough.
        data: labelled images, as for :func:`googlenet.evaluate`; images that any run was trained on are left out.
        crops: numbers of crops, as :func:`googlenet.load` takes them.
        split: as for :func:`googlenet.evaluate`.
        precision: as for :func:`googlenet.evaluate`.
        progress: called with the number of images measured so far, and of all images.

    Raises:
        BundleError, DataError, DeviceError, GoogLeNetError: raised before any image is read.

    ::

        for row in googlenet.compare_crops(["runs/flowers", "runs/honest"], "photos/", crops=(1, 10)).rows:
            print(row.networks, row.crops, row.passes, row.evaluation.metrics.top1)
    """
    counts = [check_crops(each) for each in crops]
    selection = _selection(runs, data, split, precision)
    rows = []
    for number, count in enumerate(counts):
        members = []
        for place, run in enumerate(runs):
            begun = (number * len(runs) + place) * len(selection.images)
            members.append(_measured(run, count, selection, precision, _from(progress, begun, len(counts) * len(runs))))
        rows.append(members[0])
        if len(members) > 1:
            rows.append(_ensemble(members))
    rows.sort(key=lambda row: row.networks)
    first = rows[0].evaluation
    return Costs(tuple(rows), first.data, first.split, len(first.answers), first.notes)


def _selection(
    runs: Sequence[str | Path], data: DataLike | None, split: str | None, precision: str | None
) -> Selection:
    first, *others = [load(run, precision) for run in runs]
    selection = select_images(first.bundle, data, split)
    for run, other in zip(runs[1:], others, strict=True):
        check_same_classes(other, str(run), first, str(runs[0]))
        selection = without_images_of(other.bundle, selection, split)
    return selection


def _from(progress: Callable[[int, int], None] | None, begun: int, parts: int) -> Callable[[int, int], None] | None:
    return progress and (lambda done, total: progress(begun + done, parts * total))


def _measured(run: str | Path, count: str, selection: Selection, precision: str | None, progress: Any) -> Cost:
    classifier = load(run, precision, crops=count)
    images = in_the_order_of(classifier.class_names, selection.data, selection.images)
    begun = time.monotonic()
    evaluation = evaluate_on(classifier, replace(selection, images=images), progress)
    seconds = time.monotonic() - begun
    passes = 1.0
    if isinstance(classifier, CropClassifier):
        passes = classifier.crops_computed / max(classifier.images_answered, 1)
    return Cost(1, count, passes * classifier.card.views, len(images) / seconds, evaluation)


def _ensemble(members: Sequence[Cost]) -> Cost:
    """Return the mean of the probabilities of several networks, on the images that all of them could read."""
    first, names = members[0].evaluation, members[0].evaluation.answers.class_names
    places = [{item.name: at for at, item in enumerate(each.evaluation.answers.images)} for each in members]
    items = [item for item in first.answers.images if all(item.name in place for place in places)]
    if not items:
        raise DataError(f"{printable(first.data)}: no image could be read by all runs")
    parts = []
    for place, each in zip(places, members, strict=True):
        answers = each.evaluation.answers
        order = [answers.class_names.index(name) for name in names]
        parts.append(answers.probabilities[[place[item.name] for item in items]][:, order])
    thresholds = np.mean([_thresholds(each.evaluation.answers, names) for each in members], axis=0)
    found = Answers(tuple(items), np.mean(parts, axis=0), names, tuple(map(float, thresholds)))
    card = replace(first.card, thresholds=found.thresholds)
    metrics = measured(card, [item.labels for item in items], found.probabilities)
    evaluation = replace(first, metrics=metrics, answers=found, card=card)
    seconds = sum(1 / each.images_per_second for each in members)
    return Cost(len(members), members[0].crops, sum(each.passes for each in members), 1 / seconds, evaluation)


def _thresholds(answers: Answers, names: Sequence[str]) -> list[float]:
    """Return the thresholds in the order of ``names``: none where each image has one label."""
    return [answers.thresholds[answers.class_names.index(name)] for name in names] if answers.thresholds else []
