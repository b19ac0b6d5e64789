"""Labels in doubt: images that a classifier of embeddings, trained on the other images, takes for another class.

Confident learning (Northcutt, Jiang and Chuang, *Confident learning: estimating uncertainty in dataset labels*, 2021,
section 3.1) on out-of-fold probabilities says how many labels are wrong, as cleanlab does it. So many are in doubt,
those that are least probable: if labels are wrong by chance, alike in all classes, none are more probably wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.bundle import Bundle
from googlenet.data.image_set import DataLike, LabelledData, LabelledImage
from googlenet.data.opening import find_data
from googlenet.errors import DataError, ImageError
from googlenet.evaluation.answers import path_of, write_rows
from googlenet.evaluation.intervals import unit_numbers
from googlenet.inference.classifier import Classifier
from googlenet.inference.crops import load
from googlenet.text import escape_surrogates, first_few, printable

FOLDS = 5
MIN_IMAGES = FOLDS  # of a class: one for each fold
MAX_COMPONENTS = 256  # of embeddings: the time of the fit grows with them
LENGTH = 32.0  # of embeddings, root mean square: STRENGTH then means the same whatever their number of dimensions
STRENGTH = 0.003  # inverse of the regularisation: few images, many numbers of each
TINY = 1e-12
ROUNDING = 1e-6  # of a probability, as in cleanlab
COLUMNS = ("path", "label", "suggested", "probability", "probability_of_label")


@dataclass(frozen=True)
class Suspect:
    """An image whose label is in doubt: ``suggested`` is the class that the other images speak for.

    ``probability`` is that of the suggested class and ``probability_of_label`` that of the label, 0 to 1, both from a
    model that did not see this image.
    """

    path: str
    label: str
    suggested: str
    probability: float
    probability_of_label: float
    image: LabelledImage = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        names = {name: escape_surrogates(getattr(self, name)) for name in COLUMNS[:3]}
        return {**names, "probability": self.probability, "probability_of_label": self.probability_of_label}


@dataclass(frozen=True, eq=False, repr=False)
class Suspects:
    """The images of a data set whose labels are in doubt, the most doubtful first.

    ``images`` are all that were judged, with the out-of-fold ``probabilities`` (N, K) of their classes; ``unreadable``
    names those that could not be read, with the reasons, and ``notes`` the classes that could not be judged.
    """

    data: LabelledData
    images: tuple[LabelledImage, ...]
    probabilities: NDArray[np.float64]
    unreadable: dict[str, str]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Suspects({len(self.items):,} labels in doubt of {len(self.images):,} images)"

    @cached_property
    def items(self) -> tuple[Suspect, ...]:
        """The images in doubt, the most doubtful first."""
        names, p = self.data.class_names, self.probabilities
        labels = _labels(self.images)
        return tuple(
            Suspect(path_of(self.images[at]), names[labels[at]], names[guess], float(p[at, guess]),
                    float(p[at, labels[at]]), self.images[at])
            for at, guess in ((int(at), int(p[at].argmax())) for at in ranked(p, labels))
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {"images": len(self.images), "suspects": [each.to_dict() for each in self.items]}

    def write(self, path: str | Path) -> None:
        """Write all images of the data as CSV, those in doubt first: a list that ``train`` reads.

        ``suggested`` and both probabilities are empty for images that are not in doubt. Data that names its own splits
        or groups has columns for them. Raises :class:`RunError`, :class:`DiskFullError`.
        """
        doubted = {id(each.image) for each in self.items}
        split_of = {id(item): split for split, part in self.data.splits.items() for item in part.items}
        rows = [(each.image, each.to_dict()) for each in self.items]
        for item in self.data.split("all").items:
            if id(item) not in doubted:
                label = escape_surrogates(self.data.class_names[item.label])
                blank = dict.fromkeys(COLUMNS[2:], "")
                rows.append((item, {"path": escape_surrogates(path_of(item)), "label": label, **blank}))
        columns: dict[str, Callable[[LabelledImage], str]] = {}
        if any(split_of.values()):
            columns["split"] = lambda item: split_of[id(item)]
        if any(item.group is not None for item, _ in rows):
            columns["group"] = lambda item: escape_surrogates(item.group or "")
        full = [row | {name: of(item) for name, of in columns.items()} for item, row in rows]
        write_rows(full, Path(path), (*COLUMNS, *columns))


def find_suspects(
    run: str | Path | Classifier,
    data: DataLike | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Suspects:
    """Find labels in doubt: of all images of ``data``, those that the run was trained on, too.

    The run only turns images into embeddings. Each image is then judged by a logistic regression on the embeddings of
    other images, so that no image speaks for its own label. The better the run is on held-out images, the more wrong
    labels show; but those that a network has learnt by heart no longer do.

    Args:
        run: a run of ``train``, a bundle, or a classifier that was loaded; ``data`` may have other classes.
        data: labelled images as ``train`` takes them. By default, the data that the run was trained on.
        progress: called with the number of images read so far, and of all images.

    Raises:
        DataError: images have several labels, or fewer than two classes have five images.
        BundleError: there is no bundle, or its network does not end in a linear layer.

    ::

        suspects = googlenet.find_suspects("runs/flowers", "photos/")
        for each in suspects.items[:10]:
            print(each.path, each.label, each.suggested, each.probability)
        suspects.write("suspects.csv")
    """
    classifier = run if isinstance(run, Classifier) else load(run)
    found = find_data(_data_of(classifier.bundle) if data is None else data, classifier.card.preprocessing.channels)
    images, notes = _judged(found)
    read, rows, unreadable = [], [], {}
    answers = classifier.embed_many(item.source for item in images)
    for done, (item, answer) in enumerate(zip(images, answers, strict=True), start=1):
        if isinstance(answer, ImageError):
            unreadable[item.name] = str(answer)
        else:
            read.append(item)
            rows.append(answer)
        if progress:
            progress(done, len(images))
    _check_enough(found, read)
    labels, groups = _labels(read), [item.group for item in read]
    probabilities = out_of_fold(np.stack(rows), labels, len(found.class_names), groups)
    return Suspects(found, tuple(read), probabilities, unreadable, notes)


def _data_of(bundle: Bundle) -> str:
    name, run = bundle.card.data.get("name"), printable(str(bundle.path))
    if not isinstance(name, str):
        raise DataError(f"{run} does not record what it was trained on: name the labelled images")
    return name


def _judged(found: LabelledData) -> tuple[list[LabelledImage], tuple[str, ...]]:
    """Return the images that can be judged, and which classes cannot."""
    if found.multi_label:
        raise DataError(
            f"{printable(found.name)} has images with several labels, and labels in doubt are found where an image "
            "has one: look at the mistakes of `googlenet evaluate` instead"
        )
    every = found.split("all")
    few = [name for name, count in every.counts().items() if 0 < count < MIN_IMAGES]
    notes = (f"labels of {first_few(few)} are not judged: that takes {MIN_IMAGES} images of a class",) if few else ()
    left_out = {found.class_names.index(name) for name in few}
    return [item for item in every.items if item.label not in left_out], notes


def _check_enough(found: LabelledData, read: Sequence[LabelledImage]) -> None:
    units = unit_numbers([item.group for item in read], len(read))
    count = len(read) if units is None else len(set(units.tolist()))
    if len({item.label for item in read}) < 2 or count < FOLDS:
        raise DataError(
            f"{printable(found.name)}: labels in doubt are found among two classes or more of {MIN_IMAGES} readable "
            f"images each, in {FOLDS} groups where images have groups"
        )


def _labels(images: Sequence[LabelledImage]) -> NDArray[np.int64]:
    return np.array([item.label for item in images], np.int64)


def ranked(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which of N images have a label in doubt, the most doubtful first: the one whose label is least probable.

    An image counts for a class whose probability is at least the mean of that class's own images (for the most
    probable class, where these are several). The share of a class's images that count for others, of those that count
    at all, says how many of its labels are wrong. As many images as these are together are in doubt: those whose
    label has the lowest probability, where another class has a higher one.

    Args:
        probabilities: (N, K) of models that did not see the image.
        labels: (N,).

    >>> ranked(np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]), np.array([0, 0, 1, 1, 1]))
    array([4])
    """
    own = probabilities[np.arange(len(labels)), labels]
    lowest = np.argsort(own, kind="stable")[: _count_wrong(probabilities, labels)]
    return np.asarray(lowest[probabilities[lowest].argmax(axis=1) != labels[lowest]])


def _count_wrong(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> int:
    """Return how many of N labels are wrong, as the calibrated joint counts of labels and classes estimate it."""
    there = np.bincount(labels, minlength=probabilities.shape[1])
    own = probabilities[np.arange(len(labels)), labels]
    usual = np.bincount(labels, own, len(there)) / np.maximum(there, 1)
    reached = (probabilities >= usual - ROUNDING) & (there > 0)
    counts_for = np.where(reached.sum(axis=1) > 1, probabilities.argmax(axis=1), reached.argmax(axis=1))
    counted = reached.any(axis=1)
    right = np.bincount(labels[counted & (counts_for == labels)], minlength=len(there)).clip(min=1)
    wrong = np.bincount(labels[counted & (counts_for != labels)], minlength=len(there))
    return round(float((there * wrong / (right + wrong)).sum()))


def out_of_fold(
    embeddings: NDArray[Any],
    labels: NDArray[np.int64],
    classes: int,
    groups: Sequence[str | None] | None = None,
) -> NDArray[np.float64]:
    """Return the probabilities (N, K) of each image by a logistic regression on the images of other folds.

    Args:
        embeddings: (N, D).
        labels: (N,), below ``classes``.
        classes: K.
        groups: (N,); images of one group are in the same fold.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    x = StandardScaler().fit_transform(np.asarray(embeddings, np.float64))
    if min(x.shape) > MAX_COMPONENTS:
        x = PCA(MAX_COMPONENTS, svd_solver="randomized", random_state=0).fit_transform(x)
    x *= LENGTH / max(np.sqrt((x**2).sum(axis=1).mean()), TINY)
    found = np.zeros((len(labels), classes))
    for others, own in _folds(labels, groups):
        present = np.unique(labels[others])
        if len(present) < 2:  # groups can leave no other class
            found[np.ix_(own, present)] = 1
            continue
        model = LogisticRegression(C=STRENGTH, max_iter=200, tol=1e-3).fit(x[others], labels[others])
        found[np.ix_(own, present)] = model.predict_proba(x[own])
    return found


def _folds(labels: NDArray[np.int64], groups: Sequence[str | None] | None) -> Any:
    """Return pairs of numbers of images: those of the other folds, and those of one."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    units = unit_numbers(groups, len(labels))
    if units is None:
        return StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(labels, labels)
    return StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(labels, labels, units)
