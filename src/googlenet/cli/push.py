"""``googlenet push``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("push", short_help="Prepare a run for the Hugging Face Hub, and send it there.")(push)


def push(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository on the Hub.")],
    folder: Annotated[Path | None, typer.Option(help="Folder to write; by default RUN/hub.")] = None,
    upload: Annotated[
        bool, typer.Option("--upload", help="Send the folder. Without this nothing leaves the machine.")
    ] = False,
) -> None:
    """Example: googlenet push runs/flowers me/flowers

    Write the folder of a Hub repository: the bundle, a model card and, where timm has the network, timm's files.

    Look at it, choose a license in its README.md, then send it with --upload. An existing README.md is kept.
    """
    from googlenet import bundle
    from googlenet.exchange import check
    from googlenet.extras import TRAINING, require
    from googlenet.files import check_output_path

    check.check_repository(repository)
    require("train", *TRAINING)
    if upload:
        require("hub", "huggingface_hub")
    check_output_path(folder or bundle.read(run).path.parent / "hub")
    from googlenet.cli.output import say, say_command
    from googlenet.stages import stage

    with stage("loading PyTorch"):
        from googlenet.exchange import hub
    with stage("sending" if upload else f"writing {run}"):
        written = hub.push(run, repository, upload=upload, folder=folder)
    names = ", ".join(sorted(entry.name for entry in written.iterdir()))
    say(f"{written}: {names}")
    if upload:
        say(f"sent to {repository}")
    else:
        say(f"nothing was sent; choose a license in {written / hub.README}, then:")
        say_command("", "googlenet", "push", run, repository, *(("--folder", folder) if folder else ()), "--upload")
