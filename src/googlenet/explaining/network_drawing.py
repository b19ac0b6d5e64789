"""The branches of the last module, drawn: the image, its way through the stages, and what each branch adds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from googlenet.explaining import colours
from googlenet.explaining.drawing import GREY, INK, MARGIN, PAPER, SMALL, TEXT, TITLE, as_shown, lines, number
from googlenet.explaining.lettering import fitted, text_width, wrapped, write
from googlenet.images.resize import resize_and_crop

if TYPE_CHECKING:
    from googlenet.explaining.branches import Branches

WIDTH, THUMB = 880, 150  # pixels
ROW, BOX_WIDTH, BOX = 58, 150, 34  # of branches: their distance, width and height
RIBBONS, MIN_RIBBON = 60, 2  # pixels: the height of all together, and the least of one
FINE = 3  # drawn so many times larger, and made smaller: smooth edges
LINE, PALE, FILL = (200, 203, 209), (232, 234, 238), (246, 247, 249)


def draw_branches(found: Branches) -> Image.Image:
    """Draw what each branch gave."""
    count = len(found.names)
    said = wrapped(_said(found), TEXT, WIDTH - 2 * MARGIN)
    top = MARGIN + TITLE + 10 + len(said) * (TEXT + 6) + 20
    high = max(count * ROW, THUMB + 40)
    sheet = Image.new("RGB", (WIDTH, top + high + 52), PAPER)
    _shapes(sheet, found, top, high)
    draw = ImageDraw.Draw(sheet)
    title = fitted(found.asked.sentence(), TITLE, WIDTH - 2 * MARGIN)
    write(draw, (MARGIN, MARGIN + TITLE - 4), title, TITLE, INK)
    lines(draw, (MARGIN, MARGIN + TITLE + 10), said, TEXT, GREY)
    _words(draw, found, top, high)
    return sheet


def _said(found: Branches) -> str:
    said = found.sentence.removeprefix(found.asked.sentence() + ": ")
    return said[0].upper() + said[1:] + "."


def _middles(found: Branches, top: int, high: int) -> list[float]:
    first = top + high / 2 - ROW * (len(found.names) - 1) / 2
    return [first + ROW * at for at in range(len(found.names))]


# Where things stand, from left to right.
CHAIN = MARGIN + THUMB + 26
SPLIT = 424  # where the branches part
BOXES = 470
JOIN = 700  # where they meet
CLASS = 728


def _shapes(sheet: Image.Image, found: Branches, top: int, high: int) -> None:
    """Draw everything but words, larger and then made smaller."""
    large = Image.new("RGB", (sheet.width * FINE, sheet.height * FINE), PAPER)
    draw = ImageDraw.Draw(large)
    middle = top + high / 2
    _line(draw, [(MARGIN + THUMB, middle), (SPLIT, middle)], 4, LINE)
    shown, most = found.shown, max(float(np.abs(found.shown).max()), 1e-9)
    heights = np.maximum(RIBBONS * np.abs(shown) / max(float(np.abs(shown).sum()), 1e-9), MIN_RIBBON)
    arrivals = middle - heights.sum() / 2 + np.cumsum(heights) - heights / 2
    for y, value, tall, end in zip(_middles(found, top, high), shown, heights, arrivals, strict=True):
        _line(draw, _curve((SPLIT, middle), (BOXES, y)), 4, LINE)
        _line(draw, _curve((BOXES + BOX_WIDTH, y), (JOIN, float(end))), float(tall), _colour(float(value) / most))
    for y, value in zip(_middles(found, top, high), shown, strict=True):
        colour = _colour(float(value) / most)
        _box(draw, (BOXES, y - BOX / 2, BOXES + BOX_WIDTH, y + BOX / 2), FILL, colour)
    _stages(draw, found, middle)
    _box(draw, (JOIN - 8, middle - 34, WIDTH - MARGIN, middle + 34), PAPER, INK)
    sheet.paste(large.reduce(FINE))
    pixels = resize_and_crop(as_shown(found.source, found.preprocessing), found.preprocessing)
    thumb = Image.fromarray(pixels).resize((THUMB, THUMB), Image.Resampling.LANCZOS)
    sheet.paste(thumb, (MARGIN, round(middle - THUMB / 2)))


def _stages(draw: ImageDraw.ImageDraw, found: Branches, middle: float) -> None:
    """Draw the stages before the last module as bars, which grow as their maps have more channels."""
    count = len(found.stages)
    step = (SPLIT - 24 - CHAIN) / max(count, 1)
    for at in range(count):
        height = 26 + 52 * at / max(count - 1, 1)
        left = CHAIN + at * step
        _box(draw, (left, middle - height / 2, left + min(0.62 * step, 16), middle + height / 2), PALE, LINE)


def _words(draw: ImageDraw.ImageDraw, found: Branches, top: int, high: int) -> None:
    middle = top + high / 2
    for y, name, part in zip(_middles(found, top, high), found.names, found.shown, strict=True):
        value = f"{part:+.2f}".replace("-", "−")
        room = BOX_WIDTH - 24 - text_width(value, TEXT)
        write(draw, (BOXES + 10, y + TEXT / 3), fitted(named(name), TEXT, room), TEXT, INK)
        write(draw, (BOXES + BOX_WIDTH - 10 - text_width(value, TEXT), y + TEXT / 3), value, TEXT, INK)
    room = WIDTH - MARGIN - CLASS
    total = f"{found.total:+.2f}".replace("-", "−")
    other = found.asked.against
    name = found.asked.class_name if other is None else f"{found.asked.class_name} − {other}"
    write(draw, (CLASS - 20, middle - 6), fitted(name, TEXT, room), TEXT, INK)
    what = "logit" if other is None else "difference"
    write(draw, (CLASS - 20, middle + 18), f"{what} {total}", TEXT, INK)
    ends = [found.stages[0], found.stages[-1]] if len(found.stages) > 1 else list(found.stages)
    below = middle + 60
    if ends:
        write(draw, (CHAIN, below), fitted(f"{ends[0]} … {ends[-1]}", SMALL, SPLIT - CHAIN - 10), SMALL, GREY)
    stage = fitted(found.stage, SMALL, BOX_WIDTH)
    write(draw, (BOXES, _middles(found, top, high)[0] - BOX / 2 - 10), stage, SMALL, GREY)
    write(draw, (MARGIN, top + high + 36), _sum(found).replace("-", "−"), SMALL, GREY)


def _sum(found: Branches) -> str:
    """Say what adds up to the logit."""
    bias = number(found.rest)
    if found.method == "shapley":
        return f"In logits, Shapley values. With the logit where all branches are off, {bias}, they are the logit."
    if found.average is None:
        return f"In logits. The branches and the bias, {bias}, add up to the logit."
    average = number(float(np.sum(found.average)))
    return f"In logits. With what they give to an average image, {average}, and the bias, {bias}, they are the logit."


def named(name: str) -> str:
    """Return the name of a branch as papers write it.

    >>> named("double_3x3"), named("pool_proj")
    ('double 3×3', 'pool proj')
    """
    return re.sub(r"(?<=\d)x(?=\d)", "×", name.replace("_", " "))


def _colour(value: float) -> tuple[int, int, int]:
    red, green, blue = colours.tinted(np.array(0.72), np.array(value)).tolist()
    return red, green, blue


def _curve(start: tuple[float, float], end: tuple[float, float], steps: int = 40) -> list[tuple[float, float]]:
    """Return points of a line that leaves and arrives level."""
    t = np.linspace(0, 1, steps)
    smooth = t * t * (3 - 2 * t)
    x = start[0] + (end[0] - start[0]) * t
    y = start[1] + (end[1] - start[1]) * smooth
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _line(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], width: float, colour: tuple[int, ...]) -> None:
    """Draw a ribbon of one height everywhere, so that the widths of steep ones can be compared."""
    half = width / 2
    upper = [(x * FINE, (y - half) * FINE) for x, y in points]
    lower = [(x * FINE, (y + half) * FINE) for x, y in reversed(points)]
    draw.polygon(upper + lower, fill=colour)


def _box(draw: ImageDraw.ImageDraw, box: tuple[float, ...], fill: tuple[int, ...], edge: tuple[int, ...]) -> None:
    scaled = [FINE * each for each in box]
    draw.rounded_rectangle(scaled, radius=6 * FINE, fill=fill, outline=edge, width=2 * FINE)
