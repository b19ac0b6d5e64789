"""A sheet of the wrong images: thumbnails with what was predicted and what is true, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from googlenet.errors import DataError, ImageError
from googlenet.evaluation.answers import Mistake
from googlenet.evaluation.plots import draw_predictions
from googlenet.images.decode import Pixels
from googlenet.images.pixels import COLOURS
from googlenet.images.resize import load_image
from googlenet.preprocessing import Preprocessing

MAX_IMAGES, COLUMNS = 48, 6
THUMBNAIL = 160  # pixels
GREY = 128  # stands for an image that cannot be read again


def draw_mistakes(mistakes: Sequence[Mistake], path: Path, preprocessing: Preprocessing, total: int) -> None:
    """Draw the first 48 mistakes, each with its predicted and its true class; ``total`` images were measured.

    Images are shown whole, as far as the network's preprocessing reads them: grey as grey, and the first three of
    other channels as red, green and blue. Raises :class:`OSError`, and :class:`DataError` where there is no mistake.
    """
    if not mistakes:
        raise DataError("no image was answered wrong: there is nothing to draw")
    few = mistakes[:MAX_IMAGES]
    sheet = [
        (_thumbnail(each, preprocessing), _names(each.predicted), each.probability, _names(each.true)) for each in few
    ]
    shown = f"{len(few):,} of {len(mistakes):,}" if len(few) < len(mistakes) else f"{len(mistakes):,}"
    title = f"{shown} wrong of {total:,} images, the highest loss first"
    draw_predictions(sheet, path, columns=min(COLUMNS, len(few)), title=title)


def _names(classes: Sequence[str]) -> str:
    return ", ".join(classes) or "no label"


def _thumbnail(mistake: Mistake, preprocessing: Preprocessing) -> Pixels:
    """Return (160, 160, 3) uint8: the whole image, padded to a square."""
    how = replace(preprocessing, size=THUMBNAIL, crop_fraction=1.0, resize="pad")
    try:
        pixels = load_image(mistake.image.source, how)
    except ImageError:  # it was readable a moment ago
        return np.full((THUMBNAIL, THUMBNAIL, COLOURS), GREY, np.uint8)
    if pixels.shape[2] < COLOURS:
        return np.repeat(pixels[:, :, :1], COLOURS, axis=2)
    return pixels[:, :, :COLOURS]
