"""``evaluate``: a bundle's answers on labelled pictures, through the same engine that predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from googlenet.data.pictures import VAL_FRACTION, LabelledData, Pictures, open_data
from googlenet.errors import DataError, ImageError
from googlenet.evaluation.metrics import Metrics, MultiLabelMetrics, measure, measure_labels
from googlenet.inference.classifier import Classifier, load
from googlenet.inference.engine import Floats


@dataclass(frozen=True)
class Evaluation:
    """What was measured, on which pictures, and which of them could not be read.

    ``notes`` say what of the data was left out, and what was taken otherwise than as written, a sentence each.
    ``metrics`` are :class:`MultiLabelMetrics` where the classifier names several labels of a picture, or none.
    """

    metrics: Metrics | MultiLabelMetrics
    data: str
    split: str
    pictures: int
    unreadable: dict[str, str]
    precision: str
    notes: tuple[str, ...] = ()


def evaluate(
    run: str | Path,
    data: str | Path | LabelledData,
    *,
    split: str | None = None,
    precision: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    follow_links: bool = False,
    path_column: str | None = None,
    label_column: str | None = None,
    multi_label: bool = False,
    download: bool = False,
) -> Evaluation:
    """Measure the classifier of a run (or bundle) on labelled pictures.

    Args:
        run: a run of ``train``, or a bundle.
        data: labelled pictures as ``train`` takes them.
        split: ``"val"`` (the default: the same pictures as were held out in training), ``"test"``, ``"train"`` or
            ``"all"``.
        precision: what to compute in, as :func:`googlenet.load` takes it.
        progress: called with the number of pictures done and of all pictures.
        follow_links, path_column, label_column, multi_label, download: how to read ``data``, as ``train`` takes them.

    Raises:
        BundleError, DataError, DeviceError: before any work is done.

    ::

        print(googlenet.evaluate("runs/flowers", "photos/").metrics.top1)
    """
    classifier = load(run, precision)
    recipe = classifier.card.recipe
    channels = classifier.card.preprocessing.channels
    seed, val_fraction = recipe.get("seed", 0), recipe.get("val_fraction", VAL_FRACTION)
    labelled = open_data(
        data, seed=seed, val_fraction=val_fraction, channels=channels,
        follow_links=follow_links, path_column=path_column, label_column=label_column, multi_label=multi_label,
        download=download,
    )  # fmt: skip
    if labelled.multi_label and not classifier.card.multi_label:
        raise DataError(
            f"{labelled.name} has pictures with several labels or none, {run} names one of each picture: "
            "evaluate a classifier that was trained on pictures with several labels"
        )
    chosen = split or "val"
    pictures = in_the_order_of(classifier, labelled, labelled.split(chosen))
    truth, probabilities, unreadable = [], [], {}
    answers = classifier.predict_many(item.source for item in pictures.items)
    for done, (item, answer) in enumerate(zip(pictures.items, answers, strict=True), start=1):
        if isinstance(answer, ImageError):
            unreadable[item.name] = str(answer)
        else:
            truth.append(item.labels)
            probabilities.append(answer.probabilities)
        if progress:
            progress(done, len(pictures))
    if not truth:
        raise DataError(f"{labelled.name}: none of the {len(pictures)} pictures of {chosen} could be read")
    if not any(truth):
        raise DataError(
            f"{labelled.name}: none of the {len(truth)} pictures of {chosen} has a label: add some that have"
        )
    metrics = measured(classifier, truth, np.stack(probabilities))
    precision = classifier.engine.precision
    return Evaluation(metrics, labelled.name, chosen, len(pictures), unreadable, precision, labelled.notes)


def measured(
    classifier: Classifier, truth: Sequence[tuple[int, ...]], probabilities: Floats
) -> Metrics | MultiLabelMetrics:
    """Measure ``probabilities`` (N, K) against the classes of each picture, as the classifier numbers them."""
    names, thresholds = classifier.class_names, classifier.card.thresholds
    if not classifier.card.multi_label:
        return measure(np.array([label for (label,) in truth]), probabilities, names)
    has = np.zeros((len(truth), len(names)), bool)
    for row, labels in zip(has, truth, strict=True):
        row[list(labels)] = True
    return measure_labels(has, probabilities, thresholds, names)


def in_the_order_of(classifier: Classifier, labelled: LabelledData, pictures: Pictures) -> Pictures:
    """Number the classes as the classifier does. A class it does not know is an error."""
    unknown = sorted(set(labelled.class_names) - set(classifier.class_names))
    if unknown:
        raise DataError(
            f"{labelled.name} has classes the classifier does not know: {', '.join(unknown)}; "
            f"it knows {', '.join(classifier.class_names)}"
        )
    to = [classifier.class_names.index(name) for name in labelled.class_names]
    items = tuple(replace(i, labels=tuple(to[label] for label in i.labels)) for i in pictures.items)
    return Pictures(classifier.class_names, items)
