"""``evaluate``: a bundle's answers on labelled pictures, through the same engine that predicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from googlenet.data.pictures import VAL_FRACTION, LabelledData, Pictures, open_data
from googlenet.errors import DataError, ImageError
from googlenet.evaluation.metrics import Metrics, measure
from googlenet.inference.classifier import Classifier, load


@dataclass(frozen=True)
class Evaluation:
    """What was measured, on which pictures, and which of them could not be read."""

    metrics: Metrics
    data: str
    split: str
    pictures: int
    unreadable: dict[str, str]


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure the classifier of a run (or bundle) on labelled pictures.

    Args:
        run: a run of ``train``, or a bundle.
        data: a folder as ``train`` takes it, or ``"digits"``.
        split: ``"val"`` (the default: the same pictures as were held out in training), ``"test"``, ``"train"`` or
            ``"all"``.
        progress: called with the number of pictures done and of all pictures.

    Raises:
        BundleError, DataError: before any work is done.

    ::

        print(googlenet.evaluate("runs/flowers", "photos/").metrics.top1)
    """
    classifier = load(run)
    recipe = classifier.card.recipe
    channels = classifier.card.preprocessing.channels
    seed, val_fraction = recipe.get("seed", 0), recipe.get("val_fraction", VAL_FRACTION)
    labelled = open_data(data, seed=seed, val_fraction=val_fraction, channels=channels)
    chosen = split or "val"
    pictures = _in_the_order_of(classifier, labelled, labelled.split(chosen))
    labels, probabilities, unreadable = [], [], {}
    answers = classifier.predict_many(item.source for item in pictures.items)
    for done, (item, answer) in enumerate(zip(pictures.items, answers, strict=True), start=1):
        if isinstance(answer, ImageError):
            unreadable[item.name] = str(answer)
        else:
            labels.append(item.label)
            probabilities.append(answer.probabilities)
        if progress:
            progress(done, len(pictures))
    if not labels:
        raise DataError(f"{data}: none of the {len(pictures)} pictures of {chosen} could be read")
    metrics = measure(np.array(labels), np.stack(probabilities), classifier.class_names)
    return Evaluation(metrics, labelled.name, chosen, len(pictures), unreadable)


def _in_the_order_of(classifier: Classifier, labelled: LabelledData, pictures: Pictures) -> Pictures:
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
