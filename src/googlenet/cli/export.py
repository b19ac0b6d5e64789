"""``googlenet export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from googlenet.exporting.formats import FORMATS

_TITLES = ", ".join(f"{name} ({format_.title})" for name, format_ in FORMATS.items())


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", short_help="Write a classifier for other programs: ONNX, OpenVINO.")(export)


def export(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    to: Annotated[str, typer.Option(help=f"Format: {_TITLES}.")] = "onnx",
    int8: Annotated[bool, typer.Option("--int8", help="Write the graph in 8 bits that the bundle has.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write to; by default RUN/exported.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Example: googlenet export runs/flowers --to openvino --out flowers-openvino

    Write a classifier as files that other programs read, and check that they reproduce its answers.

    The graph takes uint8 images and has the normalisation inside; card.json beside it describes it. --int8 needs a
    bundle that was quantised: googlenet quantize RUN.
    """
    from googlenet import bundle
    from googlenet.exporting.formats import check_format
    from googlenet.files import check_output_path

    check_format(to, int8)
    bundle.read(run)
    check_output_path(out or run / "exported")
    from googlenet.cli.output import say, show_json
    from googlenet.exporting import export as exporting
    from googlenet.stages import stage

    with stage("writing and replaying"):
        written = exporting.export(run, out or run / "exported", to, int8=int8)
    if as_json:
        show_json({
            "files": [str(file) for file in written.files], "largest_difference": written.largest_difference,
        })  # fmt: skip
        return
    say(f"written: {', '.join(str(file) for file in written.files)}")
    say(
        f"replayed by {' and '.join(written.engines)}: largest difference of a probability "
        f"{written.largest_difference:.1e}"
    )
