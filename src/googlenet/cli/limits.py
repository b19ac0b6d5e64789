"""The option ``--max-megapixels``, for every command that reads images."""

from __future__ import annotations

import math
import os
from typing import Annotated, Any

import typer

from googlenet.images.budget import MEGAPIXELS, OPTION, VARIABLE


def _set(megapixels: float | None) -> float | None:
    if megapixels is not None:
        if not (math.isfinite(megapixels) and megapixels > 0):
            raise typer.BadParameter(f"{megapixels} is not a number of megapixels above 0")
        os.environ[VARIABLE] = str(megapixels)  # inherited by the processes that read images
    return megapixels


def megapixels_option(default: int, cost: str = "") -> Any:
    """Return the option for a command where images of more megapixels than ``default`` are refused."""
    told = f"Refuse images of more megapixels ({default} by default{cost})."
    return typer.Option(OPTION, metavar="N", callback=_set, help=told)


MaxMegapixels = Annotated[float | None, megapixels_option(MEGAPIXELS, ": up to 1 GB of memory and 5 seconds")]
