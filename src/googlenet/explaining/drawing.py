"""Explanations drawn: the image, and beside it what speaks for a class, over the image. Pillow alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from googlenet.explaining import colours
from googlenet.explaining.lettering import fitted, text_width, wrapped, write
from googlenet.explaining.projection import Floats, lay_over
from googlenet.images.pixels import Pixels, as_rgb
from googlenet.images.resize import crop_box, inside, read
from googlenet.preprocessing import Preprocessing
from googlenet.text import printable

if TYPE_CHECKING:
    from googlenet.explaining.explanation import Explanation

PANEL = 420  # pixels of the longer side of an image
MIN_PANEL = 260  # of the shorter side: below it there is no room for words
MARGIN, GAP = 28, 20
TITLE, TEXT, SMALL = 23, 15, 13  # sizes of letters
BAR = 12  # height of a scale
INK, GREY, PAPER = (28, 30, 34), (104, 108, 116), (255, 255, 255)
FADE = 0.72  # of what the network did not see, towards white
METHODS = {"cam": "class activation map", "occlusion": "occlusion", "rise": "RISE", "gradcam": "Grad-CAM",
           "ig": "integrated gradients"}  # fmt: skip


def draw_maps(explanations: list[Explanation], scale: float | None = None) -> Image.Image:
    """Draw an image and what each explanation says of it. Colours are full at ``scale``, or each largest value."""
    first = explanations[0]
    pixels = as_shown(first.source, first.preprocessing)
    width, height = panel_size(pixels)
    across = MARGIN * 2 + (width + GAP) * (1 + len(explanations)) - GAP
    notes = [line for note in dict.fromkeys(n for each in explanations for n in each.notes)
             for line in wrapped(note, SMALL, across - 2 * MARGIN)]  # fmt: skip
    said = wrapped(first.place, TEXT, across - 2 * MARGIN)
    top = MARGIN + TITLE + 10 + len(said) * (TEXT + 6) + 10
    below = top + height + 16 + BAR + 2 * (SMALL + 6) + (len(notes) * (SMALL + 5) + 8 if notes else 0)
    sheet = Image.new("RGB", (across, below + MARGIN - 8), PAPER)
    draw = ImageDraw.Draw(sheet)
    write(draw, (MARGIN, MARGIN + TITLE - 4), fitted(first.asked.sentence(), TITLE, across - 2 * MARGIN), TITLE, INK)
    lines(draw, (MARGIN, MARGIN + TITLE + 10), said, TEXT, GREY)
    shown = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
    sheet.paste(shown, (MARGIN, top))
    write(draw, (MARGIN, top + height + 16 + BAR), "the image", SMALL, GREY)
    for number, each in enumerate(explanations, start=1):
        left = MARGIN + number * (width + GAP)
        full = scale or float(np.abs(each.values).max()) or 1.0
        sheet.paste(Image.fromarray(overlaid(np.asarray(shown), _told(each), each.preprocessing, full)), (left, top))
        _scale(sheet, (left, top + height + 16), width, full, _title(each))
    lines(draw, (MARGIN, below - len(notes) * (SMALL + 5)), notes, SMALL, GREY)
    return sheet


def _title(explanation: Explanation) -> str:
    said = METHODS.get(explanation.method, explanation.method)
    if explanation.stage is not None:
        said += f" at {printable(explanation.stage)}"
    return f"{said}, {explanation.unit}"


def _told(explanation: Explanation) -> Floats:
    """Return the values of a map that are told from chance; the others are 0."""
    values = explanation.values
    return np.where(np.abs(values) > explanation.noise, values, 0).astype(np.float32)


def lines(draw: ImageDraw.ImageDraw, at: tuple[int, int], texts: list[str], size: int, colour: object) -> None:
    """Write lines below each other; ``at`` is the top left corner."""
    for number, text in enumerate(texts):
        write(draw, (at[0], at[1] + size + number * (size + 6)), text, size, colour)


def as_shown(source: object, preprocessing: Preprocessing) -> Pixels:
    """Read an image as (H, W, 3): grey as grey, and the first three of other channels as red, green and blue."""
    return as_rgb(read(source, preprocessing, at_least=PANEL))  # type: ignore[arg-type]


def panel_size(pixels: Pixels) -> tuple[int, int]:
    """Return the width and height at which an image is drawn."""
    height, width = pixels.shape[:2]
    factor = max(PANEL / max(width, height), MIN_PANEL / width)
    return max(round(width * factor), 1), min(max(round(height * factor), 1), 4 * PANEL)


def overlaid(pixels: Pixels, values: Floats, preprocessing: Preprocessing, full: float) -> Pixels:
    """Colour an image (H, W, 3) by the values of a map; what the network did not see is faded to white."""
    height, width = pixels.shape[:2]
    heat = lay_over(values / full, width, height, preprocessing)
    light = colours.lightness(pixels)
    left, top, right, bottom = (round(edge) for edge in inside(crop_box(width, height, preprocessing), width, height))
    outside = np.ones((height, width), bool)
    outside[top:bottom, left:right] = False
    drawn = colours.tinted(light, heat)
    drawn[outside] = (drawn[outside] * (1 - FADE) + 255 * FADE).astype(np.uint8)
    return drawn


def _scale(sheet: Image.Image, at: tuple[int, int], width: int, full: float, what: str) -> None:
    """Draw the scale of colours from -full to full, with its ends and the unit."""
    left, top = at
    values = np.linspace(-1, 1, width)
    bar = colours.tinted(np.full((BAR, width), 0.72), np.broadcast_to(values, (BAR, width)))
    sheet.paste(Image.fromarray(bar), at)
    draw, base = ImageDraw.Draw(sheet), top + BAR + SMALL + 4
    high = number(full)
    write(draw, (left, base), f"−{high} against", SMALL, GREY)
    write(draw, (left + (width - text_width("0", SMALL)) / 2, base), "0", SMALL, GREY)
    write(draw, (left + width - text_width(f"for +{high}", SMALL), base), f"for +{high}", SMALL, GREY)
    said = fitted(what, SMALL, width)
    write(draw, (left + (width - text_width(said, SMALL)) / 2, base + SMALL + 6), said, SMALL, GREY)


def number(value: float) -> str:
    """Return a number of three digits.

    >>> number(12.3456), number(0.012345), number(-4423.1)
    ('12.3', '0.0123', '-4,420')
    """
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:.3g}"
