"""Plots that never cost the numbers: one that fails is a warning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from googlenet.text import printable


def attempt(draw: Callable[[], object], path: Path) -> str | None:
    """Draw, and return in one line why that failed, if it did: the numbers are there already, and stay."""
    try:
        draw()
    except Exception as error:  # noqa: BLE001 - of whatever kind: a font, a name, a disk
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"{printable(str(path))} could not be drawn: {' '.join(str(reason).split())}"
    return None
