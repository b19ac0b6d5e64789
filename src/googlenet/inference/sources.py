"""Images as they were given, kept with their answers: what they are compared by, and what of them can be pickled."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

from googlenet.images.decode import ImageSource


def comparable(source: ImageSource | None) -> object:
    """Return what two sources are compared by; ``None`` for open files."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, np.ndarray):
        return source.shape, source.tobytes()
    return source if isinstance(source, (bytes, Image.Image)) else None


def picklable(source: ImageSource | None) -> ImageSource | None:
    """Return a source that can go to another process; ``None`` for an open file, or an image not yet read from one."""
    if isinstance(source, Image.Image):
        try:
            source.load()
        except (OSError, ValueError):
            return None
        return source
    return source if isinstance(source, (str, os.PathLike, bytes, np.ndarray)) else None
