"""What commands check before they work: where plots go, extras, named sets. Each check is quick."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from googlenet.errors import RunError
from googlenet.extras import require
from googlenet.files import check_output_path
from googlenet.text import printable

PLOT_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")


def check_plot(path: Path | None, option: str = "--plot") -> None:
    """Raise if no plot can be written to ``path``, which ``option`` names; ``None`` if the user named no file."""
    require("train", "matplotlib", "sklearn")
    if path is None:
        return
    name = printable(str(path))
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise typer.BadParameter(
            f"{option} {name} should end in {PLOT_SUFFIXES[0]} (or {', '.join(PLOT_SUFFIXES[1:])})"
        )
    check_output_path(path)
    if path.is_dir():
        raise typer.BadParameter(
            f"{option} {name} is a folder: name a file, such as {printable(str(path / 'plot.png'))}"
        )


def plot(draw: Callable[[], object], path: Path, asked: bool) -> bool:
    """Draw a plot of results that are printed already; return whether that worked.

    If not, that is a warning, or :class:`RunError` if the user asked for the plot.
    """
    from googlenet.cli.output import warn
    from googlenet.evaluation.drawing import attempt

    why = attempt(draw, path)
    if why and asked:
        raise RunError(why)
    if why:
        warn(why)
    return not why


def fetch(name: str) -> None:
    """Download a named set of images."""
    from googlenet.data.datasets import check_fetchable

    check_fetchable(name)
    require("train", "torchvision")
    from googlenet.cli.output import progress
    from googlenet.stages import stage

    with stage(f"downloading {name}"), progress(f"downloading {name}") as report:
        from googlenet.exchange.datasets import fetch as download

        download(name, report)
