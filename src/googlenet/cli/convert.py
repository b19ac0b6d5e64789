"""``googlenet convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from googlenet.exchange.formats import FORMATS
from googlenet.text import printable

_TITLES = ", ".join(f"{name} ({format_.title})" for name, format_ in FORMATS.items())


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("convert", short_help="Convert weights of other projects into a run, or a run into such weights.")(
        convert
    )


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="A .pth, .pth.tar, .pt, .bin, .ckpt, .safetensors, .npz, .caffemodel, .onnx, .pb or .index.json file, "
            "a folder of timm or the Hugging Face Hub, hf:OWNER/NAME; with --to, a run or bundle."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the new run; with --to, the file to write.")],
    network: Annotated[str | None, typer.Option(help="The network of the zoo whose weights these are.")] = None,
    classes: Annotated[
        Path | None, typer.Option(help="Text file with one class per line, in the order of the weights.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the input images in pixels; by default what the source says.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Which weights to take from a checkpoint that holds several: model_ema, state_dict, …"),
    ] = None,
    transform_input: Annotated[
        Literal["yes", "no"] | None,
        typer.Option(help="Whether torchvision's module was built with transform_input, as with weights=…"),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Allow hf:OWNER/NAME to be downloaded.")] = False,
    to: Annotated[str | None, typer.Option(help=f"Write weights for another project: {_TITLES}.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Example: googlenet convert googlenet.pth --network googlenet_torchvision --out runs/theirs

    Convert weights of other projects into a run for predict, evaluate, verify and train --weights.

    The other way: googlenet convert runs/flowers --to torch --out flowers.pth

    Pickle files are never executed: only plain tensors are loaded.
    """
    if to is None:
        transform = None if transform_input is None else transform_input == "yes"
        options = {"image_size": image_size, "download": download, "key": key, "transform_input": transform}
        _import(source, out, network, classes, options, as_json)
        return
    others = {"--network": network, "--classes": classes, "--image-size": image_size, "--download": download or None,
               "--key": key, "--transform-input": transform_input}  # fmt: skip
    given = [option for option, value in others.items() if value is not None]
    if given:
        raise typer.BadParameter(f"--to takes all from the run: leave out {', '.join(given)}")
    _export(source, out, to, as_json)


def _import(
    source: str, out: Path, network: str | None, classes: Path | None, options: dict[str, Any], as_json: bool
) -> None:
    if network is None:
        raise typer.BadParameter(
            "say whose weights these are with --network NAME, or write those of a run with --to FORMAT"
        )
    from googlenet.extras import TRAINING, require

    require("train", *TRAINING)
    from googlenet.exchange import check
    from googlenet.models import zoo

    check.check_network(network, options["image_size"])
    check.check_free(out)
    check.check_source(source, options["download"])
    listed = None if classes is None else check.read_class_names(classes)
    names = None if listed is None else listed.names
    check.check_fits(source, zoo.find(network), options["key"])
    from googlenet.cli.output import say, say_command, show_json, warn
    from googlenet.stages import stage

    with stage("loading PyTorch"):
        from googlenet.exchange import convert as converting
    with stage(f"converting {source}"):
        bundle = converting.convert(source, out, network=network, class_names=names, **options)
    if listed is not None and listed.encoding != "UTF-8":
        warn(f"{classes} was read as {listed.encoding}")
    for note in bundle.card.data["notes"]:
        warn(note)
    card, preprocessing = bundle.card, bundle.card.preprocessing
    if as_json:
        show_json({
            "bundle": str(bundle.path), "network": card.name, "layout": card.data["layout"],
            "sha256": card.data["sha256"], "place": card.data.get("place", ""), "notes": card.data["notes"],
            "classes": list(card.class_names), "size": preprocessing.size, "crop_fraction": preprocessing.crop_fraction,
            "mean": list(preprocessing.mean), "std": list(preprocessing.std),
            "channel_order": preprocessing.channel_order,
        })  # fmt: skip
        return
    where = f" ({printable(card.data['place'])})" if "place" in card.data else ""
    say(f"{card.name} with {len(card.class_names)} classes ({printable(card.class_names[0])}, …), from weights of "
        f"{card.data['layout']}{where}: every tensor has its place")  # fmt: skip
    kind = "BGR" if preprocessing.channel_order == "BGR" else preprocessing.kind
    say(f"input:  {kind} {preprocessing.size}×{preprocessing.size}, crop {preprocessing.crop_fraction:g}, "
        f"mean {_numbers(preprocessing.mean)}, std {_numbers(preprocessing.std)}")  # fmt: skip
    say(f"bundle: {bundle.path}")
    say_command("next:", "googlenet", "predict", out, "IMAGE")
    say_command("", "googlenet", "evaluate", out, "DATA", "--split", "all")


def _export(run: str, out: Path, to: str, as_json: bool) -> None:
    from googlenet import bundle as bundles
    from googlenet.exchange.formats import check_export, find_format
    from googlenet.extras import TRAINING, require

    require("train", *TRAINING)
    check_export(bundles.read(run).network, out, to)
    from googlenet.cli.output import say, show_json
    from googlenet.exchange.export import export_weights
    from googlenet.stages import stage

    with stage(f"converting {run}"):
        written = export_weights(run, out, to)
    if as_json:
        show_json({"path": str(written), "layout": to})
        return
    preprocessing = bundles.read(run).card.preprocessing
    say(f"{printable(str(written))}: weights of {printable(run)} for {to}")
    for step, line in find_format(to).usage(written):
        say(f"{step + ':':<7} {line}")
    say(
        f"input:  {preprocessing.size}×{preprocessing.size}, mean {_numbers(preprocessing.mean)}, "
        f"std {_numbers(preprocessing.std)}"
    )


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
