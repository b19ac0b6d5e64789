"""Training images that are like an image, drawn below what explains it. Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from googlenet.explaining.drawing import GAP, GREY, INK, MARGIN, PAPER, SMALL, TEXT
from googlenet.explaining.lettering import fitted, write
from googlenet.images.pixels import Pixels

SIDE = 96  # pixels of a thumbnail's cell
HEADING = "Nearest training images, with the cosine of both embeddings"


def with_examples(sheet: Image.Image, examples: Sequence[tuple[Pixels, str, float]]) -> Image.Image:
    """Add a row of thumbnails below a sheet, as many as fit: each with its class and how alike it is."""
    step = SIDE + GAP
    fitting = examples[: max((sheet.width - 2 * MARGIN + GAP) // step, 1)]
    drawn = Image.new("RGB", (sheet.width, sheet.height + TEXT + SIDE + 2 * (SMALL + 6) + 30), PAPER)
    drawn.paste(sheet)
    draw, top = ImageDraw.Draw(drawn), sheet.height + TEXT + 12
    write(draw, (MARGIN, sheet.height + TEXT), fitted(HEADING, TEXT, sheet.width - 2 * MARGIN), TEXT, INK)
    for number, (pixels, label, similarity) in enumerate(fitting):
        left = MARGIN + number * step
        small = Image.fromarray(pixels)
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        drawn.paste(small, (left + (SIDE - small.width) // 2, top + (SIDE - small.height) // 2))
        write(draw, (left, top + SIDE + SMALL + 4), fitted(label, SMALL, SIDE), SMALL, INK)
        write(draw, (left, top + SIDE + 2 * SMALL + 10), f"{similarity:.2f}", SMALL, GREY)
    return drawn
