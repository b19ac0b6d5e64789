"""Which branches of a module matter to which class: what they gave, on average over the images of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from googlenet.explaining import colours
from googlenet.explaining.branches import Branches
from googlenet.explaining.drawing import GREY, INK, MARGIN, PAPER, SMALL, TEXT, TITLE, lines
from googlenet.explaining.lettering import fitted, text_width, wrapped, write
from googlenet.explaining.network_drawing import named
from googlenet.text import escape_surrogates, printable

Array = NDArray[Any]
CELL_WIDTH, CELL = 104, 38  # pixels
MAX_NAMES = 220  # pixels of the names of classes
LIGHT = 0.9  # of a cell without a value


class ClassBranches:
    """Collects what branches gave to the classes of images."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Array]] = {}
        self._first: Branches | None = None

    def add(self, found: Branches) -> None:
        """Count one image, for the class that was explained."""
        self._first = self._first or found
        self._parts.setdefault(found.asked.class_name, []).append(np.asarray(found.shown, np.float64))

    def __len__(self) -> int:
        return sum(map(len, self._parts.values()))

    @property
    def branches(self) -> tuple[str, ...]:
        """The names of the branches, as papers write them."""
        return tuple(map(named, self._known.names))

    @property
    def rows(self) -> list[tuple[str, int, Array]]:
        """For each class its name, its number of images, and the mean part of each branch (B,), in logits."""
        return [(name, len(parts), np.mean(parts, axis=0)) for name, parts in sorted(self._parts.items())]

    @property
    def title(self) -> str:
        """What the values are, in one line."""
        found = self._known
        by = "Shapley values of" if found.method == "shapley" else "what"
        gave = "" if found.method == "shapley" else " gave"
        than = " more than to an average image" if found.average is not None else ""
        return f"{by} the branches of {printable(found.stage)}{gave} to each class{than}, in logits"

    @property
    def _known(self) -> Branches:
        assert self._first is not None
        return self._first

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for ``json.dumps``."""
        found = self._known
        return {
            "stage": found.stage, "by": found.method, "unit": "logit", "centred": found.average is not None,
            "classes": [
                {"class": escape_surrogates(name), "images": count,
                 "parts": dict(zip(found.names, means.tolist(), strict=True))}
                for name, count, means in self.rows
            ],
        }  # fmt: skip

    def image(self) -> Image.Image:
        """Draw a row for each class and a column for each branch: orange gives to the class, blue takes from it."""
        rows, branches = self.rows, self.branches
        names = min(max(text_width(printable(name), TEXT) for name, *_ in rows) + 16, MAX_NAMES)
        left = MARGIN + round(names)
        width = max(left + CELL_WIDTH * len(branches) + MARGIN, 460)
        said = wrapped(self.title[0].upper() + self.title[1:] + ".", TEXT, width - 2 * MARGIN)
        top = MARGIN + TITLE + 10 + len(said) * (TEXT + 6) + 34
        sheet = Image.new("RGB", (width, top + CELL * len(rows) + MARGIN), PAPER)
        draw = ImageDraw.Draw(sheet)
        write(draw, (MARGIN, MARGIN + TITLE - 4), "Branches and classes", TITLE, INK)
        lines(draw, (MARGIN, MARGIN + TITLE + 10), said, TEXT, GREY)
        for column, name in enumerate(branches):
            _middle(draw, left + CELL_WIDTH * column, top - 10, fitted(name, SMALL, CELL_WIDTH - 8), SMALL)
        most = max(float(np.abs([means for *_, means in rows]).max()), 1e-9)
        for number, (name, count, means) in enumerate(rows):
            base = top + CELL * number
            write(draw, (MARGIN, base + 17), fitted(name, TEXT, names - 12), TEXT, INK)
            write(draw, (MARGIN, base + 32), f"{count:,} image{'s' if count > 1 else ''}", SMALL - 2, GREY)
            for column, value in enumerate(means.tolist()):
                at = (left + CELL_WIDTH * column, base)
                fill = tuple(colours.tinted(np.array(LIGHT), np.array(value / most)).tolist())
                draw.rectangle((at[0] + 1, at[1] + 1, at[0] + CELL_WIDTH - 2, at[1] + CELL - 2), fill=fill)
                _middle(draw, at[0], at[1] + CELL / 2 + TEXT / 3, f"{value:+.2f}".replace("-", "−"), TEXT)
        return sheet


def _middle(draw: ImageDraw.ImageDraw, left: float, base: float, text: str, size: int) -> None:
    write(draw, (left + (CELL_WIDTH - text_width(text, size)) / 2, base), text, size, INK)
