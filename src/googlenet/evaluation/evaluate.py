"""``evaluate``: a bundle's answers on labelled images, through the same engine that predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from googlenet.data.image_set import DataLike
from googlenet.dataframes import to_dataframe, to_html
from googlenet.errors import DataError, ImageError
from googlenet.evaluation.choose import Chosen, choose
from googlenet.evaluation.metrics import Metrics, MultiLabelMetrics, measure, measure_labels
from googlenet.inference.classifier import Classifier, load
from googlenet.inference.engine import Floats
from googlenet.text import first_few, printable

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What was measured, on which images, and which of them could not be read.

    ``metrics`` are :class:`MultiLabelMetrics` where the classifier names several labels of an image, or none.
    ``split`` is the one that was measured: ``"val"``, ``"test"``, ``"train"``, ``"all"``, or ``"unseen"`` where
    ``left_out`` images were not, since the run learnt from them. ``notes`` say this, what else
    of the data was left out, and what was taken otherwise than as written, a sentence each.
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
        """Give what ``json.dumps`` takes: what ``googlenet evaluate --json`` prints."""
        return {
            "data": self.data,
            "split": self.split,
            "left_out": self.left_out,
            "precision": self.precision,
            "unreadable": self.unreadable,
            **self.metrics.to_dict(),
        }

    def to_dataframe(self) -> pandas.DataFrame:
        """Give a row a class (or label) as a pandas DataFrame.

        Raises :class:`MissingExtraError` where pandas is not installed: ``pip install 'googlenet[pandas]'``.

        ::

            googlenet.evaluate("runs/flowers", "photos/").to_dataframe().sort_values("recall").head()
        """
        return to_dataframe(self.metrics.rows, list(self.metrics.rows[0]))

    def _repr_html_(self) -> str:
        return to_html(str(self), self.metrics.rows)


def evaluate(
    run: str | Path,
    data: DataLike,
    *,
    split: str | None = None,
    precision: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure the classifier of a run (or bundle) on labelled images.

    Args:
        run: a run of ``train``, or a bundle.
        data: labelled images as ``train`` takes them; here one class or one image will do.
        split: ``"val"``, ``"test"``, ``"train"`` or ``"all"``. By default, of the images that the run was trained
            on, those that it held out (``"val"``), and of any others all that it did not learn from. A run knows the
            images it learnt from by their content, whatever they are called now; a bundle without its run does not.
        precision: what to compute in, as :func:`googlenet.load` takes it.
        progress: called with the number of images done and of all images.

    Raises:
        BundleError, DataError, DeviceError: before any work is done.

    ::

        print(googlenet.evaluate("runs/flowers", "photos/").metrics.top1)
    """
    classifier = load(run, precision)
    return evaluate_on(classifier, choose(classifier.bundle, data, split), progress)


def evaluate_on(
    classifier: Classifier, chosen: Chosen, progress: Callable[[int, int], None] | None = None
) -> Evaluation:
    """Measure a classifier on images that were chosen for it."""
    images, where = chosen.images, f"images of {chosen.split}"
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
    name = printable(chosen.data)
    if not truth:
        raise DataError(f"{name}: none of the {len(images)} {where} could be read")
    if not any(truth):
        raise DataError(f"{name}: none of the {len(truth)} {where} has a label: add some that have")
    metrics = measured(classifier, truth, np.stack(probabilities))
    present = {label for labels in truth for label in labels}
    absent = [each for label, each in enumerate(classifier.class_names) if label not in present]
    notes = (f"no image of {first_few(absent)} was measured: of these nothing is known",) if absent else ()
    return Evaluation(metrics, chosen.data, chosen.split, len(images), unreadable, classifier.engine.precision,
                      chosen.left_out, (*chosen.notes, *notes))  # fmt: skip


def measured(
    classifier: Classifier, truth: Sequence[tuple[int, ...]], probabilities: Floats
) -> Metrics | MultiLabelMetrics:
    """Measure ``probabilities`` (N, K) against the classes of each image, as the classifier numbers them."""
    names, thresholds = classifier.class_names, classifier.card.thresholds
    if not classifier.card.multi_label:
        return measure(np.array([label for (label,) in truth]), probabilities, names)
    has = np.zeros((len(truth), len(names)), bool)
    for row, labels in zip(has, truth, strict=True):
        row[list(labels)] = True
    return measure_labels(has, probabilities, thresholds, names)
