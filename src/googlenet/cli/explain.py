"""``googlenet explain``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from googlenet.cli.data_options import FollowLinks
from googlenet.cli.devices import PredictIn
from googlenet.cli.limits import MaxMegapixels

FOLDER = Path("explanations")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain", short_help="Show what in an image speaks for its class (no PyTorch needed).")(explain)


def explain(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Images, folders, globs such as 'new/*.jpg', photos.zip.", metavar="IMAGE…"),
    ] = None,
    class_name: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="The class to explain. By default the predicted one."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="OTHER", help="Show what speaks for the class rather than for this one."),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="cam (exact, quick), occlusion, rise (hundreds of runs), gradcam, ig (need PyTorch and captum), or "
            "several with commas between them. By default cam where the network has one, else occlusion.",
        ),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of gradcam (by default the last) and of --dream: a stage such as inception_4e."
        ),
    ] = None,
    neuron: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE:CHANNELS",
            help="Instead find images that excite channels most, such as inception_5b:0-7, beside those of IMAGE… that "
            "do (needs PyTorch).",
        ),
    ] = None,
    dream: Annotated[
        str | None,
        typer.Option(metavar="IMAGE", help="Instead let --stage dream about this image (needs PyTorch)."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Of --neuron (by default 256) or --dream (24 at each size).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of --neuron and --dream.")] = 0,
    branches: Annotated[
        bool,
        typer.Option("--branches", help="Also show how much each branch of the last module gave: NAME.branches.png."),
    ] = False,
    module: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The same of another module, such as inception_4a, by Shapley values."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Check each method on the labelled images DATA, in place of IMAGE…: does it show what the answers "
            "depend on?",
        ),
    ] = False,
    count: Annotated[
        int,
        typer.Option("--images", metavar="N", min=2, help="With --check: how many images, evenly over the classes."),
    ] = 40,
    boxes: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="With --check: path, left, top, right, bottom in pixels: where the thing is in each image.",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            metavar="VALUE", help="The value at which colours are full. By default the largest of each image."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help=f"Where to write NAME.png and NAME.json. Default: {FOLDER}"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON array of what NAME.json has; write files with --out only.")
    ] = False,
    precision: PredictIn = None,
    follow_links: FollowLinks = False,
    max_megapixels: MaxMegapixels = None,
) -> None:
    """Example: googlenet explain runs/flowers daisy.jpg --against rose

    Show what in an image speaks for its class and what against it, beside the image and in one line. PyTorch is not
    needed, except for gradcam and ig.

    What a channel looks for: googlenet explain runs/flowers --neuron inception_5b:0-7 photos/

    For networks that end in global pooling and one linear layer (GoogLeNet, the Inceptions, Xception, ResNets, NIN)
    the map is exact: its mean is the logit of the class. Others are explained by occlusion.

    Can it be believed? googlenet explain runs/flowers photos/ --check
    """
    if neuron is not None or dream is not None:
        from googlenet.cli.visualizing import Wish, show

        wish = Wish(neuron, dream, stage, steps, seed, out or (None if as_json else FOLDER), as_json)
        given = {"--class": class_name, "--against": against, "--methods": methods, "--module": module,
                 "--scale": scale, "--branches": branches or None, "--precision": precision,
                 "--check": check or None}  # fmt: skip
        wish.check(paths or (), [name for name, value in given.items() if value is not None])
        show(run, wish, paths or ())
        return
    _check(paths, steps, scale)
    from googlenet.data.source import DataSource

    inputs = [DataSource(path, follow_links=follow_links) for path in paths or ()]
    chosen = tuple(methods.split(",")) if methods else ()
    if check:
        from googlenet.cli.checking import check as check_methods

        check_methods(run, inputs, chosen, count, boxes, precision, out and _made(out), as_json)
        return
    from googlenet.cli.explanations import explain_to_files
    from googlenet.inference.explain import Request

    request = Request(class_name, against, chosen, branches, module, stage)
    made = partial(_made, out) if out else None if as_json else partial(_made, FOLDER)
    if not explain_to_files(run, inputs, request, precision, scale, made, as_json):
        raise typer.Exit(1)


def _check(paths: list[str] | None, steps: int | None, scale: float | None) -> None:
    if not paths:
        raise typer.BadParameter("name the images to explain: googlenet explain RUN IMAGE…")
    if steps is not None:
        raise typer.BadParameter("--steps is that of --neuron or --dream: leave it out")
    if scale is not None and not scale > 0:
        raise typer.BadParameter(f"--scale is a value above 0, got {scale:g}")


def _made(folder: Path) -> Path:
    from googlenet.files import write_error

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder
