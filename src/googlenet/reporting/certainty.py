"""How far the answers can be believed: reliability beside a perfect model, sets of classes, unknown images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.errors import GoogLeNetError
from googlenet.evaluation.answers import Answers
from googlenet.evaluation.calibration import stated_and_right
from googlenet.evaluation.intervals import Interval, proportion
from googlenet.inference import conformal
from googlenet.inference.certainty import Certainty
from googlenet.inference.unknown import FALSE_ALARMS
from googlenet.reporting.charts import Bin

MAX_BINS, MIN_OF_BIN = 10, 20
MAX_STATED = 50_000  # answers that the diagram is made of
MAX_DRAWN = 4_000_000  # labels in all simulated sets
MAX_DRAWS, MIN_DRAWS = 1_000, 80
LEVELS = (0.8, 0.9, 0.95, 0.99)
SEED = 0


def sample_of(answers: Answers) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the stated probability of each answer (or of each label of each image), and whether it is right."""
    stated, right = stated_and_right(answers.probabilities, answers.truth)
    if len(stated) > MAX_STATED:
        some = np.random.default_rng(SEED).permutation(len(stated))[:MAX_STATED]
        stated, right = stated[some], right[some]
    return stated, right


def reliability_bins(stated: NDArray[Any], right: NDArray[Any]) -> list[Bin]:
    """Divide answers into up to ten bins of equally many, sorted by their stated probability.

    The band of each bin is where the share of right answers lies in 95 % of cases if the stated probabilities are true:
    labels are drawn from them (Bröcker and Smith, *Increasing the reliability of reliability diagrams*, 2007).

    >>> one, = reliability_bins(np.full(30, 0.9), np.arange(30) < 27)
    >>> one.stated, one.right, one.count
    (0.9, 0.9, 30)
    """
    order = np.argsort(stated, kind="stable")
    p, hit = np.asarray(stated, np.float64)[order], np.asarray(right, bool)[order]
    count = max(1, min(MAX_BINS, len(p) // MIN_OF_BIN))
    edges = np.linspace(0, len(p), count + 1).astype(int)
    draws = int(np.clip(MAX_DRAWN // max(len(p), 1), MIN_DRAWS, MAX_DRAWS))
    random = np.random.default_rng(SEED)
    found = []
    for start, end in pairwise(edges):
        some = p[start:end]
        if not len(some):
            continue
        rates = (random.random((draws, len(some)), np.float32) < some.astype(np.float32)).mean(axis=1)
        low, high = np.quantile(rates, [0.025, 0.975])
        mean = round(float(some.mean()), 6)
        found.append(Bin(mean, float(hit[start:end].mean()), float(low), float(high), len(some)))
    return found


@dataclass(frozen=True)
class Sets:
    """Sets at one level: their mean size, the shares with one class and with none, and how many hold the true class."""

    level: float
    size: float
    single: float
    empty: float
    coverage: Interval


def measure_sets(certainty: Certainty | None, answers: Answers) -> list[Sets]:
    """Measure conformal sets of the answers, at each level for which there were enough held-out images."""
    if certainty is None or "lac" not in certainty.conformal or answers.thresholds:
        return []
    found = []
    for level in LEVELS:
        try:
            limit = conformal.limit(certainty.conformal["lac"], level)
        except GoogLeNetError:  # too few images for it
            continue
        inside = conformal.sets(answers.probabilities, limit)
        sizes = inside.sum(axis=1)
        holds = inside[np.arange(len(sizes)), answers.truth]
        found.append(Sets(level, float(sizes.mean()), float((sizes == 1).mean()), float((sizes == 0).mean()),
                          proportion(holds, answers.groups)))  # fmt: skip
    return found


def share_unknown(p_values: NDArray[Any] | None, groups: Sequence[str | None]) -> Interval | None:
    """Return the share of images that are called unknown, at the default rate of false alarms."""
    if p_values is None:
        return None
    return proportion(np.asarray(p_values <= FALSE_ALARMS), groups)
