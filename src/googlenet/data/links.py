"""Links that lead out of a folder: images nobody meant to learn from, or to show in a report, come in by them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path


def leading_out(places: Iterable[tuple[Path, Path]]) -> list[Path]:
    """Give those paths of (path, folder) whose file, every link followed, does not lie in that folder.

    The folder itself may be a link. Links in a circle lead nowhere and do no harm.
    """

    @cache  # following a path goes through every folder above it: done once a folder, and for links themselves
    def lies_in(place: Path, folder: Path) -> bool:
        return Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder))

    return [path for path, folder in places if not lies_in(path if path.is_symlink() else path.parent, folder)]
