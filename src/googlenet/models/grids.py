"""Maps brought from one grid to another by areas, which keeps their averages. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_grid(source: int, target: int) -> NDArray[np.float32]:
    """Return (target, source): what each cell of a row of ``target`` takes of one of ``source`` that covers the same.

    >>> to_grid(2, 4).tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> to_grid(4, 2).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    begin, cell = np.arange(target)[:, None] * source / target, source / target
    at = np.arange(source)[None, :]
    covered = np.minimum(begin + cell, at + 1) - np.maximum(begin, at)
    weights: NDArray[np.float32] = (np.maximum(covered, 0) / cell).astype(np.float32)
    return weights
