"""Plots that fail without losing the results: the failure is reported in one line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from googlenet.text import printable


def attempt(draw: Callable[[], object], path: Path) -> str | None:
    """Draw; return in one line why that failed, or ``None``. The results are printed already, and stay."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it logs where its caches are
    try:
        draw()
    except Exception as error:  # noqa: BLE001 - any kind: a font, a name, a disk
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"{printable(str(path))} could not be drawn: {' '.join(str(reason).split())}"
    return None
