"""A sheet of what channels look for: the image found for each, beside the images of the data that excite it most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from googlenet.explaining.drawing import GREY, INK, MARGIN, PAPER, SMALL, TEXT, TITLE, lines
from googlenet.explaining.lettering import fitted, wrapped, write
from googlenet.images.pixels import Pixels, as_rgb

TILE, GAP, WIDE_GAP = 176, 10, 30
CAPTION = SMALL + 12
PER_ROW = 6  # images found in a row, where none of the data stand beside them


@dataclass(frozen=True)
class Tile:
    """An image (S, S, C) uint8, and one line about it."""

    pixels: Pixels
    caption: str


def draw_neurons(title: str, text: str, rows: Sequence[Sequence[Tile]]) -> Image.Image:
    """Draw a row for each channel: the image found first, then those of the data. Without those, images in rows."""
    alone = all(len(row) == 1 for row in rows)
    if alone:
        every = [tile for row in rows for tile in row]
        rows = [every[start : start + PER_ROW] for start in range(0, len(every), PER_ROW)]
    columns = max(len(row) for row in rows)
    apart = 0 if alone else WIDE_GAP - GAP
    across = max(2 * MARGIN + columns * (TILE + GAP) - GAP + apart, 520)
    said = wrapped(text, TEXT, across - 2 * MARGIN)
    top = MARGIN + TITLE + 10 + len(said) * (TEXT + 6) + 14
    down = TILE + CAPTION + GAP
    sheet = Image.new("RGB", (across, top + len(rows) * down + MARGIN - GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    write(draw, (MARGIN, MARGIN + TITLE - 4), fitted(title, TITLE, across - 2 * MARGIN), TITLE, INK)
    lines(draw, (MARGIN, MARGIN + TITLE + 10), said, TEXT, GREY)
    for number, row in enumerate(rows):
        for column, tile in enumerate(row):
            left = MARGIN + column * (TILE + GAP) + (apart if column else 0)
            at = (left, top + number * down)
            sheet.paste(enlarged(tile.pixels, TILE), at)
            words = fitted(tile.caption, SMALL, TILE)
            write(draw, (left, at[1] + TILE + SMALL + 4), words, SMALL, GREY if column and not alone else INK)
    return sheet


def enlarged(pixels: Pixels, side: int) -> Image.Image:
    """Return an image as the network sees it, (S, S, C), at ``side`` pixels."""
    return Image.fromarray(as_rgb(pixels)).resize((side, side), Image.Resampling.LANCZOS)
