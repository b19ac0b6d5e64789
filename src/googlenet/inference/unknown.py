"""How unusual an image is among those that a classifier knows: for "unknown" in place of a wrong class. numpy alone.

A detector is made from held-out images: one half of them says where known images lie, the other half how unusual known
images are. The share of these that are at least as unusual as a new image is its p-value, and images with a p-value of
at most 5 % are called unknown. So at most about 5 % of known images are, too: a stated rate of false alarms (Bates et
al., *Testing for outliers with conformal p-values*, 2023).

The score is the sum of two, each in standard deviations of known images: the distance to the fifth nearest known
embedding (Sun et al., *Out-of-distribution detection with deep nearest neighbors*, 2022), and 1 minus the highest
probability (Hendrycks and Gimpel, *A baseline for detecting misclassified and out-of-distribution examples*, 2017).
Distances are in directions scaled to equal variance, and all that the main directions leave out counts as one more, as
in ViM (Wang et al., 2022). The first finds what is far from all classes, the second what lies between them. Where an
image has one label, the distance is that of embeddings of one length, and counts half.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.checks.arrays import ArrayLimits

Floats = NDArray[np.float32]

FALSE_ALARMS = 0.05  # share of known images that are called unknown, by default
NEIGHBOUR = 5  # the one whose distance counts
WEIGHT = 0.5  # of the distance, where an image has one label
MIN_IMAGES = 20
MAX_HALF = 1_000  # images
MAX_DIMENSIONS, IMAGES_PER_DIMENSION = 64, 8
MAX_EMBEDDING = 2**15  # numbers
TINY = 1e-6
MIN_REST = 1e-3  # of the variance: what is left out is a difference of sums, and no better than their rounding

ARRAYS: dict[str, ArrayLimits] = {
    "centre": ("f4", (None,), MAX_EMBEDDING),
    "basis": ("f4", (None, None), MAX_EMBEDDING),
    "spread": ("f4", (None,), MAX_DIMENSIONS + 1),
    "embeddings": ("f4", (None, None), MAX_HALF),
    "scale": ("f4", (None,), 5),
    "known": ("f4", (None,), MAX_HALF),
}


@dataclass(frozen=True, eq=False)
class Detector:
    """What tells unusual images.

    ``centre`` (D,) and ``basis`` (D, d) project an embedding, ``spread`` (d + 1,) scales the coordinates, and what is
    left out of them; ``embeddings`` (n, d) are those of known images. ``scale`` is mean and standard deviation of both
    parts of the score, the first one divided by its weight, and the length that embeddings are brought to; without the
    fifth number they are taken as they are. ``known`` (m,) has the scores of other known images, sorted.
    """

    centre: Floats
    basis: Floats
    spread: Floats
    embeddings: Floats
    scale: Floats
    known: Floats

    @classmethod
    def fit(cls, embeddings: Floats, probabilities: NDArray[Any], several: bool = False) -> Detector | None:
        """Make one from embeddings (n, D) and calibrated probabilities (n, K) of held-out images.

        ``several``: images may have several labels, and the distance is that of embeddings as they are. ``None`` where
        there are fewer than 20 images.
        """
        count = len(embeddings)
        if count < MIN_IMAGES:
            return None
        order = np.random.default_rng(0).permutation(count)
        first, second = order[: count // 2][:MAX_HALF], order[count // 2 :][:MAX_HALF]
        draft = cls._where_known(np.asarray(embeddings[first], np.float32), several)
        parts = (draft._distances(embeddings[second]), _doubt(probabilities[second]))
        numbers = [f(part) for part in parts for f in (np.mean, np.std)]
        scale = np.array([*numbers, *draft.scale[4:]], np.float32)
        if not several:
            scale[1] /= WEIGHT
        scale = np.maximum(scale, TINY)
        return replace(draft, scale=scale, known=np.sort(_combined(*parts, scale)))

    @classmethod
    def _where_known(cls, x: Floats, several: bool) -> Detector:
        length = [] if several else [np.linalg.norm(x, axis=1).mean()]
        scale, centre = np.array([0, 0, 0, 0, *length], np.float32), x.mean(axis=0)
        centred = _of_one_length(x, scale) - centre
        _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
        d = max(1, min(MAX_DIMENSIONS, len(x) // IMAGES_PER_DIMENSION, len(lengths)))
        variances = lengths**2 / len(x)
        rest = max(variances[d:].sum(), MIN_REST * variances.sum())
        spread = np.sqrt(np.maximum([*variances[:d], rest], TINY)).astype(np.float32)
        basis = np.ascontiguousarray(directions[:d].T)
        return cls(centre, basis, spread, centred @ basis / spread[:d], scale, spread[:0])

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Detector:
        """Return the one whose :meth:`arrays` these are. Raises :class:`ValueError` where they do not fit."""
        missing = [name for name in ARRAYS if name not in arrays]
        if missing:
            raise ValueError(f"{missing[0]} is missing")
        found = cls(**{name: arrays[name] for name in ARRAYS})
        (wide, d), (n, deep) = found.basis.shape, found.embeddings.shape
        if wide != len(found.centre) or deep != d or d + 1 != len(found.spread) or n < NEIGHBOUR:
            raise ValueError(f"basis {(wide, d)} and embeddings {(n, deep)} do not fit each other")
        if len(found.scale) < 4:
            raise ValueError(f"scale has {len(found.scale)} numbers, not 4 or 5")
        if not (found.scale[[1, 3, -1]] > 0).all() or not (found.spread > 0).all() or (np.diff(found.known) < 0).any():
            raise ValueError("its spread is not above 0, or its scores are not sorted")
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return its arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def scores(self, embeddings: Floats, probabilities: NDArray[Any]) -> Floats:
        """Return how unusual images are, (N,), from embeddings (N, D) and probabilities (N, K): higher is more so."""
        with np.errstate(over="ignore", invalid="ignore"):  # of a graph that was changed: infinite is unusual, too
            return _combined(self._distances(embeddings), _doubt(probabilities), self.scale)

    def p_values(self, embeddings: Floats, probabilities: NDArray[Any]) -> NDArray[np.float64]:
        """Return the share of known images that are at least as unusual, (N,), from 1 / (m + 1) to 1.

        Called unknown where that is at most a, a new image of a known kind is so with a probability of a at most.
        """
        below = np.searchsorted(self.known, self.scores(embeddings, probabilities), side="left")
        return np.asarray((1 + len(self.known) - below) / (len(self.known) + 1))

    def _distances(self, embeddings: Floats) -> Floats:
        """Return the distance of (N, D) embeddings to their fifth nearest known one, as a root mean square."""
        centred, d = _of_one_length(embeddings, self.scale) - self.centre, self.basis.shape[1]
        inside = centred @ self.basis
        outside = np.maximum((centred**2).sum(axis=1) - (inside**2).sum(axis=1), 0) / self.spread[d] ** 2
        x = inside / self.spread[:d]
        squares = (x**2).sum(axis=1)[:, None] + (self.embeddings**2).sum(axis=1) - 2 * x @ self.embeddings.T
        near = np.partition(squares, NEIGHBOUR - 1, axis=1)[:, NEIGHBOUR - 1]
        return np.asarray(np.sqrt(np.maximum(near, 0) / d + outside))


def _of_one_length(embeddings: Floats, scale: Floats) -> Floats:
    """Return embeddings (N, D) brought to the length that is the fifth number of ``scale``, if it has one."""
    x = np.asarray(embeddings, np.float32)
    if len(scale) < 5:
        return x
    lengths = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(x * (scale[4] / np.maximum(lengths, TINY)), np.float32)


def _doubt(probabilities: NDArray[Any]) -> Floats:
    return np.asarray(1 - probabilities.max(axis=1), np.float32)


def _combined(distance: Floats, doubt: Floats, scale: Floats) -> Floats:
    return np.asarray((distance - scale[0]) / scale[1] + (doubt - scale[2]) / scale[3], np.float32)
