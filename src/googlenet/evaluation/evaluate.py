"""``evaluate``: measure a classifier on labelled images, with the same engine that predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from googlenet.card import ModelCard
from googlenet.data.image_set import DataLike
from googlenet.dataframes import to_dataframe, to_html
from googlenet.errors import DataError, ImageError
from googlenet.evaluation.answers import Answers, Mistake
from googlenet.evaluation.comparison import Comparison, compare_answers
from googlenet.evaluation.coverage import Coverage
from googlenet.evaluation.intervals import MIN_GROUPS, Interval, proportion
from googlenet.evaluation.metrics import Metrics, MultiLabelMetrics, measure, measure_labels
from googlenet.evaluation.reliability import Reliability, temperature_of
from googlenet.evaluation.resampling import metric_intervals, titled
from googlenet.evaluation.selection import Selection, in_the_order_of, select_images, without_images_of
from googlenet.inference.certainty import limit_of
from googlenet.inference.classifier import Classifier, Origin
from googlenet.inference.conformal import LAC, check_level
from googlenet.inference.crops import load
from googlenet.inference.engine import Floats
from googlenet.metrics import truth_of
from googlenet.text import first_few, printable

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class Evaluation:
    """How good a classifier is, and on which images that was measured.

    ``metrics`` are :class:`MultiLabelMetrics` where an image may have several labels, or none. ``images`` counts the
    images of ``split``: ``"val"``, ``"calibrate"``, ``"test"``, ``"train"``, ``"all"``, or ``"unseen"``, which leaves
    out the ``left_out`` images that the run was trained on, chosen or calibrated by. ``unreadable`` has the names of
    images that could not be read, with the reasons. ``notes`` explain, a sentence each, how the images were chosen and
    read. ``answers`` has the probabilities of every image; ``against``, the comparison with another run if one was
    named; ``card`` is that of the run, with its calibration, and ``origin`` tells where its bundle is.
    """

    metrics: Metrics | MultiLabelMetrics
    data: str
    split: str
    images: int
    unreadable: dict[str, str]
    precision: str
    left_out: int = 0
    notes: tuple[str, ...] = ()
    answers: Answers = field(kw_only=True, repr=False, compare=False)
    against: Against | None = field(default=None, kw_only=True, repr=False, compare=False)
    card: ModelCard = field(kw_only=True, repr=False, compare=False)
    origin: Origin = field(kw_only=True, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"Evaluation({self})"

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The images that were answered wrong, the highest loss first: ``.path``, ``.true``, ``.predicted``, …

        ::

            for mistake in googlenet.evaluate("runs/flowers", "photos/").mistakes[:10]:
                print(mistake.path, mistake.true, mistake.predicted, mistake.loss)
        """
        return self.answers.mistakes

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Each metric with its 95 % interval: Wilson's for shares of images, the BCa bootstrap for the others.

        Where images have groups, whole groups are resampled.
        """
        answers = self.answers
        found = metric_intervals(answers.truth, answers.probabilities, answers.thresholds, answers.groups)
        return {name: each for name, each in found.items() if name in self.metrics.shown}

    @cached_property
    def recall_intervals(self) -> tuple[Interval, ...]:
        """The recall of each class with its 95 % interval."""
        answers, several = self.answers, bool(self.answers.thresholds)
        found = []
        for number in range(len(answers.class_names)):
            of_class = answers.truth[:, number] if several else answers.truth == number
            right = answers.named[of_class, number] if several else answers.right[of_class]
            found.append(proportion(right, [answers.images[at].group for at in np.flatnonzero(of_class)]))
        return tuple(found)

    @cached_property
    def reliability(self) -> Reliability:
        """How far the stated probabilities can be believed: calibration error, and the parts of the Brier score.

        ::

            error = googlenet.evaluate("runs/flowers", "photos/").reliability.error
            error.error, error.perfect  # 0.021, and 0.034: a perfect model shows as much on so many images
        """
        return Reliability.of(self.answers)

    def coverage(self, level: float = 0.9, score: str = LAC) -> Coverage:
        """Return how often conformal sets at ``level`` hold the true class, of all images and of each class.

        ``score`` is ``"lac"`` or ``"aps"``, as in :meth:`Prediction.set`, whose errors are raised.

        ::

            found = googlenet.evaluate("runs/flowers", "photos/").coverage(0.9)
            [(each.name, each.held.value) for each in found.classes if each.held]
        """
        check_level(level)
        return Coverage.of(self.answers, limit_of(self.origin, float(level), score), level, score)

    def described(self) -> list[str]:
        """Return each metric with its interval, as people read it."""
        return [titled(name, each) for name, each in self.intervals.items()]

    def __str__(self) -> str:
        return f"{self.metrics} ({self.split} of {printable(self.data)}, {self.precision})"

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes: what ``googlenet evaluate --json`` prints."""
        return {
            "data": self.data,
            "split": self.split,
            "left_out": self.left_out,
            "precision": self.precision,
            "unreadable": self.unreadable,
            **self.metrics.to_dict(),
            "intervals": {name: each.to_dict() for name, each in self.intervals.items()},
            "recall_intervals": {
                name: each.to_dict() for name, each in zip(self.answers.class_names, self.recall_intervals, strict=True)
            },
            "reliability": {**self.reliability.to_dict(), **temperature_of(self.card)},
            **({"against": self.against.to_dict()} if self.against else {}),
        }

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a pandas DataFrame with a row for each class (or label).

        Raises :class:`MissingExtraError` where pandas is not installed: ``pip install 'googlenet[pandas]'``.

        ::

            googlenet.evaluate("runs/flowers", "photos/").to_dataframe().sort_values("recall").head()
        """
        return to_dataframe(self.metrics.rows, list(self.metrics.rows[0]))

    def _repr_html_(self) -> str:
        return to_html(str(self), self.metrics.rows)


@dataclass(frozen=True)
class Against:
    """How a run compares with ``other``, on the images that ``evaluation`` of the other measured, too."""

    other: str
    comparison: Comparison
    evaluation: Evaluation = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {"run": self.other, "metrics": self.evaluation.metrics.values, **self.comparison.to_dict()}


def evaluate(
    run: str | Path,
    data: DataLike | None = None,
    *,
    split: str | None = None,
    precision: str | None = None,
    against: str | Path | None = None,
    device: str = "cpu",
    crops: int | str = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure the classifier of a run (or bundle) on labelled images.

    Args:
        run: a run of ``train``, or a bundle.
        data: labelled images as ``train`` takes them; one class or one image is enough. By default, the data that
            the run was trained on.
        split: ``"val"``, ``"calibrate"``, ``"test"``, ``"train"`` or ``"all"``. By default, of the data that the run
            was trained on, the images kept to report (``"test"``; where there are none, those held out, ``"val"``),
            and of other data every image that it was neither trained on nor chosen nor calibrated by. A run recognises
            its images by their content, whatever their names; a bundle without its run does not.
        precision, device: what to compute in, and where, as :func:`googlenet.load` takes them.
        against: another run or bundle of the same classes, to compare with on the same images: ``.against``. Images
            that it was trained on are left out; those of an explicit ``split`` are refused.
        crops: how many parts of each image to answer from, as :func:`googlenet.load` takes it: 1, 10, 144 or
            ``"auto"``. :func:`googlenet.compare_crops` measures several at a time.
        progress: called with the number of images measured so far, and of all images.

    Raises:
        BundleError, DataError, DeviceError: raised before any image is read.

    ::

        evaluation = googlenet.evaluate("runs/flowers", "photos/")
        print(evaluation.metrics.top1, evaluation.intervals["top1"], len(evaluation.mistakes))
    """
    classifier = load(run, precision, device, crops)
    if against is None:
        return evaluate_on(classifier, select_images(classifier.bundle, data, split), progress)
    other = load(against, precision, device, crops)
    check_same_classes(other, str(against), classifier, str(run))
    selection = without_images_of(other.bundle, select_images(classifier.bundle, data, split), split)
    evaluation = evaluate_on(classifier, selection, progress)
    return replace(evaluation, against=_against(other, str(against), selection, evaluation, progress))


def check_same_classes(other: Classifier, its_name: str, classifier: Classifier, name: str) -> None:
    """Raise :class:`DataError` unless two classifiers have the same classes."""
    if other.card.multi_label != classifier.card.multi_label:
        one, several = (name, its_name) if other.card.multi_label else (its_name, name)
        raise DataError(
            f"{printable(several)} predicts several labels for an image, {printable(one)} one class: compare runs of "
            "the same kind"
        )
    if set(other.class_names) != set(classifier.class_names):
        raise DataError(
            f"{printable(its_name)} has other classes ({first_few(other.class_names)}) than {printable(name)} "
            f"({first_few(classifier.class_names)}): compare runs of the same classes"
        )


def _against(
    other: Classifier,
    name: str,
    selection: Selection,
    evaluation: Evaluation,
    progress: Callable[[int, int], None] | None,
) -> Against:
    images = in_the_order_of(other.class_names, selection.data, selection.images)
    second = evaluate_on(other, replace(selection, images=images, notes=()), progress)
    place = {item.name: at for at, item in enumerate(second.answers.images)}
    both = [(at, place[item.name]) for at, item in enumerate(evaluation.answers.images) if item.name in place]
    here, there = map(list, zip(*both, strict=True)) if both else ([], [])
    if not both:
        raise DataError(f"{printable(selection.data)}: no image could be read by both runs")
    groups = [evaluation.answers.images[at].group for at in here]
    comparison = compare_answers(evaluation.answers.right[here], second.answers.right[there], groups)
    return Against(name, comparison, second)


def evaluate_on(
    classifier: Classifier, selection: Selection, progress: Callable[[int, int], None] | None = None
) -> Evaluation:
    """Measure a classifier on the images chosen for it."""
    images, where = selection.images, f"images of {selection.split}"
    read, probabilities, usual, unreadable = [], [], [], {}
    answers = classifier.predict_many(item.source for item in images.items)
    for done, (item, answer) in enumerate(zip(images.items, answers, strict=True), start=1):
        if isinstance(answer, ImageError):
            unreadable[item.name] = str(answer)
        else:
            read.append(item)
            probabilities.append(answer.probabilities)
            usual.append(answer.p_value)
        if progress:
            progress(done, len(images))
    name = printable(selection.data)
    if not read:
        reason = next(iter(unreadable.values()), "there are none")
        raise DataError(f"{name}: none of the {len(images)} {where} could be read: {reason}")
    if not any(item.labels for item in read):
        raise DataError(f"{name}: none of the {len(read)} {where} has a label: add images that have one")
    p_values = None if None in usual else np.array(usual, float)
    found = Answers(tuple(read), np.stack(probabilities), classifier.class_names, classifier.card.thresholds, p_values)
    metrics = measured(classifier.card, [item.labels for item in read], found.probabilities)
    return Evaluation(metrics, selection.data, selection.split, len(images), unreadable, classifier.engine.precision,
                      selection.left_out, (*selection.notes, *_notes(found)), answers=found,
                      card=classifier.card, origin=classifier.origin)  # fmt: skip


def _notes(answers: Answers) -> list[str]:
    """Say which classes were not measured, and where intervals cannot be had."""
    present = {label for item in answers.images for label in item.labels}
    absent = [each for label, each in enumerate(answers.class_names) if label not in present]
    notes = [f"no image of {first_few(absent)} was measured: their accuracy is not known"] if absent else []
    groups = set(answers.groups)
    if groups != {None} and len(groups - {None}) + answers.groups.count(None) < MIN_GROUPS:
        counted = f"{len(groups):,} groups, whose images may be" if len(groups) > 1 else "one group, and may be"
        notes.append(f"the images are of {counted} alike: {MIN_GROUPS} groups or more are needed for an interval")
    return notes


def measured(card: ModelCard, labels: Sequence[tuple[int, ...]], probabilities: Floats) -> Metrics | MultiLabelMetrics:
    """Measure ``probabilities`` (N, K) of the classifier of a card against the class numbers of each of N images."""
    known = truth_of(labels, len(card.class_names), card.multi_label)
    if not card.multi_label:
        return measure(known, probabilities, card.class_names)
    return measure_labels(known, probabilities, card.thresholds, card.class_names)
