"""Symbolic links that lead out of a folder: they would bring in images that nobody meant to use or to show."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from googlenet.data.list_lines import LISTS_TEXT
from googlenet.errors import DataError
from googlenet.text import first_few, printable


def leading_out(places: Iterable[tuple[Path, Path]]) -> list[Path]:
    """Return those paths of (path, folder) whose file, with all links followed, is not in that folder.

    The folder itself may be a link. Circular links do no harm.
    """

    @cache  # resolving a path looks at every folder above it: done once a folder, and for each link
    def lies_in(place: Path, folder: Path) -> bool:
        return Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder))

    return [path for path, folder in places if not lies_in(path if path.is_symlink() else path.parent, folder)]


def check_links(source: Path, places: Iterable[tuple[Path, Path]]) -> None:
    """Raise :class:`DataError` if a path of (path, folder) leads out of that folder."""
    found = leading_out(places)
    if found:
        named = first_few(f"{printable(str(path))} → {printable(os.path.realpath(path))}" for path in found)
        raise DataError(
            f"{source}: {len(found):,} of its images lead elsewhere by a link: {named}; put them there as files, "
            f"name them by their own paths in a list ({LISTS_TEXT}), or allow it with --follow-links"
        )
