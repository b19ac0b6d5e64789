"""The option that raises what one image may cost, for every command that reads images."""

from __future__ import annotations

import math
import os
from typing import Annotated

import typer

from googlenet.images.budget import MEGAPIXELS, OPTION, VARIABLE


def _set(megapixels: float | None) -> float | None:
    if megapixels is not None:
        if not (math.isfinite(megapixels) and megapixels > 0):
            raise typer.BadParameter(f"{megapixels} is not a number of megapixels above 0")
        os.environ[VARIABLE] = str(megapixels)  # which the processes that read images inherit
    return megapixels


MaxMegapixels = Annotated[
    float | None,
    typer.Option(
        OPTION,
        metavar="N",
        callback=_set,
        help=f"Megapixels of one image at most ({MEGAPIXELS} by default), which take up to 1 GB and 5 seconds.",
    ),
]
