"""``evaluate``: measure a classifier on labelled images, with the same engine that predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from googlenet.data.image_set import DataLike
from googlenet.dataframes import to_dataframe, to_html
from googlenet.errors import DataError, ImageError
from googlenet.evaluation.metrics import Metrics, MultiLabelMetrics, measure, measure_labels
from googlenet.evaluation.selection import Selection, select_images
from googlenet.inference.classifier import Classifier, load
from googlenet.inference.engine import Floats
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
    read.
    """

    metrics: Metrics | MultiLabelMetrics
    data: str
    split: str
    images: int
    unreadable: dict[str, str]
    precision: str
    left_out: int = 0
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Evaluation({self})"

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


def evaluate(
    run: str | Path,
    data: DataLike | None = None,
    *,
    split: str | None = None,
    precision: str | None = None,
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
        precision: the precision to compute in, as :func:`googlenet.load` takes it.
        progress: called with the number of images measured so far, and of all images.

    Raises:
        BundleError, DataError, DeviceError: raised before any image is read.

    ::

        print(googlenet.evaluate("runs/flowers", "photos/").metrics.top1)
    """
    classifier = load(run, precision)
    return evaluate_on(classifier, select_images(classifier.bundle, data, split), progress)


def evaluate_on(
    classifier: Classifier, selection: Selection, progress: Callable[[int, int], None] | None = None
) -> Evaluation:
    """Measure a classifier on the images chosen for it."""
    images, where = selection.images, f"images of {selection.split}"
    truth, probabilities, unreadable = [], [], {}
    answers = classifier.predict_many(item.source for item in images.items)
    for done, (item, answer) in enumerate(zip(images.items, answers, strict=True), start=1):
        if isinstance(answer, ImageError):
            unreadable[item.name] = str(answer)
        else:
            truth.append(item.labels)
            probabilities.append(answer.probabilities)
        if progress:
            progress(done, len(images))
    name = printable(selection.data)
    if not truth:
        raise DataError(f"{name}: none of the {len(images)} {where} could be read")
    if not any(truth):
        raise DataError(f"{name}: none of the {len(truth)} {where} has a label: add images that have one")
    metrics = measured(classifier, truth, np.stack(probabilities))
    present = {label for labels in truth for label in labels}
    absent = [each for label, each in enumerate(classifier.class_names) if label not in present]
    notes = [f"no image of {first_few(absent)} was measured: their accuracy is not known"] if absent else []
    return Evaluation(metrics, selection.data, selection.split, len(images), unreadable, classifier.engine.precision,
                      selection.left_out, (*selection.notes, *notes))  # fmt: skip


def measured(
    classifier: Classifier, truth: Sequence[tuple[int, ...]], probabilities: Floats
) -> Metrics | MultiLabelMetrics:
    """Measure ``probabilities`` (N, K) against the class numbers of each of N images."""
    names, thresholds = classifier.class_names, classifier.card.thresholds
    if not classifier.card.multi_label:
        return measure(np.array([label for (label,) in truth]), probabilities, names)
    has = np.zeros((len(truth), len(names)), bool)
    for row, labels in zip(has, truth, strict=True):
        row[list(labels)] = True
    return measure_labels(has, probabilities, thresholds, names)
