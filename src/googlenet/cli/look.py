"""What commands look at before they work: places to write to, bundles, extras. Nothing here takes half a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from googlenet.errors import RunError
from googlenet.extras import require
from googlenet.files import check_output_path
from googlenet.text import printable

PLOTS = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")  # kinds of files that can be drawn


def check_plot(path: Path | None) -> None:
    """Raise where nothing could be drawn to ``path``; ``None`` is a place that nobody asked for."""
    require("train", "matplotlib", "sklearn")
    if path is None:
        return
    name = printable(str(path))
    if path.suffix.lower() not in PLOTS:
        raise typer.BadParameter(f"--plot {name} should end in {PLOTS[0]} (or {', '.join(PLOTS[1:])})")
    check_output_path(path)
    if path.is_dir():
        raise typer.BadParameter(f"--plot {name} is a folder: name a file, {printable(str(path / 'plot.png'))} for one")


def plot(draw: Callable[[], object], path: Path, asked: bool) -> bool:
    """Draw what was measured, once it is printed. Whether that worked; where a plot was asked for it must."""
    from googlenet.cli.output import warn
    from googlenet.evaluation.drawing import attempt

    why = attempt(draw, path)
    if why and asked:
        raise RunError(why)
    if why:
        warn(why)
    return not why


def fetch(name: str) -> None:
    """Fetch a named set of images, once it is known to be one."""
    from googlenet.data.datasets import check_fetchable

    check_fetchable(name)
    require("train", "torchvision")
    import googlenet
    from googlenet.cli.output import progress
    from googlenet.stages import stage

    with stage(f"fetching {name}"), progress(f"fetching {name}") as report:
        googlenet.fetch(name, report)
