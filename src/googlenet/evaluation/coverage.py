"""How often conformal sets hold the true class: on all measured images, and on those of each class."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.evaluation.answers import Answers
from googlenet.evaluation.intervals import Interval, proportion
from googlenet.inference.conformal import sets


@dataclass(frozen=True)
class ClassCoverage:
    """Sets of the images of one class: how often they hold it, and how many classes they have on average.

    ``held`` is ``None`` for a class without images.
    """

    name: str
    held: Interval | None
    size: float


@dataclass(frozen=True)
class Coverage:
    """Conformal sets at ``level`` on labelled images.

    ``held`` is the share of images whose set holds the true class, ``size`` the mean number of classes in a set,
    ``empty`` the share of sets without any. The guarantee is one for ``held`` alone: ``classes`` may differ.
    """

    level: float
    score: str
    held: Interval
    size: float
    empty: float
    classes: tuple[ClassCoverage, ...]

    @classmethod
    def of(cls, answers: Answers, limit: float, level: float, score: str) -> Coverage:
        """Measure it on answers of one label each; ``limit`` is the highest score of a class that is in its set."""
        inside = sets(answers.probabilities, limit, score)
        truth, sizes = answers.truth, inside.sum(axis=1)
        held = inside[np.arange(len(truth)), truth]

        def of_class(number: int, name: str) -> ClassCoverage:
            own = truth == number
            if not own.any():
                return ClassCoverage(name, None, 0.0)
            return ClassCoverage(name, _share(answers, held, own), float(sizes[own].mean()))

        classes = tuple(of_class(number, name) for number, name in enumerate(answers.class_names))
        every = np.ones(len(truth), bool)
        return cls(level, score, _share(answers, held, every), float(sizes.mean()), float((sizes == 0).mean()), classes)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        named = asdict(self)
        classes = {each.pop("name"): each for each in named.pop("classes")}
        return {**named, "classes": classes}


def _share(answers: Answers, held: NDArray[np.bool_], of: NDArray[np.bool_]) -> Interval:
    return proportion(held[of], [answers.images[int(at)].group for at in np.flatnonzero(of)])
