"""``googlenet explain RUN IMAGE… --branches`` of several images: which branches matter to which class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from googlenet.explaining.class_branches import ClassBranches

NAME = "branches"  # of the files: no image's own files have it


def show_classes(found: ClassBranches, folder: Path | None, quiet: bool) -> None:
    """Print a table and write ``branches.png`` and ``branches.json``, where there were several images."""
    if len(found) < 2:
        return
    from googlenet.cli.output import say, show_table
    from googlenet.explaining.explanation import save
    from googlenet.files import write_error, write_whole
    from googlenet.text import json_text

    if not quiet:
        columns = [("class", "left"), ("images", "right"), *((name, "right") for name in found.branches)]
        rows = [(name, f"{count:,}", *(f"{mean:+.2f}" for mean in means)) for name, count, means in found.rows]
        say()
        show_table(found.title, columns, rows)
    if folder is None:
        return
    save(found.image(), folder / f"{NAME}.png")
    path = folder / f"{NAME}.json"
    try:
        write_whole(path, (json_text(found.to_dict()) + "\n").encode())
    except OSError as error:
        raise write_error(path, error) from error
    if not quiet:
        say(f"branches and classes: {folder / f'{NAME}.png'}")
