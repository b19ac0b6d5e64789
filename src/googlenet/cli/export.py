"""``googlenet export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from googlenet.exporting.formats import FORMATS

if TYPE_CHECKING:
    from googlenet.exporting.export import Exported

_TITLES = ", ".join(f"{name} ({format_.title})" for name, format_ in FORMATS.items())


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", short_help="Write a classifier for other programs: ONNX, OpenVINO, a web page.")(export)


def export(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    to: Annotated[str, typer.Option(help=f"Format: {_TITLES}.")] = "onnx",
    int8: Annotated[bool, typer.Option("--int8", help="Write the graph in 8 bits that the bundle has.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write to; by default RUN/exported.")
    ] = None,
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Make the web page one HTML file, which opens from a disk, too.")
    ] = False,
    no_examples: Annotated[
        bool, typer.Option("--no-examples", help="Leave the images that the bundle keeps out of the web page.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Example: googlenet export runs/flowers --to web --out flowers-page

    Write a classifier as files that other programs read, and check that they reproduce its answers.

    A graph takes uint8 images and has the normalisation inside; card.json beside it describes it. --int8 needs a
    bundle that was quantised: googlenet quantize RUN. --to web writes a page that classifies images in any browser,
    without a server: nothing is uploaded. --no-examples leaves out the few held-out images that a bundle keeps.
    """
    from googlenet import bundle
    from googlenet.exporting.formats import check_format, find_format
    from googlenet.files import check_output_path

    check_format(to, int8, page=single_file or no_examples)
    bundle.read(run)
    check_output_path(out or run / "exported")
    from googlenet.cli.output import say, show_json
    from googlenet.exporting import export as exporting
    from googlenet.stages import stage

    with stage("writing and replaying"):
        written = exporting.export(
            run, out or run / "exported", to, int8=int8, single_file=single_file, examples=not no_examples
        )
    if as_json:
        show_json({
            "files": [str(file) for file in written.files], "largest_difference": written.largest_difference,
        })  # fmt: skip
        return
    show = _show_page if find_format(to).page else _show_files
    show(written, single_file)
    say(
        f"replayed by {' and '.join(written.engines)}: largest difference of a probability "
        f"{written.largest_difference:.1e}"
    )


def _show_files(written: Exported, single_file: bool) -> None:
    from googlenet.cli.output import say

    say(f"written: {', '.join(str(file) for file in written.files)}")


def _show_page(written: Exported, single_file: bool) -> None:
    from googlenet.cli.output import say, say_command

    index, size = written.files[0], sum(file.stat().st_size for file in written.files)
    if single_file:
        say(f"written: {index}, {size / 1e6:.1f} MB; open it in a browser")
    else:
        what = f"{index.parent}, {len(written.files)} files, {size / 1e6:.1f} MB"
        say(f"written: {what}; put the folder on any web server, or try it:")
        say_command("", "python", "-m", "http.server", "--directory", index.parent)
    shown = sum("examples" in file.parts[-2:] for file in written.files)
    if shown:
        say(f"it shows {shown} images that the bundle keeps; --no-examples leaves them out")
