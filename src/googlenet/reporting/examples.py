"""Which images the page shows: the most confident mistakes, samples of classes, and those behind each count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from googlenet.evaluation.answers import Answers

MAX_DRAWN = 220  # thumbnails in all
MAX_CONFIDENT = 12  # mistakes with heat maps
MAX_CLASSES, MAX_SAMPLED_CLASSES = 20, 24  # of the matrix, and of the samples
SAMPLES = 4  # of a class
MAX_OF_CELL, MAX_LISTED = 12, 1_500  # images that are listed for a count, and in all
MAX_PAIRS = 10  # frequent mistakes

RIGHT, EXTRA, MISSED = range(3)  # columns of the matrix of labels


@dataclass(frozen=True)
class Pair:
    """Two classes that are confused: numbers of the true one and the predicted one, and of how many images."""

    true: int
    predicted: int
    count: int


@dataclass(frozen=True)
class Examples:
    """Images by their numbers among the answers.

    Attributes:
        confident: wrong answers, the most confident first.
        evidence_for: the class whose evidence is shown, of each of these.
        sampled: classes of which ``samples`` are shown.
        classes: those in the matrix.
        pairs: the most frequent mistakes.
        behind: the images behind a count, by its key.
    """

    confident: Sequence[int]
    evidence_for: dict[int, int]
    sampled: Sequence[int]
    samples: dict[int, Sequence[int]]
    classes: Sequence[int]
    pairs: Sequence[Pair]
    counts: NDArray[np.int64] = field(repr=False)
    behind: dict[str, Sequence[int]] = field(repr=False)

    @property
    def wanted(self) -> Iterator[int]:
        """The images to draw, those that are needed most first."""
        for rows in (self.samples.values(), self.behind.values()):
            yield from (number for each in zip_longest(*rows) for number in each if number is not None)


def choose_examples(answers: Answers) -> Examples:
    """Choose the images to show, the same ones whenever the answers are the same."""
    several, count = bool(answers.thresholds), len(answers.class_names)
    stated = _stated(answers)
    wrong = np.flatnonzero(~answers.right)
    confident = [int(at) for at in wrong[np.argsort(-stated[wrong], kind="stable")][:MAX_CONFIDENT]]
    counts = _label_counts(answers) if several else _confusion(answers)
    mistakes = counts[:, EXTRA] + counts[:, MISSED] if several else (
        counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts))  # fmt: skip
    order = np.argsort(-mistakes, kind="stable")
    classes = sorted(int(each) for each in order[:MAX_CLASSES])
    sampled = sorted(int(each) for each in order[:MAX_SAMPLED_CLASSES]) if count > MAX_SAMPLED_CLASSES else range(count)
    pairs = [] if several else _pairs(counts)
    return Examples(
        confident,
        {at: _most_wrong(answers, at) for at in confident},
        list(sampled),
        {label: _spread(_of_class(answers, label), SAMPLES) for label in sampled},
        classes,
        pairs,
        counts,
        _behind(answers, stated, classes, pairs, several),
    )


def _stated(answers: Answers) -> NDArray[np.float64]:
    """Return how sure each answer is: with several labels, of the label that is most wrong."""
    p = answers.probabilities.astype(float)
    return np.asarray(np.where(answers.truth, 1 - p, p).max(axis=1) if answers.thresholds else p.max(axis=1))


def _most_wrong(answers: Answers, at: int) -> int:
    if not answers.thresholds:
        return int(answers.named[at])
    row = answers.probabilities[at]
    return int(np.where(answers.truth[at] != answers.named[at], np.where(answers.truth[at], 1 - row, row), -1).argmax())


def _confusion(answers: Answers) -> NDArray[np.int64]:
    count = len(answers.class_names)
    flat = np.bincount(answers.truth * count + answers.named, minlength=count * count)
    return np.asarray(flat.reshape(count, count), np.int64)


def _label_counts(answers: Answers) -> NDArray[np.int64]:
    """Count for each label the images where it was named rightly, wrongly, and where it was missed: (K, 3)."""
    truth, named = answers.truth, answers.named
    return np.stack([(truth & named).sum(0), (~truth & named).sum(0), (truth & ~named).sum(0)], axis=1)


def _pairs(counts: NDArray[np.int64]) -> list[Pair]:
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]
    places = [divmod(int(at), len(counts)) for at in order]
    return [Pair(i, j, int(wrong[i, j])) for i, j in places if wrong[i, j]]


def _of_class(answers: Answers, label: int) -> NDArray[np.int64]:
    return np.flatnonzero(answers.truth[:, label] if answers.thresholds else answers.truth == label)


def _spread(numbers: NDArray[np.int64], count: int) -> list[int]:
    """Return ``count`` of the numbers, evenly spread."""
    some = min(count, len(numbers))
    return [int(numbers[n * len(numbers) // some]) for n in range(some)]


def cell_key(row: int, column: int) -> str:
    """Return the key of the images behind a cell."""
    return f"{row}-{column}"


def _behind(
    answers: Answers, stated: NDArray[np.float64], classes: Sequence[int], pairs: Sequence[Pair], several: bool
) -> dict[str, Sequence[int]]:
    """Choose the images behind each count: wrong ones before right ones, the most confident first."""
    truth, named = answers.truth, answers.named
    cells: dict[str, NDArray[np.bool_]] = {}
    if several:
        for k in classes:
            cells[cell_key(k, EXTRA)] = ~truth[:, k] & named[:, k]
            cells[cell_key(k, MISSED)] = truth[:, k] & ~named[:, k]
        cells |= {cell_key(k, RIGHT): truth[:, k] & named[:, k] for k in classes}
    else:
        shown = set(classes)
        wrong = [(pair.true, pair.predicted) for pair in pairs]
        there = sorted({(int(i), int(j)) for i, j in zip(truth, named, strict=True) if i in shown and j in shown})
        every = dict.fromkeys([*wrong, *(each for each in there if each[0] != each[1]), *there])
        cells = {cell_key(i, j): (truth == i) & (named == j) for i, j in every}
    found: dict[str, Sequence[int]] = {}
    left = MAX_LISTED
    for key, members in cells.items():
        numbers = np.flatnonzero(members)
        some = numbers[np.argsort(-stated[numbers], kind="stable")][: min(MAX_OF_CELL, left)]
        if len(some):
            found[key] = [int(at) for at in some]
            left -= len(some)
    return found
