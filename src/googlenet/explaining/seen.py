"""What a map of evidence says, in words: where the evidence lies, how much of the image it takes, whether any is there.

Positive values speak for the class, negative ones against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from googlenet.explaining.projection import Floats
from googlenet.images.resampling import Box

SPREAD = 0.35  # share of the map: where half of the evidence takes more, no place is named
OPPOSED = 0.25  # of the highest value: evidence against the class is named from there on
FLAT = 1e-3  # of the highest value: a map that varies by less says nothing about where
TINY = 1e-6
PLACES = (
    ("at the top left", "at the top", "at the top right"),
    ("at the left", "in the middle", "at the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)


@dataclass(frozen=True)
class Seen:
    """Where the evidence lies.

    ``evidence`` is False where no place speaks for the class, ``flat`` is True where all do alike. ``place`` names the
    part of the image with half of the evidence, or is ``None`` where that is spread; ``share`` is how much of the image
    that half takes, 0 to 1. ``against`` names where the most speaks against the class, if that is as much as a quarter
    of what speaks for it. ``peak`` (x, y) is the place of the highest value, as fractions of the image's width and
    height.
    """

    evidence: bool
    place: str | None
    share: float
    against: str | None
    peak: tuple[float, float]
    flat: bool = False

    def sentence(self, class_name: str) -> str:
        """Say it in one clause."""
        if not self.evidence:
            return f"no evidence for {class_name} anywhere in the image"
        if self.flat:
            return "the evidence is the same everywhere"
        if self.place is None:
            said = f"seen all over: half of the evidence takes {self.share:.0%} of the image"
        else:
            said = f"seen {self.place}: half of the evidence lies in {self.share:.0%} of the image"
        return said + (f"; {self.against} speaks against it" if self.against else "")

    def to_dict(self) -> dict[str, Any]:
        """Return it for ``json.dumps``."""
        return {"evidence": self.evidence, "place": self.place, "share": round(self.share, 4), "against": self.against,
                "peak": [round(each, 4) for each in self.peak]}  # fmt: skip


def see(values: Floats, box: Box, noise: float = 0.0) -> Seen:
    """Find where the evidence of a map (h, w) lies, which covers ``box`` of the image (fractions of its sides).

    Values up to ``noise`` are not told from chance.

    >>> values = np.zeros((4, 4), np.float32)
    >>> values[0, 0], values[3, 3] = 2, -1
    >>> found = see(values, (0, 0, 1, 1))
    >>> found.place, found.share, found.against, found.peak
    ('at the top left', 0.0625, 'the bottom right', (0.125, 0.125))
    >>> see(-np.ones((4, 4), np.float32), (0, 0, 1, 1)).sentence("cat")
    'no evidence for cat anywhere in the image'
    """
    highest, lowest = float(values.max()), float(values.min())
    peak = _centre(values == highest, box)
    if highest <= max(noise, TINY):
        return Seen(False, None, 0.0, None, peak)
    if highest - lowest <= FLAT * highest:
        return Seen(True, None, 1.0, None, peak, flat=True)
    holds = _half(np.maximum(values, 0))
    share = float(holds.mean())
    place = _named(_centre(holds, box)) if share <= SPREAD else None
    of_image = min(share * (box[2] - box[0]) * (box[3] - box[1]), 1.0)
    opposed = -lowest >= max(OPPOSED * highest, noise)
    against = _named(_centre(_half(np.maximum(-values, 0)), box)) if opposed else None
    against = against if against != place else None
    return Seen(True, place, of_image, against and against.partition(" ")[2], peak)


def _half(mass: Floats) -> Any:
    """Return the fewest cells (h, w) that hold half of the mass."""
    order = np.argsort(-mass, axis=None, kind="stable")
    held = np.cumsum(mass.ravel()[order], dtype=np.float64)
    count = int(np.searchsorted(held, held[-1] / 2)) + 1
    mask = np.zeros(mass.size, bool)
    mask[order[:count]] = True
    return mask.reshape(mass.shape)


def _centre(mask: Any, box: Box) -> tuple[float, float]:
    """Return the centre (x, y) of some cells, as fractions of the image."""
    rows, columns = np.nonzero(mask)
    x, y = (columns.mean() + 0.5) / mask.shape[1], (rows.mean() + 0.5) / mask.shape[0]
    left, top, right, bottom = box
    across, down = left + x * (right - left), top + y * (bottom - top)
    return float(np.clip(across, 0, 1)), float(np.clip(down, 0, 1))


def _named(centre: tuple[float, float]) -> str:
    column, row = (min(int(3 * each), 2) for each in centre)
    return PLACES[row][column]
