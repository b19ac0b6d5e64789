"""Sheets of wrong images, and of labels in doubt: thumbnails with both classes, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from googlenet.data.image_set import LabelledImage
from googlenet.errors import DataError, ImageError
from googlenet.evaluation.answers import Mistake
from googlenet.evaluation.plots import draw_predictions
from googlenet.evaluation.suspects import Suspects
from googlenet.images.pixels import COLOURS, Pixels, as_rgb
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
        (_thumbnail(each.image, preprocessing), _names(each.predicted), each.probability, _names(each.true))
        for each in few
    ]
    title = f"{_shown(len(few), len(mistakes))} wrong of {total:,} images, the highest loss first"
    draw_predictions(sheet, path, columns=min(COLUMNS, len(few)), title=title)


def draw_suspects(suspects: Suspects, path: Path, preprocessing: Preprocessing) -> None:
    """Draw the first 48 labels in doubt: the class that is suggested, and below it the label.

    Raises :class:`OSError`, and :class:`DataError` where no label is in doubt.
    """
    few = suspects.items[:MAX_IMAGES]
    if not few:
        raise DataError("no label is in doubt: there is nothing to draw")
    sheet = [(_thumbnail(each.image, preprocessing), each.suggested, each.probability, each.label) for each in few]
    shown, total = _shown(len(few), len(suspects.items)), len(suspects.images)
    title = f"{shown} labels in doubt of {total:,} images, the most doubtful first"
    draw_predictions(sheet, path, columns=min(COLUMNS, len(few)), title=title, before_true="labelled")


def _shown(few: int, every: int) -> str:
    return f"{few:,} of {every:,}" if few < every else f"{every:,}"


def _names(classes: Sequence[str]) -> str:
    return ", ".join(classes) or "no label"


def _thumbnail(image: LabelledImage, preprocessing: Preprocessing) -> Pixels:
    """Return (160, 160, 3) uint8: the whole image, padded to a square."""
    how = replace(preprocessing, size=THUMBNAIL, crop_fraction=1.0, resize="pad")
    try:
        return as_rgb(load_image(image.source, how))
    except ImageError:  # it was readable a moment ago
        return np.full((THUMBNAIL, THUMBNAIL, COLOURS), GREY, np.uint8)
