"""Whether explanations of a classifier can be believed: each method measured on images of the user.

A method passes if its maps name what the answer depends on better than maps that know nothing of the network do, and if
nothing of them is left once the weights are shuffled. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet import bundle as bundles
from googlenet.data.image_set import DataLike, LabelledImage
from googlenet.errors import BundleError, DataError, GoogLeNetError, ImageError
from googlenet.evaluation import verdicts
from googlenet.evaluation.boxes import Boxes, key_of, mask_of, read_boxes
from googlenet.evaluation.explained_images import CONTRAST, METHODS, Counter, Examiner, ImageScores
from googlenet.evaluation.selection import Selection, select_images
from googlenet.evaluation.verdicts import ExplanationCheck
from googlenet.images.resize import read
from googlenet.inference.classifier import Classifier
from googlenet.inference.shuffled import shuffled
from googlenet.parallel import map_ordered, result_or_error
from googlenet.text import nearest, printable

IMAGES = 40  # that are checked by default
SHUFFLES, SHUFFLED_IMAGES = 3, 8  # of the weights; images that are explained with them
THREADS = 2  # images at a time: one is taken apart while the network runs on the other
Progress = Callable[[int, int], object]


def check_explanations(
    run: str | Path,
    data: DataLike | None = None,
    *,
    methods: Sequence[str] = (),
    images: int = IMAGES,
    boxes: str | Path | None = None,
    precision: str | None = None,
    progress: Progress | None = None,
) -> ExplanationCheck:
    """Check each method to explain answers on images of yours, and keep the verdicts on the bundle's card.

    Every map is compared with itself in a random place and with the distance from the middle of the image, by deletion,
    insertion (Petsiuk et al., 2018) and ROAD (Rong et al., 2022); differences are paired and have 95 % intervals. The
    weights are shuffled three times, and the maps must change (Adebayo et al., 2018).

    Args:
        run: a run of ``train``, or a bundle. The verdicts are stored on its card: a method that fails is no longer the
            one that ``explain`` uses by default.
        data: labelled images as ``evaluate`` takes them; those that the run was not trained on are used.
        methods: of ``"cam"``, ``"contrast"``, ``"occlusion"`` and ``"rise"``; by default all that the network has.
        images: how many are checked, drawn evenly over the classes.
        boxes: a CSV list of path, left, top, right, bottom, in pixels: where the labelled thing is in each image. Then
            it is also measured how often the highest value of a map lies in it.
        precision: as for :func:`googlenet.load`.
        progress: called with the runs of the network that are done, and all.

    Raises:
        BundleError, DataError: the run or the images cannot be used.
        GoogLeNetError: there is no such method, or none that this network has.

    ::

        check = googlenet.check_explanations("runs/flowers", "photos/")
        print(check.verdicts)  # {"cam": "passes", "contrast": "passes", "occlusion": "not shown", "rise": "fails"}
    """
    return plan_check(run, data, methods=methods, images=images, boxes=boxes, precision=precision).run(progress)


def plan_check(
    run: str | Path,
    data: DataLike | None = None,
    *,
    methods: Sequence[str] = (),
    images: int = IMAGES,
    boxes: str | Path | None = None,
    precision: str | None = None,
) -> CheckPlan:
    """Return what :func:`check_explanations` would do, with the number of runs. Raises what that raises."""
    if wrong := [name for name in methods if name not in METHODS]:
        raise GoogLeNetError(f"no method is called {wrong[0]!r}: {nearest(wrong[0], METHODS)}")
    if images < 2:
        raise GoogLeNetError(f"explanations are checked on 2 images or more, got {images}")
    classifier = Classifier(bundles.read(run), precision)
    names, notes = _possible(classifier, methods)
    known = read_boxes(boxes) if boxes is not None else {}
    selection = select_images(classifier.bundle, data)
    items = selection.images.items
    if boxes is not None and not any(_boxes_of(item, known) for item in items):
        raise DataError(f"{printable(str(boxes))} has no box of an image in {printable(selection.data)}")
    chosen = [items[at] for at in _evenly(len(items), images)]
    return CheckPlan(Examiner(classifier, names), selection, tuple(chosen), known, (*selection.notes, *notes))


def _evenly(count: int, most: int) -> list[int]:
    """Return the places of at most ``most`` of so many images, from the first to the last."""
    return sorted({round(at) for at in np.linspace(0, count - 1, min(most, count))})


def _possible(classifier: Classifier, methods: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the methods that a network has, and why others are left out. Raises where one was asked for."""
    has_maps, notes = classifier.engine.has_maps, []
    without = [] if has_maps else ["cam", CONTRAST]
    if has_maps and classifier.engine.maps(np.zeros((1, *classifier.engine.image), np.uint8)).shape[2:] == (1, 1):
        without = ["cam", CONTRAST]
        notes.append("cam and contrast are not checked: the map is 1×1, which says nothing about where")
    elif without:
        notes.append(f"cam and contrast are not checked: {classifier.without_maps()}")
    if len(classifier.class_names) < 2:
        without.append(CONTRAST)
    if asked := [name for name in methods if name in without]:
        raise BundleError(notes[0] if notes else f"{asked[0]} needs two classes, the classifier has one")
    return tuple(name for name in (dict.fromkeys(methods) or METHODS) if name not in without), notes


def _boxes_of(item: LabelledImage, known: Boxes) -> list[Any]:
    return known.get(key_of(item.path), []) if item.path is not None and known else []


@dataclass(frozen=True)
class CheckPlan:
    """What will be checked: on which ``items`` of the ``selection``, by which methods."""

    examiner: Examiner
    selection: Selection
    items: tuple[LabelledImage, ...]
    boxes: Boxes
    notes: tuple[str, ...]

    @property
    def runs(self) -> int:
        """How often the network will run."""
        of_images = sum(self.examiner.runs(bool(_boxes_of(item, self.boxes))) for item in self.items)
        return of_images + SHUFFLES * len(self._to_shuffle()) * sum(map(self.examiner.runs_of, self.examiner.methods))

    def _to_shuffle(self) -> list[int]:
        return _evenly(len(self.items), SHUFFLED_IMAGES)

    def run(self, progress: Progress | None = None) -> ExplanationCheck:
        """Check, and keep the verdicts on the card where the bundle can be written."""
        count = Counter(self.runs, progress)
        numbered = enumerate(self.items)
        found = [each for some in map_ordered(partial(self._examined, count), numbered, 1, THREADS) for each in some]
        scores = [each for each in found if not isinstance(each, ImageError)]
        unreadable = [str(each) for each in found if isinstance(each, ImageError)]
        if len(scores) < 2:
            raise DataError(f"{len(scores)} of {len(found)} images could be read, and 2 are needed: {unreadable[0]}")
        items = [item for item, each in zip(self.items, found, strict=True) if not isinstance(each, ImageError)]
        kept = [found[at] for at in self._to_shuffle()]
        alike = self._with_shuffled_weights(kept, count)
        count.add(count.total)
        classifier = self.examiner.classifier
        notes = (*self.notes, *(f"left out: {reason}" for reason in unreadable))
        check = verdicts.judge(scores, alike, [item.group for item in items], classifier.class_names)
        check = replace(
            check, run=str(classifier.bundle.path), data=self.selection.data, split=self.selection.split,
            of=len(self.selection.images), runs=self.runs, precision=classifier.engine.precision, notes=notes,
        )  # fmt: skip
        return _stored(check, classifier)

    def _examined(self, count: Counter, batch: list[tuple[int, LabelledImage]]) -> list[ImageScores | ImageError]:
        return [self._examined_one(number, item, count) for number, item in batch]

    def _examined_one(self, number: int, item: LabelledImage, count: Counter) -> ImageScores | ImageError:
        pixels = result_or_error(self.examiner.classifier.preprocess, item.source)
        if isinstance(pixels, ImageError):
            count.add(self.examiner.runs(bool(_boxes_of(item, self.boxes))))
            return pixels
        return self.examiner.examine(pixels, item.labels, self._box(item), number, count.add)

    def _box(self, item: LabelledImage) -> NDArray[np.bool_] | None:
        boxes, preprocessing = _boxes_of(item, self.boxes), self.examiner.classifier.card.preprocessing
        if not boxes:
            return None
        height, width = read(item.source, preprocessing).shape[:2]
        return mask_of(boxes, width, height, preprocessing)

    def _with_shuffled_weights(self, found: Sequence[Any], count: Counter) -> dict[str, list[float]]:
        """Return for each method and image how alike its maps are, on average, once the weights are shuffled."""
        examiner = self.examiner
        alike: dict[str, list[list[float]]] = {method: [] for method in examiner.methods}
        kept = [(each, self.items[at]) for at, each in zip(self._to_shuffle(), found, strict=True)
                if isinstance(each, ImageScores)]  # fmt: skip
        pixels = [examiner.classifier.preprocess(item.source) for _, item in kept]
        precision = examiner.classifier.engine.maps_precision
        for seed in range(SHUFFLES):
            other = replace(examiner, classifier=Classifier(shuffled(examiner.classifier.bundle, seed), precision))
            for method in examiner.methods:
                alike[method].append([])
                for (scores, _), image in zip(kept, pixels, strict=True):
                    values = other.map_of(method, image, scores.answer, scores.against)
                    count.add(examiner.runs_of(method))
                    alike[method][-1].append(rank_correlation(scores.maps[method], values))
        return {method: np.mean(rows, axis=0).tolist() for method, rows in alike.items()}


def rank_correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return Spearman's rank correlation of two maps, 0 where one is the same everywhere.

    >>> rank_correlation(np.arange(9), np.arange(9) ** 3), rank_correlation(np.arange(9), np.ones(9))
    (1.0, 0.0)
    """
    from scipy.stats import spearmanr

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return round(float(spearmanr(first.ravel(), second.ravel()).statistic), 6)


def _stored(check: ExplanationCheck, classifier: Classifier) -> ExplanationCheck:
    """Keep the verdicts on the card of the bundle; a note says where it cannot be written."""
    bundle = classifier.bundle
    card = replace(bundle.card, explanations=bundle.card.explanations | check.verdicts)
    try:
        bundles.write(bundle.path, card, {name: bundle.read(name) for name in bundle.card.files})
    except OSError as error:
        path = printable(str(bundle.path))
        return replace(check, notes=(*check.notes, f"{path} cannot be written ({error.strerror}): the verdicts are not "
                                     "kept, and explain's default stays as it is"))  # fmt: skip
    return check
