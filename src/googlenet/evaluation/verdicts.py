"""What a check of explanations found: figures with intervals, and a verdict on each method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.card import FAILS, NOT_SHOWN, PASSES
from googlenet.evaluation.explained_images import ImageScores
from googlenet.evaluation.intervals import Interval, mean, proportion
from googlenet.explaining.removing import LOWER_IS_BETTER
from googlenet.text import escape_surrogates, printable

Array = NDArray[Any]
MAX_RANK_CORRELATION = 0.3  # of maps with those of shuffled weights
MIN_IMAGES = 5  # of a class, from which on the check names what carries it


@dataclass(frozen=True)
class Gain:
    """One measure of a method's maps, and of these in random places and the centre's: means over images.

    ``over_random`` and ``over_centre`` are how much better the method is, image by image, with 95 % intervals.
    """

    measure: str
    value: float
    random: float
    centre: float
    over_random: Interval
    over_centre: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {**vars(self), "over_random": self.over_random.to_dict(), "over_centre": self.over_centre.to_dict()}


@dataclass(frozen=True)
class MethodCheck:
    """What was found of one method.

    ``rank_correlation`` is how alike its maps and those of shuffled weights are: the mean over images of the absolute
    value of Spearman's coefficient, itself a mean over three ways to shuffle.
    """

    method: str
    gains: tuple[Gain, ...]
    rank_correlation: Interval

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it fails or, where it does not, what is not shown."""
        return self._failures or self._doubts

    @property
    def verdict(self) -> str:
        """``"passes"``, ``"fails"`` or ``"not shown"``."""
        return FAILS if self._failures else NOT_SHOWN if self._doubts else PASSES

    @property
    def _failures(self) -> tuple[str, ...]:
        alike = self.rank_correlation.value
        found = [f"its maps stay alike when the weights are shuffled ({alike:.2f})"] * (alike >= MAX_RANK_CORRELATION)
        return (*found, *self._compared("worse than", lambda each: each.high is not None and each.high < 0))

    @property
    def _doubts(self) -> tuple[str, ...]:
        return self._compared("not shown to be better than", lambda each: each.low is None or each.low <= 0)

    def _compared(self, how: str, holds: Callable[[Interval], bool]) -> tuple[str, ...]:
        found = (
            (other, [gain.measure for gain in self.gains if holds(getattr(gain, name))])
            for name, other in (("over_random", "a random map"), ("over_centre", "the centre"))
        )
        return tuple(f"{how} {other} by {', '.join(names)}" for other, names in found if names)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "measures": {gain.measure: gain.to_dict() for gain in self.gains},
            "rank_correlation": self.rank_correlation.to_dict(),
        }


@dataclass(frozen=True)
class Carried:
    """What part of the image carries a class: the probability of the answer where one part alone is left.

    ``class_name`` is ``None`` for all images. ``outer`` is ``"border"``, half of the image's area, whose ``inner`` part
    is the ``"middle"``; or ``"background"``, whose inner part is the ``"box"``. ``difference`` is outer minus inner.
    """

    class_name: str | None
    outer: str
    inner: str
    left_outer: float
    left_inner: float
    difference: Interval

    @property
    def outer_carries(self) -> bool:
        """Whether more is left of the answer with the outer part alone than with the inner one."""
        return self.difference.low is not None and self.difference.low > 0

    def sentence(self) -> str:
        """Say what carries the class, in one line."""
        what = "the answers" if self.class_name is None else printable(self.class_name)
        carries = self.outer if self.outer_carries else self.inner
        known = self.outer_carries or (self.difference.high is not None and self.difference.high < 0)
        said = f"the {carries} carries {what}" if known else f"{self.outer} and {self.inner} carry {what} alike"
        return (f"{said}: {self.left_outer:.0%} of probability left with the {self.outer} alone, "
                f"{self.left_inner:.0%} with the {self.inner}")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        name = None if self.class_name is None else escape_surrogates(self.class_name)
        return {"class": name, self.outer: self.left_outer, self.inner: self.left_inner,
                "difference": self.difference.to_dict(), "outer_carries": self.outer_carries}  # fmt: skip


@dataclass(frozen=True)
class ExplanationCheck:
    """What a check found of each method, on ``images`` of the ``of`` images in ``split`` of ``data``.

    ``runs`` is how often the network ran; ``carried`` says whether the middle or the border of the images carries the
    answers, of all and of each class, and with boxes the same of the background; ``notes`` explain, a sentence each.
    """

    methods: tuple[MethodCheck, ...]
    carried: tuple[Carried, ...]
    images: int
    of: int = 0
    runs: int = 0
    run: str = ""
    data: str = ""
    split: str = ""
    precision: str = ""
    notes: tuple[str, ...] = field(default=(), repr=False)

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdict on each method: ``"passes"``, ``"fails"`` or ``"not shown"``."""
        return {each.method: each.verdict for each in self.methods}

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes: what ``googlenet explain --check --json`` prints."""
        return {
            "run": escape_surrogates(self.run),
            "data": escape_surrogates(self.data),
            "split": self.split,
            "images": self.images,
            "of": self.of,
            "runs": self.runs,
            "precision": self.precision,
            "methods": {each.method: each.to_dict() for each in self.methods},
            "carried": [each.to_dict() for each in self.carried],
            "notes": list(map(escape_surrogates, self.notes)),
        }


def judge(
    scores: Sequence[ImageScores],
    alike: dict[str, list[float]],
    groups: Sequence[str | None],
    class_names: Sequence[str],
) -> ExplanationCheck:
    """Sum up what was measured of N images, in ``groups`` (N,), and with shuffled weights."""
    methods = tuple(
        MethodCheck(method, _gains(method, scores, groups), mean(np.abs(alike[method]))) for method in alike
    )
    return ExplanationCheck(methods, tuple(_carried(scores, groups, class_names)), len(scores))


def _gains(method: str, scores: Sequence[ImageScores], groups: Sequence[str | None]) -> tuple[Gain, ...]:
    found = []
    for measure in dict.fromkeys(name for each in scores for name in each.measures[method]):
        at = [number for number, each in enumerate(scores) if measure in each.measures[method]]
        table = np.array([scores[number].measures[method][measure] for number in at])
        sign = -1 if measure in LOWER_IS_BETTER else 1
        of = [groups[number] for number in at]
        value, random, centre = table.mean(axis=0).tolist()
        over = [_difference(sign * table[:, 0], sign * table[:, column], of) for column in (1, 2)]
        found.append(Gain(measure, value, random, centre, *over))
    return tuple(found)


def _difference(own: Array, other: Array, groups: Sequence[str | None]) -> Interval:
    """Return the mean difference; where a method always hits, and the other map always as often, by Wilson's interval.

    Nothing varies there, so that nothing can be resampled.
    """
    found = mean(own - other, groups)
    if np.ptp(own - other) > 0 or not (own == 1).all():
        return found
    hits = proportion(own == 1, groups)
    if hits.low is None or hits.high is None:
        return found
    return replace(found, low=hits.low - float(other.mean()), high=hits.high - float(other.mean()))


def _carried(scores: Sequence[ImageScores], groups: Sequence[str | None], class_names: Sequence[str]) -> list[Carried]:
    """Say it of all images; and of each class where its outer part carries it."""
    found = []
    for outer, inner in (("border", "middle"), ("background", "box")):
        with_parts = [number for number, each in enumerate(scores) if outer in each.kept]
        classes = sorted({scores[number].answer for number in with_parts})
        for label in (None, *classes) if len(with_parts) > 1 else ():
            at = [number for number in with_parts if label is None or scores[number].answer == label]
            if label is not None and len(at) < MIN_IMAGES:
                continue
            left = np.array([[scores[number].kept[part] for part in (outer, inner)] for number in at])
            difference = mean(left[:, 0] - left[:, 1], [groups[number] for number in at])
            name = None if label is None else class_names[label]
            each = Carried(name, outer, inner, float(left[:, 0].mean()), float(left[:, 1].mean()), difference)
            if label is None or each.outer_carries:
                found.append(each)
    return found
