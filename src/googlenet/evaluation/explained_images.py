"""What is measured of one image to check explanations: each method's map beside a random map and that of the centre."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.explaining import removing
from googlenet.explaining.perturbing import BATCH, MASKS, covers, log_odds
from googlenet.images.pixels import Pixels
from googlenet.inference.classifier import Classifier

Array = NDArray[Any]
CONTRAST = "contrast"  # the class activation map of the answer, against the class that comes next
METHODS = ("cam", CONTRAST, "occlusion", "rise")
POINTING = "pointing"
MIDDLE = 0.5**0.5  # of a side: the middle square, which takes half of the image


@dataclass(frozen=True)
class ImageScores:
    """What was measured of one image.

    ``measures`` has for each method and measure its own value, that of a random map and that of the centre. ``kept`` is
    the probability of the answer where only a part of the image is left: ``"border"``, ``"middle"``, ``"box"`` or
    ``"background"``. ``maps`` are those of each method.
    """

    answer: int
    against: int | None
    measures: dict[str, dict[str, tuple[float, float, float]]]
    kept: dict[str, float]
    maps: dict[str, Array] = field(repr=False)


class Counter:
    """Counts runs of the network, from any thread, and tells how many of ``total`` are done."""

    def __init__(self, total: int, progress: Callable[[int, int], object] | None) -> None:
        self.done, self.total, self._progress = 0, total, progress
        self._lock = threading.Lock()

    def add(self, runs: int) -> None:
        """Count further runs."""
        with self._lock:
            self.done = min(self.done + runs, self.total)
            if self._progress:
                self._progress(self.done, self.total)


@dataclass(frozen=True)
class Examiner:
    """Measures explanations by some methods of images that a classifier answers."""

    classifier: Classifier
    methods: Sequence[str]

    def runs_of(self, method: str) -> int:
        """Return how often the network runs for one map."""
        size = self.classifier.card.preprocessing.size
        return {"occlusion": covers(size) + 1, "rise": MASKS + 1}.get(method, 1)

    def runs(self, boxes: bool) -> int:
        """Return how often the network runs for one image."""
        kinds = {method == CONTRAST for method in self.methods}
        judged = 2 * len(self.methods) + len(kinds)  # each method's own map and a random one; the centre's
        ends = removing.ENDS * len(kinds)
        return 1 + sum(map(self.runs_of, self.methods)) + removing.RUNS * judged + ends + (4 if boxes else 2)

    def examine(
        self,
        pixels: Pixels,
        labels: Sequence[int],
        box: NDArray[np.bool_] | None,
        seed: int,
        count: Callable[[int], None],
    ) -> ImageScores:
        """Measure one image as the network sees it, (S, S, C).

        ``box`` (S, S) is where what it is labelled as lies, if that is known; it counts where the answer is right.
        """
        of_image = _OfImage(self, pixels, np.random.default_rng(seed), count)
        box = box if of_image.answer in labels else None
        found = {method: of_image.measured(method, box) for method in self.methods}
        maps = {method: of_image.map_of(method) for method in self.methods}
        return ImageScores(of_image.answer, of_image.against, found, of_image.kept(box), maps)

    def map_of(self, method: str, pixels: Pixels, answer: int, against: int | None) -> Array:
        """Return the map of a method, (h, w)."""
        name, other = ("cam", against) if method == CONTRAST else (method, None)
        return self.classifier.evidence(pixels, name, answer, other).values


class _OfImage:
    """One image, its answer, and the maps of it that were computed."""

    def __init__(self, examiner: Examiner, pixels: Pixels, random: np.random.Generator, count: Any) -> None:
        self.examiner, self.classifier, self.pixels = examiner, examiner.classifier, pixels
        self.random, self._count = random, count
        order = np.argsort(-self._probabilities(pixels[None])[0], kind="stable").tolist()
        self.answer, self.against = order[0], order[1] if len(order) > 1 else None
        self._maps: dict[str, Array] = {}
        self._between: dict[bool, tuple[list[Pixels], Array, dict[str, float]]] = {}

    def map_of(self, method: str) -> Array:
        if method not in self._maps:
            self._maps[method] = self.examiner.map_of(method, self.pixels, self.answer, self.against)
            self._count(self.examiner.runs_of(method))
        return self._maps[method]

    def measured(self, method: str, box: NDArray[np.bool_] | None) -> dict[str, tuple[float, float, float]]:
        against = self.against if method == CONTRAST else None
        between, of_ends, centre = self._ends(method == CONTRAST, against)
        own, blind = self.map_of(method), removing.moved_map(self.map_of(method), self.random)
        by = [self._judged(each, between, of_ends, against) for each in (own, blind)]
        found = {name: (by[0][name], by[1][name], centre[name]) for name in removing.MEASURES}
        if box is not None and box.any():
            found[POINTING] = (_hits(own, box), _chance(own.shape, box), _hits(removing.centre_map(len(own)), box))
        return found

    def _ends(self, contrast: bool, against: int | None) -> tuple[list[Pixels], Array, dict[str, float]]:
        """Return where the ways begin and end, their scores, and what the map of the centre reaches."""
        if contrast not in self._between:
            between = removing.ends(self.pixels, self.classifier.cover)
            of_ends = self._scores(iter(between), against)
            middle = removing.centre_map(len(self.pixels))
            self._between[contrast] = between, of_ends, self._judged(middle, between, of_ends, against)
        return self._between[contrast]

    def _judged(self, values: Array, between: list[Pixels], of_ends: Array, against: int | None) -> dict[str, float]:
        order = removing.ranking(values, len(self.pixels), self.random)
        return removing.measure(of_ends, self._scores(removing.taken_apart(between, order, self.random), against))

    def kept(self, box: NDArray[np.bool_] | None) -> dict[str, float]:
        """Return the probability of the answer where all but one part of the image is covered."""
        middle = middle_of(len(self.pixels))
        parts = {"border": ~middle, "middle": middle}
        if box is not None:
            parts |= {"box": box, "background": ~box}
        left = (np.where(part[:, :, None], self.pixels, self.classifier.cover) for part in parts.values())
        return dict(zip(parts, self._scores(left, None).tolist(), strict=True))

    def _scores(self, images: Iterable[Pixels], against: int | None) -> Array:
        """Return the probability of the answer, or how it compares with that of another class, 0 to 1."""
        found, remaining = [], iter(images)
        while batch := list(islice(remaining, BATCH)):
            odds = log_odds(
                self._probabilities(np.stack(batch)), self.answer, against, self.classifier.card.multi_label
            )
            found.append(1 / (1 + np.exp(-np.clip(odds, -500, 500))))
        return np.concatenate(found)

    def _probabilities(self, batch: Pixels) -> Array:
        found = self.classifier.engine.probabilities(np.ascontiguousarray(batch, np.uint8))
        self._count(len(batch))
        return found


def middle_of(size: int) -> NDArray[np.bool_]:
    """Return the square in the middle, (S, S), that takes half of the image.

    >>> middle_of(4).astype(int).tolist(), round(float(middle_of(100).mean()), 2)
    ([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], 0.49)
    """
    inside = np.abs((np.arange(size) + 0.5) / size * 2 - 1) < MIDDLE
    return inside[:, None] & inside[None, :]


def _hits(values: Array, box: NDArray[np.bool_]) -> float:
    """Return 1 where the highest value of a map lies in the box, or its cell of the map touches it."""
    return _hits_at(np.argwhere(values == values.max()).mean(axis=0), values.shape, box)


def _hits_at(at: Array, shape: tuple[int, ...], box: NDArray[np.bool_]) -> float:
    cell = len(box) / np.array(shape)
    begin, end = np.floor(at * cell).astype(int), np.ceil((at + 1) * cell).astype(int)
    return float(box[begin[0] : end[0], begin[1] : end[1]].any())


def _chance(shape: tuple[int, ...], box: NDArray[np.bool_]) -> float:
    """Return how often a cell drawn at random hits."""
    return float(np.mean([_hits_at(np.array(at), shape, box) for at in np.ndindex(*shape)]))
